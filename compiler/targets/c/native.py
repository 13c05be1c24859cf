"""Find the stretches of a schedule that compiled code can compute whole: native segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphnn.compiler.schedule.form import Schedule, write_edges
from graphnn.compiler.targets.c.merge import merge_units
from graphnn.compiler.targets.c.units import Kind, Unit, behind_alias, kind_of, memory_read, units_of
from graphnn.ops.max_pool import MaxPooling
from graphnn.ops.node import Node

LARGEST_SEGMENT = 256
"""Units from which a further segment is begun: each is a file that one compiler process takes some seconds for."""


@dataclass(frozen=True)
class NativeSegment:
    """Neighbouring groups of a schedule that become one C function.

    Attributes
    ----------
    units : tuple of Unit
        What is computed, in the schedule's order.
    nodes : tuple of Node
        All nodes of the groups, those that cost nothing included.
    outputs : tuple of Node
        Values that others read later, or the user fetches; assigns among them.
    write_edges : tuple of pair of Node
        Readers of a variable, and the assign that comes after them: those of which both are inside.
    """

    units: tuple[Unit, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[Node, ...]
    write_edges: tuple[tuple[Node, Node], ...]

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The values that come from outside."""
        made = {node for unit in self.units for node in unit.results}
        read = (behind_alias(given) for unit in self.units for given in unit.inputs)
        return tuple(dict.fromkeys(value for value in read if value not in made))


def native_segments(schedule: Schedule, checked_indices: bool) -> list[NativeSegment | Node]:
    """Cut a schedule into native segments and single nodes that NumPy computes, in order.

    Where indices are only known at run time, NumPy computes the ops that must refuse wrong ones.
    """
    readers: dict[Node, list[Node]] = {node: [] for node in schedule.subgraph.nodes}
    for node in schedule.subgraph.nodes:
        for given in dict.fromkeys(node.inputs):
            readers[given].append(node)
    fetched = frozenset(schedule.subgraph.fetches)
    kinds: dict[Node, Kind] = {}
    for node in schedule.nodes:
        kind = kind_of(node, () if node in fetched else readers[node])
        if kind is not None and (checked_indices or not _may_refuse(node)):
            kinds[node] = kind
    for node in reversed(schedule.nodes):
        is_copy = node.op.is_view and node in kinds and kinds[node] != "alias"
        if is_copy and readers[node] and not any(reader in kinds for reader in readers[node]):
            del kinds[node]  # only NumPy reads it, which needs no copy
    parts: list[list[Unit] | Node] = []
    members: list[list[Node]] = []
    for group in schedule.groups:
        if all(node in kinds for node in group.nodes):
            if not parts or isinstance(parts[-1], Node) or len(parts[-1]) >= LARGEST_SEGMENT:
                parts.append([])
                members.append([])
            units = parts[-1]
            assert isinstance(units, list)
            units += units_of(group, kinds)
            members[-1] += group.nodes
        else:
            parts += group.nodes
    return _with_outputs(parts, members, schedule)


def _may_refuse(node: Node) -> bool:
    """Whether an op refuses indices out of range; a max-pool's own positions are within its windows."""
    bounds = node.op.index_bounds(*(given.spec for given in node.inputs))
    return bool(bounds) and not isinstance(node.op, MaxPooling)


def _with_outputs(
    parts: Sequence[list[Unit] | Node], members: Sequence[list[Node]], schedule: Schedule
) -> list[NativeSegment | Node]:
    kept = {behind_alias(node) for node in schedule.subgraph.fetches} | set(schedule.subgraph.updates)
    segment_of = {node: number for number, nodes in enumerate(members) for node in nodes}
    for node in schedule.nodes:
        for value in memory_read(node) if node in segment_of else map(behind_alias, node.inputs):
            if segment_of.get(value) != segment_of.get(node):
                kept.add(value)
    edges: list[list[tuple[Node, Node]]] = [[] for _ in members]
    for reader, write in write_edges(schedule.subgraph):
        number = segment_of.get(reader)
        if number is not None and number == segment_of.get(write):
            edges[number].append((reader, write))
    result: list[NativeSegment | Node] = []
    remaining = iter(zip(members, edges, strict=True))
    for part in parts:
        if isinstance(part, Node):
            result.append(part)
            continue
        nodes, inside = next(remaining)
        outputs = tuple(node for unit in part for node in unit.results if node in kept)
        if part:
            units = merge_units(part, outputs, inside)
            result.append(NativeSegment(units, tuple(nodes), outputs, tuple(inside)))
        else:
            result.extend(nodes)
    return result
