"""Load a plan for NumPy: one arena, arrays bound once per batch size, then nothing but kernel calls."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np

from graphnn.compiler.index_checks import IndexCheck, index_error
from graphnn.compiler.interrupts import postponed_interrupts
from graphnn.compiler.plan.build import build_plan
from graphnn.compiler.plan.form import KernelCall, Plan, Storage, View
from graphnn.compiler.plan.verify import verify_plan
from graphnn.compiler.schedule.form import Schedule
from graphnn.compiler.target import KernelNeeds, LoadedPlan, StepTime, Target
from graphnn.compiler.targets.numpy.copies import bind_concat, bind_copy_step
from graphnn.compiler.targets.numpy.kernels import kernel_for
from graphnn.compiler.targets.numpy.registry import Run, bind_reference
from graphnn.ops.dtypes import to_interface
from graphnn.ops.errors import NumericsError
from graphnn.ops.node import Node
from graphnn.ops.op import Op
from graphnn.ops.slicing import Concat
from graphnn.ops.spec import TensorSpec
from graphnn.ops.state import Assign, Constant

ALIGNMENT = 64
UFUNC_BUFFER_ELEMENTS = 1024
BOUND_SIZES = 8
"""Batch sizes whose calls are kept bound: each takes about a kilobyte a step, which would add up over all sizes."""


class NumpyTarget(Target):
    """NumPy: always there, and what the other targets are compared with."""

    name = "numpy"

    def needs(self, op: Op, out: TensorSpec, inputs: Sequence[TensorSpec]) -> KernelNeeds:
        found = kernel_for(op, out, inputs)
        if found is None:
            return KernelNeeds(f"{op.label} (evaluate)", strided_output=True)
        workspaces = found.workspaces(op, out, inputs)
        in_place = tuple(place for place in found.in_place if place < len(inputs))
        return KernelNeeds(op.label, workspaces, in_place, found.strided_output, found.row_major)

    def build(self, schedule: Schedule, max_batch: int, writes_last: bool) -> Plan:
        return build_plan(schedule, self, max_batch, writes_last)

    def verify(self, plan: Plan) -> None:
        verify_plan(plan, self)

    def load(self, plan: Plan, checks: Sequence[IndexCheck] = ()) -> LoadedPlan:
        return LoadedNumpyPlan(plan, checks)

    def source(self, plan: Plan) -> str:
        return "\n".join(_source_line(plan, step) for step in plan.steps)


def _source_line(plan: Plan, step: KernelCall) -> str:
    reads = ", ".join(_place(plan.storages[view.storage], view) for view in step.reads)
    (write,) = step.writes
    comment = f"{step.node.name}, {step.node.source.file}:{step.node.source.line}"
    return f"{_place(plan.storages[write.storage], write)} = {step.kernel}({reads})  # {comment}"


def _place(storage: Storage, view: View) -> str:
    where = f"arena[{storage.offset}]" if storage.kind == "arena" else f"{storage.kind}[{storage.node.name!r}]"
    strides = "" if view.strides is None else f" strides {view.strides}"
    offset = f" + {view.offset}" if view.offset else ""
    return f"<{where}{offset} {view.spec}{strides}>"


@dataclass(frozen=True)
class BoundPlan:
    """A plan's arrays and calls for one batch size."""

    feeds: tuple[tuple[Node, np.ndarray], ...]
    checks: tuple[Callable[[], None], ...]
    calls: tuple[Run, ...]
    results: tuple[np.ndarray, ...]
    fetches: tuple[np.ndarray, ...]
    stored: tuple[tuple[Node, np.ndarray], ...]
    """What assigns store of values that no step computes, so that no step's check sees them before the first write."""


