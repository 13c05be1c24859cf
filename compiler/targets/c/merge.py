"""Join units that run as one kernel with several results, so that what they pass on stays in registers or a cache.

Before: a convolution, its max-pool, and the positions of the largest values, each going through memory; an optimiser's
new velocity, its assign, and the weight's update.
After: one unit that computes the convolution row by row and pools it at once; one loop over all of an update.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

import networkx

from graphnn.compiler.targets.c.segment import dependencies
from graphnn.compiler.targets.c.units import Unit, behind_alias, example_shape, is_pointwise
from graphnn.ops.conv import Conv2d
from graphnn.ops.max_pool import MaxPool2d, MaxPool2dIndices, MaxPooling
from graphnn.ops.node import Node
from graphnn.ops.state import Assign

VECTOR_BYTES = 64
"""Of the widest vectors."""

ROWS_BYTES = 1 << 15
"""How much one channel's rows of a window may take: they lie on the stack, for a few channels at a time."""

LARGEST_LOOP = 64
"""Nodes of a loop at most: a body of hundreds of statements takes a C compiler long."""


def merge_units(
    units: Sequence[Unit], outputs: Iterable[Node], write_edges: Sequence[tuple[Node, Node]]
) -> tuple[Unit, ...]:
    """Return the units with those joined that can run as one.

    Parameters
    ----------
    units : sequence of Unit
        In the schedule's order.
    outputs : iterable of Node
        Values that others read.
    write_edges : sequence of pair of Node
        Readers of a variable, and the assign that comes after them.
    """
    kept = frozenset(outputs)
    return _merged_loops(_merged_pools(tuple(units), kept), kept, write_edges)


def _values_read(unit: Unit) -> Iterable[Node]:
    return map(behind_alias, unit.inputs)


def _readers(units: Iterable[Unit]) -> dict[Node, list[Unit]]:
    """Return who reads each value."""
    found: dict[Node, list[Unit]] = {}
    for unit in units:
        for value in dict.fromkeys(_values_read(unit)):
            found.setdefault(value, []).append(unit)
    return found


def _merged_pools(units: tuple[Unit, ...], kept: frozenset[Node]) -> tuple[Unit, ...]:
    """Join each convolution that is only pooled with its pool."""
    readers = _readers(units)
    replaced: dict[Unit, Unit | None] = {}
    for unit in units:
        pools = readers.get(unit.root, [])
        if isinstance(unit.root.op, Conv2d) and len(unit.nodes) == 1 and unit.root not in kept and pools:
            nodes = sorted((each.root for each in pools), key=lambda node: isinstance(node.op, MaxPool2d))
            alone = all(len(each.nodes) == 1 and unit.root in each.inputs for each in pools)
            if alone and _pool_alike(nodes) and _fits_stack(unit.root, nodes[-1]):
                replaced |= dict.fromkeys(pools)
                replaced[unit] = Unit("lanes", (unit.root, *nodes), tuple(nodes[:-1]))
    merged = (replaced.get(unit, unit) for unit in units)
    return tuple(unit for unit in merged if unit is not None)


def _pool_alike(nodes: Sequence[Node]) -> bool:
    """Whether nodes are one max-pool, and perhaps its positions, whose windows lie side by side."""
    kinds = [type(node.op) for node in nodes]
    if kinds not in ([MaxPool2d], [MaxPool2dIndices, MaxPool2d]):
        return False
    ops = [node.op for node in nodes if isinstance(node.op, MaxPooling)]
    first = ops[0]
    tiles = first.kernel == first.stride and first.dilation == (1, 1) and first.padding == ((0, 0), (0, 0))
    inside = not first.ceil_mode and first.places <= 256
    return tiles and inside and all(op.attributes == first.attributes for op in ops)


def _fits_stack(image: Node, pooled: Node) -> bool:
    assert isinstance(pooled.op, MaxPool2d)
    return pooled.op.kernel[0] * example_shape(image)[-1] * VECTOR_BYTES <= ROWS_BYTES


def _merged_loops(
    units: tuple[Unit, ...], kept: frozenset[Node], write_edges: Sequence[tuple[Node, Node]]
) -> tuple[Unit, ...]:
    """Join loops over equal shapes without a batch, of which one reads another's result at the same place."""
    result = list(units)
    for unit in units:
        if unit not in result or not _is_loop(unit):
            continue
        joined = unit
        for reader in _readers(result).get(unit.root, []):
            fits = _is_loop(reader) and reader.root.shape == unit.root.shape and unit.root in reader.inputs
            if fits and len(joined.nodes) + len(reader.nodes) <= LARGEST_LOOP:
                candidate = _joined(joined, reader, result, kept)
                trial = _ordered(
                    [candidate if each is joined else each for each in result if each is not reader], write_edges
                )
                if trial is not None and _is_safe(candidate):
                    result, joined = trial, candidate
    return tuple(result)


def _is_loop(unit: Unit) -> bool:
    return unit.kind == "flat" and unit.root.rank > 0 and all(is_pointwise(node) for node in unit.nodes)


def _joined(first: Unit, second: Unit, units: Sequence[Unit], kept: frozenset[Node]) -> Unit:
    """Return one unit for two, whose results are those that others read."""
    nodes = (*first.nodes, *second.nodes)
    read = set(chain.from_iterable(_values_read(unit) for unit in units if unit not in (first, second)))
    results = [node for node in (*first.results, *second.results) if node in kept or node in read]
    # The last node stands for the unit, and must be a result: an assign, or what others read.
    last = second.root if second.root in results else results[-1]
    ordered = (*(node for node in nodes if node is not last), last)
    return Unit("flat", ordered, tuple(node for node in results if node is not last))


def _is_safe(unit: Unit) -> bool:
    """Whether each number that a loop writes is read before: at the same place of the loop, or not at all."""
    written = {node.inputs[0] for node in unit.nodes if isinstance(node.op, Assign)}
    changed = written.union(unit.nodes)
    return all(given in written or behind_alias(given) not in changed for given in unit.inputs)


def _ordered(units: Sequence[Unit], write_edges: Sequence[tuple[Node, Node]]) -> list[Unit] | None:
    """Return the units, each after those that it waits for, else as they were; None if one waits for itself."""
    position = {unit: place for place, unit in enumerate(units)}
    graph = networkx.DiGraph()
    graph.add_nodes_from(units)
    for unit, waits_for in dependencies(units, write_edges).items():
        graph.add_edges_from((before, unit) for before in waits_for)
    try:
        return list(networkx.lexicographical_topological_sort(graph, key=position.__getitem__))
    except networkx.NetworkXUnfeasible:
        return None
