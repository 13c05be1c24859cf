"""Data sets in device memory: copied once, shared, freed, and taken only where there is room."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from cuda_devices import use_emulator
from cuda_kernels import needs_emulator
from graphnn import ops
from graphnn.compiler.targets.cuda import levels
from graphnn.compiler.targets.cuda.emulator.machine import EmulatorMachine, EmulatorMemory
from graphnn.compiler.targets.cuda.machine import Kernel
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


# What a step makes of its rows alone.


def bytes_of(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (number, 100), dtype=np.uint8)


def launched(machine: Machine, run: Callable[[], object]) -> list[str]:
    """Return the names of the kernels that a run launches, recorded ones included."""
    names: list[str] = []
    launch = machine.launch

    def noted(kernel: Kernel, *rest: Any) -> None:
        names.append(kernel.name)
        launch(kernel, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "launch", noted)
        run()
    return names


def scaled(function: Callable[[gn.Node], gn.Node]) -> gn.Executor:
    """Return a plan that applies a function to rows of bytes, and then sums that need a kernel of their own."""
    with gn.Graph():
        y = function(gn.placeholder("x", (None, 100), "uint8"))
        return gn.Executor(ops.softmax(y), device="cuda-emulator", max_batch=10)


def test_rows_are_prepared_once(machine: Machine) -> None:
    executor, x = scaled(lambda x: x.astype("float32") / 255), bytes_of(47)
    resident = executor.resident({"x": x})
    names = launched(machine, lambda: resident.run(np.arange(10)))
    assert [name for name in names if "softmax" in name]
    assert not [name for name in names if "cast" in name]
    order = np.random.default_rng(0).permutation(47)
    for number, value in enumerate(resident.batches(order, 10)):
        chosen = x[order[10 * number :][:10]]
        np.testing.assert_array_equal(value, executor.run({"x": chosen}))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.astype("float32") * 2 - ops.size(x, 0).astype("float32"),  # which the batch has a part in
        lambda x: x.astype("float32") * gn.variable("w", np.ones(100, np.float32)),
        lambda x: x[:, ::-1].astype("float32") / 255,
    ],
    ids=["size", "variable", "another order"],
)
def test_what_takes_more_than_the_row_is_not_prepared(machine: Machine, function: Callable[[gn.Node], gn.Node]) -> None:
    executor, x = scaled(function), bytes_of(23)
    resident = executor.resident({"x": x})
    for chosen in (np.arange(10), np.arange(20, 23)):
        np.testing.assert_array_equal(resident.run(chosen), executor.run({"x": x[chosen]}))
    assert not resident._runs._data.prepared  # type: ignore[union-attr]  # it is on the device


def test_values_that_are_used_again_and_again_are_looked_at_once(machine: Machine) -> None:
    """A value that is added to itself 40 times has more ways back than can be followed one by one."""

    def doubled(x: gn.Node) -> gn.Node:
        y = x.astype("float32")
        for _ in range(40):
            y = ops.tanh(y + y)
        return y

    executor, x = scaled(doubled), bytes_of(12)
    resident = executor.resident({"x": x})
    assert resident._runs._data.prepared  # type: ignore[union-attr]  # it is on the device
    np.testing.assert_array_equal(resident.run([3, 7]), executor.run({"x": x[[3, 7]]}))


def test_random_numbers_are_drawn_in_each_run(machine: Machine) -> None:
    executor = scaled(lambda x: x.astype("float32") / 255 + ops.uniform((None, 100)))
    resident = executor.resident({"x": bytes_of(23)})
    assert (resident.run([1, 2]) != resident.run([1, 2])).any()


def test_rows_that_others_read_too_are_copied_as_they_are_and_prepared(machine: Machine) -> None:
    with gn.Graph():
        x = gn.placeholder("x", (None, 100), "uint8")
        y = ops.softmax(x.astype("float32") / 255)
        executor = gn.Executor([y, x, ops.max(x, 1)], device="cuda-emulator", max_batch=10)
    data = bytes_of(30)
    resident = executor.resident({"x": data})
    for chosen in (np.arange(10), np.arange(25, 30), np.arange(7)):
        for found, expected in zip(resident.run(chosen), executor.run({"x": data[chosen]}), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_prepared_rows_are_shared_and_freed(machine: Machine) -> None:
    with gn.Graph():
        y = ops.softmax(gn.placeholder("x", (None, 100), "uint8").astype("float32") / 255)
        executors = [gn.Executor(y, device="cuda-emulator", max_batch=10) for _ in range(2)]
    x, before = bytes_of(200), machine.free
    first = executors[0].resident({"x": x})
    used = before - machine.free
    assert 80_000 <= used < 80_000 + x.nbytes  # the rows that were copied for it are gone
    machine.uploaded.clear()
    second = executors[1].resident({"x": x})
    assert before - machine.free < used + 10_000
    assert not machine.uploaded
    np.testing.assert_array_equal(first.run([3, 199]), second.run([3, 199]))
    del first, second, executors
    gc.collect()
    assert machine.free > before


def test_without_room_rows_are_not_prepared(machine: Machine) -> None:
    executor = scaled(lambda x: x.astype("float32") / 255)
    rows_that_fit = machine.free // 2 // 100
    x = bytes_of(rows_that_fit)
    resident = executor.resident({"x": x})
    assert resident.is_on_device
    assert [name for name in launched(machine, lambda: resident.run([5, 4])) if "cast" in name]
    np.testing.assert_array_equal(resident.run([5, 4]), executor.run({"x": x[[5, 4]]}))
    machine.largest = 50_000  # so that there is no room after all
    few = bytes_of(400)
    np.testing.assert_array_equal(executor.resident({"x": few}).run([9]), executor.run({"x": few[[9]]}))


def test_rows_are_prepared_where_memory_is_given_away_at_once(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The place of prepared rows may hold something else until the step that they stand for."""
    monkeypatch.setattr(levels, "SMALL_BYTES", 0)
    monkeypatch.setattr(levels, "DEARER", 0)
    with gn.Graph():
        x, z = gn.placeholder("x", (None, 100), "uint8"), gn.placeholder("z", (None, 100))
        early = ops.softmax(ops.softmax(ops.softmax(z) * 3) * 5).max(1, keepdims=True)
        late = ops.softmax(x.astype("float32") / 255 + early)
        executor = gn.Executor(ops.softmax(x.astype("float32") * 2) + late, device="cuda-emulator", max_batch=10)
    data = {"x": bytes_of(40), "z": rows(40)}
    resident = executor.resident(data)
    assert resident._runs._data.prepared  # type: ignore[union-attr]  # it is on the device
    for chosen in (np.arange(10), np.arange(17, 22)):
        expected = executor.run({name: values[chosen] for name, values in data.items()})
        np.testing.assert_array_equal(resident.run(chosen), expected)
