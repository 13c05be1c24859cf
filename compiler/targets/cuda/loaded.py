"""A plan with its memory on the device, ready to run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np

from graphnn.compiler.index_checks import IndexCheck, index_error
from graphnn.compiler.interrupts import postponed_interrupts
from graphnn.compiler.plan.form import KernelCall, Plan, View
from graphnn.compiler.target import LoadedPlan, ResidentRuns, StepTime
from graphnn.compiler.targets.cuda.concurrency import Access, Range, waits
from graphnn.compiler.targets.cuda.lowering import Lowered
from graphnn.compiler.targets.cuda.machine import Machine, Memory
from graphnn.compiler.targets.cuda.resident import ResidentData
from graphnn.compiler.targets.cuda.variables import DeviceVariables, device_variables
from graphnn.ops.dtypes import to_storage
from graphnn.ops.errors import CompileError
from graphnn.ops.evaluation import evaluate_op
from graphnn.ops.node import Node
from graphnn.ops.source import caller
from graphnn.ops.state import Assign, Constant

BOUND_SIZES = 8
"""Batch sizes whose recorded steps are kept."""

Call = Callable[[], None]


@dataclass(frozen=True)
class BoundPlan:
    """A plan for one batch size: what is done, host steps between recorded ones."""

    calls: tuple[Call, ...]


class LoadedCudaPlan(LoadedPlan):
    """One arena on the device, staging memory on the host for feeds and fetches, and recorded steps."""

    has_own_memory = True

    def __init__(
        self,
        plan: Plan,
        kernels: Mapping[str, Lowered],
        source: str,
        machine: Machine,
        checks: Sequence[IndexCheck] = (),
    ) -> None:
        self._plan = plan
        self._checks = checks
        self._machine = machine
        self._lowered = {step.kernel: kernels[step.kernel] for step in plan.steps if step.kernel in kernels}
        names = [launch.kernel for lowered in self._lowered.values() for launch in lowered.launches]
        self._kernels = machine.compile(source, names) if names else {}
        self._store = plan.subgraph.nodes[0].graph.store
        self._writes = self._store.counter(plan.written_variables)
        self._variables: DeviceVariables = device_variables(self._store, machine)
        self._used = tuple(storage.node.name for storage in plan.storages if storage.kind == "variable")
        _refuse_too_large(plan, machine, self._variables)
        self._arena = machine.allocate(max(1, plan.arena_bytes))
        self._memory: dict[int, Memory] = {}
        self._addresses = [self._place(storage.index) for storage in plan.storages]
        self._staging = {
            node: np.empty(plan.storages[view.storage].nbytes, np.uint8) for node, view in plan.feeds.items()
        }
        self._bound: dict[tuple[int, ResidentData | None], BoundPlan] = {}

    def _place(self, index: int) -> int:
        storage = self._plan.storages[index]
        match storage.kind:
            case "arena":
                return self._arena.address + storage.offset
            case "variable":
                return self._variables.address(storage.node.name)
        memory = self._memory[index] = self._machine.allocate(max(1, storage.nbytes))
        if isinstance(storage.node.op, Constant):
            self._machine.upload(memory.address, np.ascontiguousarray(storage.node.op.value))
        return memory.address

    def run(self, feeds: Mapping[Node, np.ndarray], batch: int, check_numerics: bool = False) -> list[np.ndarray]:
        self._feed(feeds, batch)
        self._carry_out(self._ready(batch))
        return self.fetched(batch)

    def reside(self, data: Mapping[Node, np.ndarray]) -> ResidentRuns | None:
        free, _ = self._machine.memory_bytes
        if sum(array.nbytes for array in data.values()) > free // 2:
            return None
        used = {node: array for node, array in data.items() if node in self._plan.feeds and array.size}
        stored = {node: to_storage(array, node.dtype) for node, array in used.items()}
        targets = {node: self._addresses[self._plan.feeds[node].storage] for node in stored}
        if not stored:
            return None
        try:
            return DeviceRuns(self, ResidentData(stored, targets, self._machine, self._plan.max_batch))
        except MemoryError:
            return None

    def run_on(self, data: ResidentData, batch: int) -> None:
        """Ask for one run on the next rows of data sets on the device."""
        self._carry_out(self._ready(batch, data))

    def wait(self) -> None:
        """Wait for the end of all that was asked for."""
        self._machine.synchronize()

    def fetched(self, batch: int) -> list[np.ndarray]:
        """Return the results of the last run."""
        return [self._fetched(view, batch) for view in self._plan.fetches]

    def _carry_out(self, bound: BoundPlan) -> None:
        # A single call either asks for the whole step or for nothing, whenever an interrupt comes.
        divisible = len(bound.calls) > 1 and self._plan.written_variables
        with postponed_interrupts() if divisible else nullcontext():
            self._begin()
            for call in bound.calls:
                call()

    def time_steps(self, feeds: Mapping[Node, np.ndarray], batch: int) -> list[StepTime]:
        self._feed(feeds, batch)
        self._variables.refresh(self._used)
        self._begin()
        return [StepTime(self._time_step(step, batch)) for step in self._plan.steps]

    def _begin(self) -> None:
        """Count the coming writes: from here on the newest values of what is written are the device's."""
        if self._plan.written_variables:
            self._writes.count += 1
            self._variables.written(self._plan.written_variables)

    def _time_step(self, step: KernelCall, batch: int) -> float:
        if step.kernel in self._lowered:
            return self._machine.timed(lambda: self._launch(step, batch))
        start = time.perf_counter()
        self._on_host(step, batch)
        return time.perf_counter() - start

    def _feed(self, feeds: Mapping[Node, np.ndarray], batch: int) -> None:
        """Copy the feeds to the host's memory for them, look at their indices there, and copy them to the device."""
        for node, view in self._plan.feeds.items():
            self._staged(node, view, batch)[...] = feeds[node]
        for check in self._checks:
            check.bind(self._staged(check.placeholder, self._plan.feeds[check.placeholder], batch), batch)()
        for node, view in self._plan.feeds.items():
            self._machine.upload(self._addresses[view.storage], self._staged(node, view, batch))

    def _ready(self, batch: int, data: ResidentData | None = None) -> BoundPlan:
        """Do all that comes before the first step; return the steps."""
        key = batch, data
        bound = self._bound.pop(key, None) or self._bind(batch, data)
        self._bound[key] = bound  # the last one now
        if len(self._bound) > BOUND_SIZES:
            del self._bound[next(iter(self._bound))]
        self._variables.refresh(self._used)
        return bound

    def _staged(self, node: Node, view: View, batch: int) -> np.ndarray:
        """Return the host's memory of a feed, in the shape of one batch size."""
        spec = view.spec.bind(batch)
        return self._staging[node][: spec.nbytes(1)].view(spec.dtype.storage).reshape(spec.static_shape)

    def _bind(self, batch: int, data: ResidentData | None) -> BoundPlan:
        """Record the steps for one batch size; those on the host come in between."""
        calls: list[Call] = []
        waiting: list[tuple[Call, Access]] = [] if data is None else list(data.pieces(batch))

        def record() -> None:
            if waiting:
                pieces, accesses = zip(*waiting, strict=True)
                calls.append(self._machine.record(pieces, waits(accesses)))
                waiting.clear()

        for step in self._plan.steps:
            if step.kernel in self._lowered:
                if self._lowered[step.kernel].convolution is not None:
                    self._launch(step, batch)  # the arena holds nothing yet; what cuDNN loads now can't be recorded
                waiting.append((partial(self._launch, step, batch), self._access(step, batch)))
            else:
                record()
                calls.append(partial(self._on_host, step, batch))
        record()
        return BoundPlan(tuple(calls))

    def _access(self, step: KernelCall, batch: int) -> Access:
        """Return the device memory that a step touches."""
        reads, writes = ([self._range(view, batch) for view in views] for views in (step.reads, step.writes))
        rooms = [(self._addresses[room], self._plan.storages[room].nbytes) for room in step.workspaces]
        return Access(tuple(reads), (*writes, *((start, start + nbytes) for start, nbytes in rooms)))

    def _range(self, view: View, batch: int) -> Range:
        start = self._addresses[view.storage]
        low, high = view.byte_range(batch)
        return start + low, start + high

    def _launch(self, step: KernelCall, batch: int) -> None:
        addresses = [self._address(view, batch) for view in (*step.reads, *step.writes)]
        addresses += [self._addresses[storage] for storage in step.workspaces]
        self._lowered[step.kernel].run(self._machine, self._kernels, addresses, batch)

    def _address(self, view: View, batch: int) -> int:
        return self._addresses[view.storage] + view.bound_offset(batch) * view.spec.dtype.itemsize

    def _on_host(self, step: KernelCall, batch: int) -> None:
        """Compute one node by NumPy, from and to the device's memory."""
        node = step.node
        inputs = [self._fetched(view, batch) for view in step.reads]
        spec = node.spec.bind(batch)
        if isinstance(node.op, Assign):
            value = inputs[0]
        else:
            specs = [given.spec.bind(batch) for given in node.inputs]
            try:
                value = evaluate_op(node.op, spec, inputs, specs)
            except IndexError as error:
                raise index_error(node, error) from None
        (view,) = step.writes
        self._machine.upload(self._address(view, batch), np.ascontiguousarray(value))

    def _fetched(self, view: View, batch: int) -> np.ndarray:
        """Return a view's elements as a fresh array."""
        spec = view.spec.bind(batch)
        itemsize = spec.dtype.itemsize
        low, high = view.byte_range(batch)
        span = np.empty(high - low, np.uint8)
        if high > low:
            self._machine.download(self._addresses[view.storage] + low, span)
        if view.strides is None:
            return span.view(spec.dtype.storage).reshape(spec.static_shape)
        strides = tuple(stride * itemsize for stride in view.bound_strides(batch))
        start = view.bound_offset(batch) * itemsize - low
        if 0 in spec.static_shape:
            return np.empty(spec.static_shape, spec.dtype.storage)
        return np.ndarray(spec.static_shape, spec.dtype.storage, span.data, start, strides).copy()


