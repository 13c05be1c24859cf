"""Data sets in device memory: copied once, shared, freed, and taken only where there is room."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import graphnn as gn
from cuda_devices import use_emulator
from cuda_kernels import needs_emulator
from graphnn import ops
from graphnn.compiler.targets.cuda.emulator.machine import EmulatorMachine, EmulatorMemory
from graphnn.compiler.targets.cuda.resident import held

pytestmark = needs_emulator


class Machine(EmulatorMachine):
    """An emulator with a megabyte that says what is copied to it."""

    def __init__(self) -> None:
        super().__init__()
        self.free = 1_000_000
        self.largest = self.free
        self.uploaded: list[int] = []

    @property
    def memory_bytes(self) -> tuple[int, int]:
        return self.free, 1_000_000

    def allocate(self, nbytes: int) -> EmulatorMemory:
        if nbytes > self.largest:
            raise MemoryError
        memory = super().allocate(nbytes)
        self.free -= nbytes
        weakref.finalize(memory, self.give_back, nbytes)
        return memory

    def give_back(self, nbytes: int) -> None:
        self.free += nbytes

    def upload(self, address: int, array: np.ndarray) -> None:
        self.uploaded.append(array.nbytes)
        super().upload(address, array)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine()
    use_emulator(monkeypatch, machine)
    return machine


def plan(count: int = 1) -> list[gn.Executor]:
    with gn.Graph():
        x = gn.placeholder("x", (None, 100))
        return [gn.Executor(ops.exp(x).sum(1), device="cuda-emulator", max_batch=10) for _ in range(count)]


def rows(number: int) -> np.ndarray:
    return np.random.default_rng(number).standard_normal((number, 100)).astype(np.float32)


def test_a_run_sends_no_examples(machine: Machine) -> None:
    x = rows(200)
    resident = plan()[0].resident({"x": x})
    assert resident.is_on_device
    machine.uploaded.clear()
    for number, value in enumerate(resident.batches(np.arange(200)[::-1], 10)):
        np.testing.assert_allclose(value, np.exp(x[::-1][10 * number :][:10]).sum(1), rtol=1e-5)
    assert machine.uploaded == [8 * 200, 8]  # the order and the place in it


def test_plans_share_a_data_set(machine: Machine) -> None:
    x = rows(200)
    residents = [each.resident({"x": x}) for each in plan(3)]
    assert machine.uploaded == [x.nbytes]
    for number, resident in enumerate(residents):
        np.testing.assert_allclose(resident.run([number]), np.exp(x[[number]]).sum(1), rtol=1e-5)


def test_a_data_set_is_freed_with_its_plan(machine: Machine) -> None:
    (executor,) = plan()
    before = machine.free
    resident = executor.resident({"x": rows(200)})
    resident.run([0, 1])
    assert machine.free < before - 80_000
    del resident, executor
    gc.collect()
    assert machine.free > before


def test_data_without_room_is_fed(machine: Machine) -> None:
    (executor,) = plan()
    too_much, x = rows(1 + machine.free // 2 // 400), rows(machine.free // 2 // 400)
    resident = executor.resident({"x": too_much})
    assert not resident.is_on_device
    np.testing.assert_allclose(resident.run([3, 1]), np.exp(too_much[[3, 1]]).sum(1), rtol=1e-5)
    assert executor.resident({"x": x}).is_on_device


def test_data_for_which_there_is_no_room_after_all_is_fed(machine: Machine) -> None:
    (executor,) = plan()
    x = rows(500)
    machine.largest = x.nbytes - 1
    resident = executor.resident({"x": x})
    assert not resident.is_on_device
    np.testing.assert_allclose(resident.run([3, 1]), np.exp(x[[3, 1]]).sum(1), rtol=1e-5)


def test_a_copy_belongs_to_the_array_that_it_was_made_of(machine: Machine) -> None:
    """An identity that is used again by another array must not bring the first one's copy."""
    (executor,) = plan()
    for number in range(20):
        x = rows(10 + number)
        np.testing.assert_allclose(executor.resident({"x": x}).run([0]), np.exp(x[:1]).sum(1), rtol=1e-5)
        del x
    array = rows(5)
    first = held(array, machine)
    assert held(array, machine) is first
    assert held(array.copy(), machine) is not first


def test_a_plan_that_is_not_verified_yet_is_fed(machine: Machine) -> None:
    with gn.Graph():
        x = gn.placeholder("x", (None, 100))
        executor = gn.Executor(ops.exp(x), device="cuda-emulator", max_batch=10, verify=True)
    assert not executor.resident({"x": rows(20)}).is_on_device
    executor.run({"x": rows(2)})
    assert executor.resident({"x": rows(20)}).is_on_device


def test_what_a_step_does_with_its_batch_waits_for_it(machine: Machine) -> None:
    """In whatever order pieces run that need not wait for each other."""
    with gn.Graph() as graph:
        x, labels = gn.placeholder("x", (None, 100)), gn.placeholder("labels", (None,), "int32")
        w = gn.variable("w", np.zeros((100, 3), np.float32))
        loss = ops.cross_entropy(x @ w, labels)
        update = gn.optim.SGD(0.1).minimize(loss)
        executor = gn.Executor([loss, x, labels], update, device="cuda-emulator", max_batch=10)
    data = {"x": rows(60), "labels": np.arange(60, dtype=np.int32) % 3}
    resident = executor.resident(data)
    for start in range(0, 240, 7):
        chosen = np.arange(start, start + 7) % 60
        _, fed, kinds = resident.run(chosen)
        np.testing.assert_array_equal(fed, data["x"][chosen])
        np.testing.assert_array_equal(kinds, data["labels"][chosen])
    assert graph.get_value(w).any()
