"""Check a CUDA plan by following what its memory holds, step by step.

It is for kernels of several nodes what `graphnn.compiler.plan.verify` is for those of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graphnn.compiler.plan.arena import verify_arena
from graphnn.compiler.plan.form import KernelCall, Plan, View
from graphnn.compiler.targets.cuda.lowering import Lowered
from graphnn.compiler.targets.cuda.units import is_told, value_behind
from graphnn.ops.errors import CompileError
from graphnn.ops.node import Node
from graphnn.ops.state import Assign, Identity

Place = tuple[str | int, int, int]
"""The arena or a storage's number, the first byte and the one after the last."""


@dataclass(frozen=True)
class Content:
    """A value and the bytes that hold it."""

    value: Node
    place: Place

    def meets(self, place: Place) -> bool:
        """Whether it shares bytes with a place."""
        (area, low, high), (other, start, end) = self.place, place
        return area == other and low < end and start < high

    def covers(self, place: Place) -> bool:
        """Whether it has all bytes of a place."""
        (area, low, high), (other, start, end) = self.place, place
        return area == other and low <= start and end <= high


def verify_cuda_plan(plan: Plan, kernels: Mapping[str, Lowered]) -> None:
    """Check that each step finds the values that it reads, and that at the end fetches and variables are right.

    Raises
    ------
    CompileError
        Naming the first node that is not where somebody looks for it.
    """
    verify_arena(plan)
    for batch in dict.fromkeys((plan.max_batch, max(1, plan.max_batch - 1))):
        _follow(plan, kernels, batch)


def _follow(plan: Plan, kernels: Mapping[str, Lowered], batch: int) -> None:
    outside = [storage for storage in plan.storages if storage.kind != "arena"]
    memory = [Content(storage.node, (storage.index, 0, storage.nbytes)) for storage in outside]
    for number, step in enumerate(plan.steps):
        reads = _values_read(step, kernels)
        for node, view in zip(reads, step.reads, strict=True):
            _require(memory, node, _place(plan, view, batch), f"step {number}")
        written = _values_written(step, kernels)
        rooms = [_storage(plan, index) for index in step.workspaces]
        if step.kernel in kernels:
            _check_own_memory(plan, step, kernels[step.kernel], batch)
        for place in [*rooms, *(_place(plan, view, batch) for view in step.writes)]:
            memory = [content for content in memory if not content.meets(place)]
        places = [_place(plan, view, batch) for view in step.writes]
        memory += [Content(_value(node), place) for node, place in zip(written, places, strict=True)]
    for node, view in zip(plan.subgraph.fetches, plan.fetches, strict=True):
        _require(memory, node, _place(plan, view, batch), "the end of the run")
    for update in plan.subgraph.updates:
        _require(memory, update, _place(plan, plan.views[update.inputs[0]], batch), "the end of the run")


def _check_own_memory(plan: Plan, step: KernelCall, lowered: Lowered, batch: int) -> None:
    """Check that a kernel writes over what it reads only element by element, and nothing twice."""
    rooms = [_storage(plan, index) for index in step.workspaces]
    results = [_place(plan, view, batch) for view in step.writes]
    for number, (node, view) in enumerate(zip(lowered.reads, step.reads, strict=True)):
        read = Content(node, _place(plan, view, batch))
        in_step = number >= lowered.anywhere
        over = (not (in_step and _same_elements(view, write, batch)) for write in step.writes)
        wrong = [place for place, is_wrong in zip(results, over, strict=True) if is_wrong]
        if any(read.meets(place) for place in (*rooms, *wrong)):
            raise _fault(step.node, f"writes over its input {node.name!r}")
    places = [*rooms, *results]
    for number, place in enumerate(places):
        if any(Content(step.node, place).meets(other) for other in places[:number]):
            raise _fault(step.node, "has two results, or a workspace, in one place")


def _same_elements(one: View, other: View, batch: int) -> bool:
    """Whether two views show the same elements in the same order."""
    places = [
        (view.storage, view.bound_offset(batch), view.spec.bind(batch).nbytes(1), _steps(view, batch))
        for view in (one, other)
    ]
    return places[0] == places[1]


def _steps(view: View, batch: int) -> list[tuple[int, int]]:
    sizes = view.spec.bind(batch).static_shape
    return [pair for pair in zip(sizes, view.bound_strides(batch), strict=True) if pair[0] != 1]


def _values_read(step: KernelCall, kernels: Mapping[str, Lowered]) -> tuple[Node, ...]:
    if step.kernel in kernels:
        return kernels[step.kernel].reads
    return step.node.inputs[1:] if isinstance(step.node.op, Assign) else step.node.inputs


def _values_written(step: KernelCall, kernels: Mapping[str, Lowered]) -> tuple[Node, ...]:
    return kernels[step.kernel].writes if step.kernel in kernels else (step.node,)


def _value(node: Node) -> Node:
    """Return the node whose value a node has, whatever memory it lies in."""
    while isinstance(node.op, Assign | Identity) or node.op.is_view:
        node = node.inputs[-1]
    return value_behind(node)


def _place(plan: Plan, view: View, batch: int) -> Place:
    low, high = view.byte_range(batch)
    area, start, _ = _storage(plan, view.storage)
    return area, start + low, start + high


def _storage(plan: Plan, index: int) -> Place:
    storage = plan.storages[index]
    if storage.kind == "arena":
        return "arena", storage.offset, storage.offset + storage.nbytes
    return index, 0, storage.nbytes


def _require(memory: list[Content], node: Node, place: Place, when: str) -> None:
    wanted = {_value(node), _value(node.inputs[0])} if is_told(node) else {_value(node)}
    if not any(content.covers(place) and _value(content.value) in wanted for content in memory):
        found = sorted({content.value.name for content in memory if content.meets(place)})
        raise _fault(node, f"is not where {when} looks for it", f"those bytes hold {', '.join(found) or 'nothing'}")


def _fault(node: Node, what: str, actual: str = "") -> CompileError:
    return CompileError(
        f"plan: {node.op.label} {node.name!r} {what}",
        actual=actual,
        where=str(node.source),
        hint="this is a fault of graphnn; please report it with the graph",
    )