class LoadedNumpyPlan(LoadedPlan):
    """One arena, the other storages, and the calls bound to them for each batch size met so far."""

    def __init__(self, plan: Plan, checks: Sequence[IndexCheck] = ()) -> None:
        self._plan = plan
        self._checks = checks
        self._store = plan.subgraph.nodes[0].graph.store
        self._writes = self._store.counter(plan.written_variables)
        self._arena = aligned_bytes(plan.arena_bytes)
        self._buffers = [self._buffer(storage) for storage in plan.storages]
        self._bound: dict[int, BoundPlan] = {}

    def _buffer(self, storage: Storage) -> np.ndarray:
        match storage.kind:
            case "arena":
                return self._arena[storage.offset : storage.offset + storage.nbytes]
            case "constant":
                assert isinstance(storage.node.op, Constant)
                return as_bytes(storage.node.op.value)
            case "variable":
                return as_bytes(storage.node.graph.store.array(storage.node.name))
        return aligned_bytes(storage.nbytes)

    def run(self, feeds: Mapping[Node, np.ndarray], batch: int, check_numerics: bool = False) -> list[np.ndarray]:
        bound = self._ready(feeds, batch)
        if check_numerics:
            for node, value in bound.stored:
                _check_finite(node, value)
        self.carry_out(bound, check_numerics)
        return [array.copy() for array in bound.fetches]

    def carry_out(self, bound: BoundPlan, check_numerics: bool) -> None:
        """Do all steps."""
        with postponed_interrupts() if self._plan.written_variables else nullcontext(), _quiet_ufuncs():
            self._writes.count += 1
            for number, call in enumerate(bound.calls):
                self._step(number, call)
                if check_numerics:
                    _check_finite(self._plan.steps[number].node, bound.results[number])

    def _step(self, number: int, call: Run) -> None:
        try:
            call()
        except IndexError as error:
            raise index_error(self._plan.steps[number].node, error) from None

    def time_steps(self, feeds: Mapping[Node, np.ndarray], batch: int) -> list[StepTime]:
        bound = self._ready(feeds, batch)
        with _quiet_ufuncs():
            self._writes.count += 1
            return [self.time_step(number, call) for number, call in enumerate(bound.calls)]

    def time_step(self, number: int, call: Run) -> StepTime:
        """Do one step; return its time."""
        start = time.perf_counter()
        self._step(number, call)
        return StepTime(time.perf_counter() - start)

    def _ready(self, feeds: Mapping[Node, np.ndarray], batch: int) -> BoundPlan:
        """Do all that comes before the first step; return the steps."""
        bound = self._bound.pop(batch, None) or self._bind(batch)
        self._bound[batch] = bound  # the last one now
        if len(self._bound) > BOUND_SIZES:
            del self._bound[next(iter(self._bound))]
        if self._store.away:
            self._store.settle()
        for node, array in bound.feeds:
            array[...] = feeds[node]
        for check in bound.checks:
            check()
        return bound

    def _bind(self, batch: int) -> BoundPlan:
        feeds = {node: self.array(view, batch) for node, view in self._plan.feeds.items()}
        return BoundPlan(
            feeds=tuple(feeds.items()),
            checks=tuple(check.bind(feeds[check.placeholder], batch) for check in self._checks),
            calls=tuple(self.bind_step(step, batch) for step in self._plan.steps),
            results=tuple(self.array(step.writes[0], batch) for step in self._plan.steps),
            fetches=tuple(self.array(view, batch) for view in self._plan.fetches),
            stored=tuple(
                (step.node.inputs[1], self.array(step.reads[0], batch))
                for step in self._plan.steps
                if isinstance(step.node.op, Assign) and self._plan.storages[step.reads[0].storage].kind != "arena"
            ),
        )

    def bind_step(self, step: KernelCall, batch: int) -> Run:
        """Return the call that carries out a step for one batch size."""
        node = step.node
        inputs = [self.array(view, batch) for view in step.reads]
        (out,) = (self.array(view, batch) for view in step.writes)
        if isinstance(node.op, Assign):
            return bind_copy_step(out, inputs[0])
        if isinstance(node.op, Concat):
            return bind_concat(node.op, out, inputs)
        spec = node.spec.bind(batch)
        specs = [given.spec.bind(batch) for given in node.inputs]
        found = kernel_for(node.op, spec, specs)
        if found is None:
            return bind_reference(node.op, spec, out, inputs, specs)
        workspaces = [
            self.array(View(storage, needed), batch)
            for storage, needed in zip(step.workspaces, found.workspaces(node.op, spec, specs), strict=True)
        ]
        return found.bind(node.op, out, inputs, workspaces)

    def array(self, view: View, batch: int) -> np.ndarray:
        """Return a view as an array, for one batch size."""
        dtype = view.spec.dtype.storage
        strides = tuple(stride * dtype.itemsize for stride in view.bound_strides(batch))
        shape = view.spec.bind(batch).static_shape
        buffer = self._buffers[view.storage]
        if 0 in shape:
            return np.empty(shape, dtype)
        return np.ndarray(shape, dtype, buffer.data, view.bound_offset(batch) * dtype.itemsize, strides)


@contextmanager
def _quiet_ufuncs() -> Iterator[None]:
    """Let NaN and infinity pass without warnings, and keep NumPy's own buffers, which it allocates per call, small."""
    with np.errstate(all="ignore"):
        before = np.setbufsize(UFUNC_BUFFER_ELEMENTS)
        try:
            yield
        finally:
            np.setbufsize(before)


def aligned_bytes(nbytes: int) -> np.ndarray:
    """Return zeroed memory that starts at a cache line."""
    if nbytes > sys.maxsize - ALIGNMENT:
        raise MemoryError
    raw = np.zeros(nbytes + ALIGNMENT, np.uint8)
    start = -raw.__array_interface__["data"][0] % ALIGNMENT
    return raw[start : start + nbytes]


def as_bytes(array: np.ndarray) -> np.ndarray:
    """Return a row-major array's memory as bytes, shared."""
    return array.reshape(-1).view(np.uint8)


def _check_finite(node: Node, result: np.ndarray) -> None:
    values = to_interface(result, node.dtype)
    if node.dtype.is_floating and not np.isfinite(values).all():
        raise NumericsError(
            f"{node.op.label} {node.name!r} gave {'NaN' if np.isnan(values).any() else 'infinity'}",
            expected="finite numbers (check_numerics=True)",
            actual=str(node.spec),
            where=str(node.users_nodes[0].source),
            hint="fetch the node's inputs to see what it was given; no variable was changed",
        )
