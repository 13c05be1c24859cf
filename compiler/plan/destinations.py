"""Decide which results are written straight to where they are wanted in the end.

An assigned value may be computed into its variable's own memory, once nothing reads the old value any more; the inputs
of a concatenation may be computed into their parts of the whole. Either saves a copy and its memory.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from graphnn.compiler.plan.form import row_major_strides
from graphnn.compiler.schedule.form import Schedule, is_source, write_edges
from graphnn.compiler.target import KernelNeeds
from graphnn.ops.errors import ShapeError
from graphnn.ops.node import Node
from graphnn.ops.slicing import Concat
from graphnn.ops.spec import Extent
from graphnn.ops.state import Assign


@dataclass(frozen=True)
class Destination:
    """Where a node's value goes: into the memory of `owner`, `offset` elements from its start."""

    owner: Node
    offset: Extent = 0
    strides: tuple[Extent, ...] | None = None


def destinations(
    schedule: Schedule, needs: dict[Node, KernelNeeds], writes_last: bool = False
) -> dict[Node, Destination]:
    """Return the nodes whose value goes elsewhere than into memory of its own; with `writes_last`, to no variable."""
    position = {node: place for place, node in enumerate(schedule.nodes)}
    found = {} if writes_last else _variables(schedule, needs, position)
    for node in schedule.nodes:
        if isinstance(node.op, Concat):
            for given, place in _parts(node).items():
                if given in needs and given not in found and (place.strides is None or needs[given].strided_output):
                    found[given] = place
    return found


def _variables(
    schedule: Schedule, needs: dict[Node, KernelNeeds], position: dict[Node, int]
) -> dict[Node, Destination]:
    last_read: dict[Node, int] = {}
    readers_at: dict[Node, list[Node]] = {}
    for reader, write in write_edges(schedule.subgraph):
        variable = write.inputs[0]
        last_read[variable] = max(last_read.get(variable, -1), position[reader])
        readers_at.setdefault(variable, []).append(reader)
    found: dict[Node, Destination] = {}
    for assign in schedule.subgraph.updates:
        variable, value = assign.inputs
        if value not in needs or value in found:
            continue
        read_last = last_read.get(variable, -1)
        if read_last < position[value] or (read_last == position[value] and _reads_in_place(value, variable, needs)):
            found[value] = Destination(variable)
    return found


def _reads_in_place(value: Node, variable: Node, needs: dict[Node, KernelNeeds]) -> bool:
    """Whether the kernel of `value` reads the variable element by element alone, so that it may overwrite it."""
    for place, given in enumerate(value.inputs):
        if given is variable and place not in needs[value].in_place:
            return False
        if given.op.is_view and given is not variable:
            return False  # it could show the variable's elements in another order
    return True


def _parts(concat: Node) -> dict[Node, Destination]:
    """Return the place of each input that occurs once and is computed, not a view or a source."""
    assert isinstance(concat.op, Concat)
    axis = concat.op.axis
    try:
        strides = row_major_strides(concat.shape)
    except ShapeError:
        return {}
    contiguous = all(extent == 1 for extent in concat.shape[:axis])
    parts: dict[Node, Destination] = {}
    occurrences = Counter(concat.inputs)
    offset: Extent = 0
    for given in concat.inputs:
        usable = not (is_source(given) or given.op.is_view or isinstance(given.op, Concat | Assign))
        if usable and occurrences[given] == 1:
            parts[given] = Destination(concat, offset, None if contiguous else strides)
        try:
            offset = offset + strides[axis] * given.shape[axis]
        except ShapeError:
            break
    return parts