class DeviceRuns(ResidentRuns):
    """Runs of one plan on data sets that lie on the device."""

    def __init__(self, loaded: LoadedCudaPlan, data: ResidentData) -> None:
        self._loaded = loaded
        self._data = data

    def begin(self, order: np.ndarray) -> None:
        self._data.begin(order)

    def run(self, batch: int, fetch: bool) -> list[np.ndarray] | None:
        self._loaded.run_on(self._data, batch)
        return self._loaded.fetched(batch) if fetch else None

    def wait(self) -> None:
        self._loaded.wait()


def _refuse_too_large(plan: Plan, machine: Machine, variables: DeviceVariables) -> None:
    """Refuse a plan that does not fit, before anything is allocated."""
    outside = [storage for storage in plan.storages if storage.kind != "arena"]
    new = [storage for storage in outside if storage.kind != "variable" or storage.node.name not in variables]
    needed = plan.arena_bytes + sum(storage.nbytes for storage in new)
    free, whole = machine.memory_bytes
    if needed > free:
        raise CompileError(
            f"the plan does not fit into the memory of {machine.name}",
            expected=f"at most {free:,} bytes, which are free of {whole:,}",
            actual=f"{needed:,} bytes at max_batch = {plan.max_batch:,}",
            where=str(caller()),
            hint="make the executor with a smaller max_batch, or free other plans; print(executor.plan) has the list",
        )
