"""A plan with its memory on the device, ready to run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from graphnn.compiler.index_checks import IndexCheck, index_error
from graphnn.compiler.interrupts import postponed_interrupts
from graphnn.compiler.plan.form import KernelCall, Plan, View
from graphnn.compiler.target import LoadedPlan, ResidentRuns, StepTime
from graphnn.compiler.targets.cuda.concurrency import Access, Range, waits
from graphnn.compiler.targets.cuda.lowering import Lowered
from graphnn.compiler.targets.cuda.machine import Machine, Memory
from graphnn.compiler.targets.cuda.prepared import Preparation, preparations
from graphnn.compiler.targets.cuda.resident import Piece, ResidentData, Rows, held, made_of
from graphnn.compiler.targets.cuda.variables import DeviceVariables, device_variables
from graphnn.ops.dtypes import to_storage
from graphnn.ops.errors import CompileError
from graphnn.ops.evaluation import evaluate_op
from graphnn.ops.node import Node
from graphnn.ops.source import caller
from graphnn.ops.state import Assign, Constant

BOUND_SIZES = 8
"""Batch sizes whose recorded steps, and whose ways between host and device, are kept."""

Call = Callable[[], None]
K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True)
class Place:
    """Where a view's elements lie in a run over some number of examples.

    Attributes
    ----------
    start, nbytes : int
        The device's bytes from the first element to the last, whatever lies between them.
    first : int
        Bytes from `start` to the element with index 0 on every axis.
    shape, strides : tuple of int
        In elements and in bytes.
    dtype : numpy.dtype
        Of an element.
    """

    start: int
    nbytes: int
    first: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype

    def within(self, span: np.ndarray) -> np.ndarray:
        """Return the elements in the host's copy of these bytes."""
        return np.ndarray(self.shape, self.dtype, span.data if self.nbytes else None, self.first, self.strides)


