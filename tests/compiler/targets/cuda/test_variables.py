"""Variables that plans on several devices, users and checkpoints read and write in turn: always the newest value."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from cuda_devices import DEVICES, use_emulator
from cuda_kernels import needs_emulator
from graphnn import ops
from graphnn.compiler.targets.cuda.emulator.machine import EmulatorMachine, EmulatorMemory
from graphnn.compiler.targets.cuda.variables import device_variables
from graphnn.ops.errors import CompileError, FeedError
from graphnn.ops.store import VariableStore

X = np.array([[1, 2, 3], [4, 5, 6]], np.float32)


class Counter:
    """A variable that each run of any of its plans adds a batch to, and one that none writes."""

    def __init__(self) -> None:
        with gn.Graph() as self.graph:
            self.x = gn.placeholder("x", (None, 3))
            self.total = gn.variable("total", np.zeros(3, np.float32))
            self.factor = gn.variable("factor", np.ones(3, np.float32))
            added = self.x.sum(0) * self.factor
            self.update = ops.assign(self.total, self.total + added)
            self.fetch = self.total * 1

    def plan(self, device: str, **options: object) -> gn.Executor:
        return gn.Executor([self.fetch], [self.update], device=device, max_batch=4, **options)  # type: ignore[arg-type]  # as given

    def reader(self, device: str) -> gn.Executor:
        return gn.Executor([self.fetch], device=device)

    @property
    def value(self) -> list[float]:
        return self.graph.get_value(self.total).tolist()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("other", ["numpy", "cpu"])
def test_devices_take_turns(device: str, other: str) -> None:
    counter = Counter()
    plans = [
        counter.plan(device),
        counter.plan(other),
        counter.plan(device),
        counter.reader(other),
        counter.reader(device),
    ]
    done = 0
    for number in (0, 1, 0, 2, 0, 0, 3, 4, 1, 4, 0, 4, 3, 1, 1, 2):
        (before,) = plans[number].run({"x": X} if number < 3 else {})
        np.testing.assert_array_equal(before, done * X.sum(0))
        done += number < 3
    assert counter.value == (done * X.sum(0)).tolist()
    assert counter.graph.store.version("total") == done


@pytest.mark.parametrize("device", DEVICES)
def test_a_value_that_is_set_in_between_counts(device: str) -> None:
    counter = Counter()
    plan = counter.plan(device)
    plan.run({"x": X})
    counter.graph.set_value("total", [100, 100, 100])
    assert plan.run({"x": X})[0].tolist() == [100, 100, 100]
    counter.graph.set_value("factor", [0, 1, 2])
    plan.run({"x": X})
    assert counter.value == [100 + 5, 100 + 7 + 7, 100 + 9 + 18]


@pytest.mark.parametrize("device", DEVICES)
def test_a_checkpoint_has_the_newest_values_and_is_loaded_to_the_device(device: str, tmp_path: Path) -> None:
    counter = Counter()
    plan = counter.plan(device)
    plan.run({"x": X})
    gn.save(counter.graph, tmp_path / "weights.safetensors")
    plan.run({"x": X})
    gn.load(counter.graph, tmp_path / "weights.safetensors")
    assert plan.run({"x": X})[0].tolist() == X.sum(0).tolist()
    other = Counter()
    gn.load(other.graph, tmp_path / "weights.safetensors")
    assert other.value == X.sum(0).tolist()


@pytest.mark.parametrize("device", DEVICES)
def test_a_plan_that_is_verified_starts_from_the_newest_values(device: str) -> None:
    counter = Counter()
    counter.plan(device).run({"x": X})
    assert counter.plan(device, verify=True).run({"x": X})[0].tolist() == X.sum(0).tolist()
    assert counter.plan("numpy", verify=True).run({"x": X})[0].tolist() == (2 * X.sum(0)).tolist()


@pytest.mark.parametrize("device", DEVICES)
def test_a_refused_feed_changes_nothing(device: str) -> None:
    with gn.Graph() as graph:
        i, x = gn.placeholder("i", (None,), "int32"), gn.placeholder("x", (None, 3))
        table, count = gn.variable("table", np.eye(3, dtype=np.float32)), gn.variable("count", 0, trainable=False)
        updates = [ops.assign(table, table + x.sum(0)), ops.assign(count, count + 1)]
        plan = gn.Executor([ops.take(table, i)], updates, device=device, max_batch=2)
    plan.run({"i": np.array([0, 1], np.int32), "x": X})
    versions = [graph.store.version(name) for name in graph.variables]
    wrong: Sequence[Mapping[str, np.ndarray]] = (
        {"i": np.array([0, 3], np.int32), "x": X},
        {"i": np.array([0], np.int32), "x": X},
        {"i": np.array([0, 1]), "x": X},
        {"x": X},
        {"i": np.zeros(3, np.int32), "x": np.ones((3, 3), np.float32)},
    )
    for feed in wrong:
        with pytest.raises(FeedError):
            plan.run(feed)
    assert versions == [graph.store.version(name) for name in graph.variables] == [1, 1]
    assert graph.get_value("count") == 1
    np.testing.assert_array_equal(graph.get_value("table"), np.eye(3) + X.sum(0))


class Machine(EmulatorMachine):
    """An emulator that notes what is copied and taken, and that can be short of memory or interrupted."""

    def __init__(self) -> None:
        super().__init__()
        self.uploads = self.downloads = self.runs = 0
        self.taken: list[int] = []
        self.free = 1 << 40
        self.room = 1 << 40
        self.is_interrupted = False

    @property
    def memory_bytes(self) -> tuple[int, int]:
        return self.free, 1 << 40

    def allocate(self, nbytes: int) -> EmulatorMemory:
        if nbytes > self.room:
            raise MemoryError
        self.taken.append(nbytes)
        return super().allocate(nbytes)

    def upload(self, address: int, array: np.ndarray) -> None:
        self.uploads += 1
        super().upload(address, array)

    def download(self, address: int, array: np.ndarray) -> None:
        self.downloads += 1
        super().download(address, array)

    def _run(self, *arguments: Any) -> None:
        self.runs += 1
        if self.is_interrupted:
            signal.raise_signal(signal.SIGINT)
        super()._run(*arguments)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine()
    use_emulator(monkeypatch, machine)
    return machine


@needs_emulator
def test_variables_are_copied_when_they_changed_elsewhere_alone(machine: Machine) -> None:
    counter = Counter()
    plan, other = counter.plan("cuda-emulator"), counter.plan("cuda-emulator")
    counts = []

    def count() -> None:
        counts.append((machine.uploads, machine.downloads))
        machine.uploads = machine.downloads = 0

    plan.run({"x": X})
    count()  # the feed and both variables; the fetch
    plan.run({"x": X})
    other.run({"x": X})
    count()  # feeds and fetches
    counter.graph.get_value("total")
    counter.graph.get_value("total")
    count()
    plan.run({"x": X})
    count()  # what was read is still the newest here
    counter.graph.set_value("factor", np.ones(3, np.float32))
    plan.run({"x": X})
    count()
    counter.plan("numpy").run({"x": X})
    plan.run({"x": X})
    count()  # one download for NumPy, one upload of what it wrote
    assert counts == [(3, 1), (2, 2), (0, 1), (1, 1), (2, 1), (2, 2)]


@needs_emulator
def test_a_value_goes_from_one_device_to_another() -> None:
    store = VariableStore()
    store.add("w", np.zeros(3, np.float32))
    machines = [EmulatorMachine(), EmulatorMachine()]
    for number, machine in enumerate(machines):
        machine.name = f"device {number}"
    copies = [device_variables(store, machine) for machine in machines]
    for number, (machine, copy) in enumerate(zip(machines * 2, copies * 2, strict=True)):
        copy.refresh(["w"])
        value = np.empty(3, np.float32)
        machine.download(copy.address("w"), value)
        assert value.tolist() == [number] * 3
        store.counter(["w"]).count += 1
        copy.written(["w"])
        machine.upload(copy.address("w"), value + 1)
    assert store.array("w").tolist() == [3, 3, 3]
    assert store.read("w").tolist() == [4, 4, 4]


@needs_emulator
def test_a_plan_that_does_not_fit_is_refused_before_anything_is_taken(machine: Machine) -> None:
    with gn.Graph():
        x = gn.placeholder("x", (None, 1000))
        w = gn.variable("w", np.ones((1000, 1000), np.float32))
        y = ops.softmax(ops.exp(x) @ w)
    plan = gn.Executor(y, max_batch=500, device="cuda-emulator").plan
    needed = plan.arena_bytes + 4 * (500 * 1000 + 1000 * 1000)
    machine.taken.clear()
    machine.free = needed - 4 * 1000 * 1000  # the variable is there already
    gn.Executor(y, max_batch=500, device="cuda-emulator")
    assert sum(machine.taken) == machine.free
    machine.taken.clear()
    machine.free -= 1
    with pytest.raises(CompileError, match="does not fit into the memory of cuda-emulator") as caught:
        gn.Executor(y, max_batch=500, device="cuda-emulator")
    assert machine.taken == []
    assert caught.value.actual == f"{machine.free + 1:,} bytes at max_batch = 500"
    assert f"{machine.free:,} bytes" in caught.value.expected
    assert __file__ in caught.value.where


@needs_emulator
def test_memory_that_is_not_there_after_all(machine: Machine) -> None:
    with gn.Graph():
        x = gn.placeholder("x", (None, 1000))
        y = ops.softmax(ops.exp(x))
    machine.room = 1_000_000
    gn.Executor(y, max_batch=100, device="cuda-emulator")
    with pytest.raises(CompileError, match="needs more memory than this machine gives") as caught:
        gn.Executor(y, max_batch=1000, device="cuda-emulator")
    assert "max_batch = 1,000" in caught.value.actual


@pytest.fixture
def pythons_own_handler() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, "a run did not put the handler back"
    signal.signal(signal.SIGINT, before)


@needs_emulator
@pytest.mark.usefixtures("pythons_own_handler")
def test_ctrl_c_waits_for_the_end_of_a_run_that_writes(machine: Machine) -> None:
    with gn.Graph() as graph:
        x, total = gn.placeholder("x", (None, 3)), gn.variable("total", np.zeros(3, np.float32))
        count = gn.variable("count", np.zeros(3, np.float32), trainable=False)
        first = ops.assign(total, total + ops.exp(x).sum(0))
        places = ops.argsort(ops.tanh(x), 1)  # on the host, after the first write and before the second
        second = ops.assign(count, count + places.astype("float32").sum(0))
        plan = gn.Executor([places], [first, second], device="cuda-emulator", max_batch=4)
        reader = gn.Executor([places * 2], device="cuda-emulator", max_batch=4)
    names = [step.kernel for step in plan.plan.steps]
    hosted = names.index("argsort (host)")
    assert any("assign" in name for name in names[:hosted])
    assert any("assign" in name for name in names[hosted:])
    machine.is_interrupted = True
    for batch in (2, 1):
        with pytest.raises(KeyboardInterrupt):
            plan.run({"x": X[:batch]})
    np.testing.assert_allclose(graph.get_value(total), np.exp(X).sum(0) + np.exp(X[0]), rtol=1e-6)
    assert graph.get_value(count).tolist() == [0, 1 * 3, 2 * 3]
    assert graph.store.version("total") == 2
    with pytest.raises(KeyboardInterrupt):
        reader.run({"x": X})
    machine.is_interrupted = False
    assert reader.run({"x": X[:1]})[0].tolist() == [[0, 2, 4]]