@dataclass(frozen=True)
class Border:
    """What goes between the host and the device in a run over some number of examples: found once, used each time.

    Attributes
    ----------
    feeds : tuple of (Node, numpy.ndarray, int)
        Placeholders, the host's memory for them, and the device's address.
    checks : tuple of callable
        Looks at the indices in that memory.
    fetches : tuple of Place
        Where the results are.
    """

    feeds: tuple[tuple[Node, np.ndarray, int], ...]
    checks: tuple[Call, ...]
    fetches: tuple[Place, ...]


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
        self._borders: dict[int, Border] = {}
        self._bound: dict[tuple[int, ResidentData | None], tuple[Call, ...]] = {}

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
        used = {node: array for node, array in data.items() if node in self._plan.feeds and array.size}
        stored = {node: to_storage(array, node.dtype) for node, array in used.items()}
        room = free // 2 - sum(array.nbytes for array in stored.values())
        if not stored or room < 0:
            return None
        for given in (room, 0):
            try:
                return DeviceRuns(self, self._resident(stored, given))
            except MemoryError:  # perhaps there is room without prepared rows
                continue
        return None

    def _resident(self, stored: Mapping[Node, np.ndarray], room: int) -> ResidentData:
        """Return data sets on the device, together with what steps make of their rows, as far as there is room."""
        prepared: dict[str, Rows] = {}
        for each in preparations(self._plan, self._lowered, stored):
            array = stored[each.feed]
            nbytes = len(array) * each.row_bytes
            if nbytes <= room:
                room -= nbytes
                whole = made_of(
                    array,
                    self._lowered[each.step.kernel].text,
                    nbytes,
                    self._machine,
                    partial(self._prepare, each, array),
                )
                prepared[each.step.kernel] = Rows(whole, each.row_bytes, self._addresses[each.step.writes[0].storage])
        read = {view.storage for step in self._plan.steps if step.kernel not in prepared for view in step.reads}
        read |= {view.storage for view in self._plan.fetches}
        feeds = [
            Rows(
                held(array, self._machine), array.nbytes // len(array), self._addresses[self._plan.feeds[node].storage]
            )
            for node, array in stored.items()
            if self._plan.feeds[node].storage in read
        ]
        return ResidentData(feeds, prepared, self._machine, self._plan.max_batch)

    def _prepare(self, preparation: Preparation, array: np.ndarray, memory: Memory) -> None:
        """Let a step's kernel compute all rows from a data set, which may lie on the device only for that."""
        source, row_bytes, most = held(array, self._machine), array.nbytes // len(array), self._plan.max_batch
        for first in range(0, len(array), most):
            addresses = [source.memory.address + first * row_bytes, memory.address + first * preparation.row_bytes]
            lowered = self._lowered[preparation.step.kernel]
            lowered.run(self._machine, self._kernels, addresses, min(most, len(array) - first))
        self._machine.synchronize()

    def run_on(self, data: ResidentData, batch: int) -> None:
        """Ask for one run on the next rows of data sets on the device."""
        self._carry_out(self._ready(batch, data))

    def wait(self) -> None:
        """Wait for the end of all that was asked for."""
        self._machine.synchronize()

    def fetched(self, batch: int) -> list[np.ndarray]:
        """Return the results of the last run."""
        return [self._fetched(place) for place in self._border(batch).fetches]

    def _carry_out(self, calls: Sequence[Call]) -> None:
        # A single call either asks for the whole step or for nothing, whenever an interrupt comes.
        divisible = len(calls) > 1 and self._plan.written_variables
        with postponed_interrupts() if divisible else nullcontext():
            self._begin()
            for call in calls:
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
        border = self._border(batch)
        for node, staged, _ in border.feeds:
            staged[...] = feeds[node]
        for check in border.checks:
            check()
        for _, staged, address in border.feeds:
            self._machine.upload(address, staged)

    def _border(self, batch: int) -> Border:
        return _latest(self._borders, batch, lambda: self._new_border(batch))

    def _new_border(self, batch: int) -> Border:
        staged = {node: self._staged(node, view, batch) for node, view in self._plan.feeds.items()}
        return Border(
            tuple((node, staged[node], self._addresses[view.storage]) for node, view in self._plan.feeds.items()),
            tuple(check.bind(staged[check.placeholder], batch) for check in self._checks),
            tuple(self._where(view, batch) for view in self._plan.fetches),
        )

    def _staged(self, node: Node, view: View, batch: int) -> np.ndarray:
        """Return the host's memory of a feed, in the shape of one batch size."""
        spec = view.spec.bind(batch)
        return self._staging[node][: spec.nbytes(1)].view(spec.dtype.storage).reshape(spec.static_shape)

    def _ready(self, batch: int, data: ResidentData | None = None) -> tuple[Call, ...]:
        """Do all that comes before the first step; return the steps."""
        calls = _latest(self._bound, (batch, data), lambda: self._bind(batch, data))
        self._variables.refresh(self._used)
        return calls

    def _bind(self, batch: int, data: ResidentData | None) -> tuple[Call, ...]:
        """Record the steps for one batch size; those on the host come in between."""
        calls: list[Call] = []
        waiting: list[Piece] = [] if data is None else list(data.feeds(batch))

        def record() -> None:
            if waiting:
                pieces, accesses = zip(*waiting, strict=True)
                calls.append(self._machine.record(pieces, waits(accesses)))
                waiting.clear()

        for step in self._plan.steps:
            if data is not None and step.kernel in data.prepared:
                waiting.append(data.take(data.prepared[step.kernel], batch))
            elif step.kernel in self._lowered:
                if self._lowered[step.kernel].convolution is not None:
                    self._launch(step, batch)  # the arena holds nothing yet; what cuDNN loads now can't be recorded
                waiting.append((partial(self._launch, step, batch), self._access(step, batch)))
            else:
                record()
                calls.append(partial(self._on_host, step, batch))
        waiting += [] if data is None else [data.advance(batch)]
        record()
        return tuple(calls)

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
        inputs = [self._fetched(self._where(view, batch)) for view in step.reads]
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

    def _where(self, view: View, batch: int) -> Place:
        dtype = view.spec.dtype.storage
        low, high = view.byte_range(batch)
        return Place(
            start=self._addresses[view.storage] + low,
            nbytes=high - low,
            first=view.bound_offset(batch) * dtype.itemsize - low,
            shape=view.spec.bind(batch).static_shape,
            strides=tuple(stride * dtype.itemsize for stride in view.bound_strides(batch)),
            dtype=dtype,
        )

    def _fetched(self, place: Place) -> np.ndarray:
        """Return the elements at a place as a fresh array."""
        span = np.empty(place.nbytes, np.uint8)
        if place.nbytes:
            self._machine.download(place.start, span)
        return np.ascontiguousarray(place.within(span)).reshape(place.shape)


def _latest(kept: dict[K, V], key: K, make: Callable[[], V]) -> V:
    """Return what is kept for a key, or make it; what was not asked for longest is forgotten."""
    found = kept.pop(key, None)
    kept[key] = found = make() if found is None else found
    if len(kept) > BOUND_SIZES:
        del kept[next(iter(kept))]
    return found


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
