"""Join units that run as one kernel: a launch costs more than the arithmetic of most of them.

Before: a max-pool and its positions; the convolution that it reads; its gradient and the weight's gradient that reads
that; a loss and the softmax of its gradient; what is done with their results, element by element; for each variable an
optimiser's new velocity, its assign and the weight's update.
After: one kernel for each pair and its epilogue; one for all updates of a step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import networkx

from graphnn.compiler.schedule.form import Schedule, write_edges
from graphnn.compiler.targets.cuda.bodies import leaves
from graphnn.compiler.targets.cuda.rules import MOST_POINTERS, paired
from graphnn.compiler.targets.cuda.rules.products import pooled_convolution
from graphnn.compiler.targets.cuda.units import Unit, readers_of, value_behind, written_variables
from graphnn.ops.conv import Conv2d, Conv2dWeightGradient
from graphnn.ops.max_pool import MaxPool2d, MaxPool2dGradient
from graphnn.ops.node import Node
from graphnn.ops.shape import Reshape
from graphnn.ops.slicing import Concat
from graphnn.ops.state import Assign

LARGEST_PART = 64
"""Nodes of a part at most."""


def merge_units(
    units: Sequence[Unit], schedule: Schedule, writes_last: bool, max_batch: int, precision: str
) -> networkx.DiGraph[Unit]:
    """Return the units with those joined that can run as one, and edges to each from what has to run before.

    With `writes_last`, no variable is written before all that may fail is done.
    """
    position = {node: place for place, node in enumerate(schedule.nodes)}
    graph = _dependencies(units, schedule)
    _merge_pairs(units, graph)
    _merge_pools(graph, schedule, max_batch, precision)
    _merge_pool_gradients(graph, schedule)
    _merge_epilogues(graph, schedule, writes_last)
    _merge_updates(list(graph), graph, schedule, position)
    return graph


def _merge_pairs(units: Sequence[Unit], graph: networkx.DiGraph[Unit]) -> None:
    """Join two nodes that one kernel computes from the same first input."""
    waiting: dict[Node, list[Unit]] = {}
    for unit in units:
        if len(unit.nodes) != 1 or not unit.anchors or not unit.root.inputs:
            continue
        others = waiting.setdefault(unit.root.inputs[0], [])
        for other in others:
            pair = paired(other.root, unit.root)
            if pair is not None and not networkx.has_path(graph, other, unit):
                _replace(graph, (other, unit), Unit("anchored", pair, pair, pair))
                others.remove(other)
                break
        else:
            others.append(unit)


def _merge_pools(graph: networkx.DiGraph[Unit], schedule: Schedule, max_batch: int, precision: str) -> None:
    """Join a convolution and the max-pool that alone reads it, where one kernel does both faster than two."""
    for unit in [unit for unit in graph if unit.nodes == unit.anchors and isinstance(unit.anchors[-1].op, MaxPool2d)]:
        (convolution,) = unit.anchors[-1].inputs
        made = _made_for(unit, convolution, graph, schedule)
        if (
            made is not None
            and isinstance(convolution.op, Conv2d)
            and pooled_convolution(convolution, unit.anchors, max_batch, precision) is not None
        ):
            _replace(graph, (made, unit), replace(unit, nodes=(convolution, *unit.nodes)))


def _merge_pool_gradients(graph: networkx.DiGraph[Unit], schedule: Schedule) -> None:
    """Join a max-pool's gradient with the weight's gradient that alone reads it: that of a network's first layer."""
    for unit in [unit for unit in graph if unit.anchors and isinstance(unit.anchors[-1].op, Conv2dWeightGradient)]:
        slopes = unit.anchors[-1].inputs[1]
        made = _made_for(unit, slopes, graph, schedule)
        if made is not None and isinstance(slopes.op, MaxPool2dGradient) and slopes.op.is_tiling:
            _replace(graph, (made, unit), replace(unit, nodes=(slopes, *unit.nodes)))


def _made_for(unit: Unit, node: Node, graph: networkx.DiGraph[Unit], schedule: Schedule) -> Unit | None:
    """Return the unit that computes a node and nothing else, for this unit alone; None if there is none."""
    made = next((other for other in graph.predecessors(unit) if other.nodes == (node,)), None)
    if made is None or any(value_behind(fetch) is node for fetch in schedule.subgraph.fetches):
        return None
    others = [other for other in graph.successors(made) if other is not unit]
    read = any(value_behind(given) is node for other in others for given in other.values_read)
    return None if read or any(networkx.has_path(graph, other, unit) for other in others) else made


def _merge_epilogues(graph: networkx.DiGraph[Unit], schedule: Schedule, writes_last: bool) -> None:
    """Join pointwise units with the anchor whose result they alone read, element by element."""
    fetched = {value_behind(node) for node in schedule.subgraph.fetches}
    for unit in [unit for unit in graph if unit.kind == "anchored" and not isinstance(unit.root.op, Concat)]:
        joined = unit
        for anchor in unit.anchors:
            readers = [
                other
                for other in graph.successors(joined)
                if any(value_behind(given) is anchor for given in other.values_read)
            ]
            if anchor not in joined.outputs or anchor in fetched or len(readers) != 1:
                continue
            if not (writes_last and written_variables(readers[0])):  # a pair's other result may be needed before
                joined = _with_epilogue(joined, anchor, readers[0], graph)


def _with_epilogue(unit: Unit, anchor: Node, reader: Unit, graph: networkx.DiGraph[Unit]) -> Unit:
    """Return a unit and the reader of one of its results as one, or the unit alone where they do not fit."""
    read = [given for given in reader.values_read if value_behind(given) in unit.nodes]
    shown = _reshapes(read[0], anchor) if len(read) == 1 else None
    alike = reader.kind == "pointwise" and len({node.shape for node in reader.nodes}) == 1
    around = (other for other in graph.successors(unit) if other is not reader)
    if shown is None or not alike or reader.shape != read[0].shape:
        return unit
    if any(networkx.has_path(graph, other, reader) for other in around):
        return unit
    outputs = (*(node for node in unit.outputs if node is not anchor), *reader.outputs)
    joined = Unit("anchored", (*unit.nodes, *shown, *reader.nodes), outputs, unit.anchors)
    if len(joined.nodes) > LARGEST_PART or not _is_safe(joined):
        return unit
    _replace(graph, (unit, reader), joined)
    return joined


def _reshapes(node: Node, anchor: Node) -> tuple[Node, ...] | None:
    """Return the reshapes, which keep elements in order, that lead from an anchor to a node; None for other views."""
    found: tuple[Node, ...] = ()
    while node is not anchor:
        if not isinstance(node.op, Reshape):
            return None
        found = (node, *found)
        node = node.inputs[0]
    return found


def _merge_updates(
    units: Sequence[Unit], graph: networkx.DiGraph[Unit], schedule: Schedule, position: dict[Node, int]
) -> None:
    """Join what only leads to assigns: by variable into parts, and these into kernels."""
    kept = {value_behind(node) for node in schedule.subgraph.fetches} | set(schedule.subgraph.updates)
    updates = _updates(units, kept)
    for unit in [unit for unit in units if unit in updates]:
        _join_readers(unit, graph, updates, kept, position)
    parts = [unit for unit in graph if unit in updates and not graph.out_degree(unit) and _is_safe(unit)]
    for bundle in _bundles(sorted(parts, key=lambda unit: position[unit.root])):
        if len(bundle) > 1:
            nodes = tuple(node for part in bundle for node in part.nodes)
            outputs = tuple(node for part in bundle for node in part.outputs)
            _replace(graph, bundle, Unit("pointwise", nodes, outputs, parts=tuple(bundle)))


def _dependencies(units: Sequence[Unit], schedule: Schedule) -> networkx.DiGraph[Unit]:
    """Return which unit has to run before which: by what it makes, or reads before another writes it."""
    owner = {node: unit for unit in units for node in unit.nodes}
    graph: networkx.DiGraph[Unit] = networkx.DiGraph()
    graph.add_nodes_from(units)
    for unit in units:
        made = (owner.get(value_behind(given)) for given in unit.values_read)
        graph.add_edges_from((before, unit) for before in made if before is not None)
    for reader, write in write_edges(schedule.subgraph):
        before = owner.get(reader)
        if before is not None and before is not owner[write]:
            graph.add_edge(before, owner[write])
    return graph


def _updates(units: Sequence[Unit], kept: set[Node]) -> set[Unit]:
    """Return the pointwise units without a batch whose results are assigned, or read by such units alone."""
    readers = readers_of(units)
    found: set[Unit] = set()
    for unit in reversed(units):
        fixed = unit.kind == "pointwise" and not unit.parts and not unit.root.spec.has_batch
        if fixed and all(
            isinstance(node.op, Assign)
            or (node not in kept and readers.get(node) and all(reader in found for reader in readers[node]))
            for node in unit.outputs
        ):
            found.add(unit)
    return found


def _join_readers(
    unit: Unit, graph: networkx.DiGraph[Unit], updates: set[Unit], kept: set[Node], position: dict[Node, int]
) -> None:
    """Join a unit with those of its readers that walk through the same shape, unless something comes in between."""
    if unit not in graph:
        return  # joined already
    for reader in list(graph.successors(unit)):
        made = [given for given in reader.values_read if value_behind(given) in unit.nodes]
        reads_result = bool(made) and all(given in unit.outputs for given in made)  # not in another order
        fits = reader in updates and reads_result and reader.shape == unit.shape
        if not fits or len(unit.nodes) + len(reader.nodes) > LARGEST_PART:
            continue
        if any(other is not reader and networkx.has_path(graph, other, reader) for other in graph.successors(unit)):
            continue
        nodes = tuple(sorted({*unit.nodes, *reader.nodes}, key=position.__getitem__))
        others = (set(graph.successors(unit)) | set(graph.successors(reader))) - {reader}
        read = {value_behind(given) for other in others for given in other.values_read}
        outputs = tuple(node for node in nodes if node in kept or node in read)
        joined = Unit("pointwise", nodes, outputs)
        if _is_safe(joined):
            _replace(graph, (unit, reader), joined)
            updates -= {unit, reader}
            updates.add(joined)
            unit = joined


def _is_safe(unit: Unit) -> bool:
    """Whether each number of a variable is read where it is written, or not at all."""
    written = written_variables(unit)
    return all(given in written or value_behind(given) not in written for given in unit.values_read) and all(
        node.shape == given.shape for node in unit.nodes for given in node.inputs if given in written
    )


def _replace(graph: networkx.DiGraph[Unit], old: Iterable[Unit], new: Unit) -> None:
    """Put one unit in the place of several."""
    gone = set(old)
    before = {other for unit in gone for other in graph.predecessors(unit)} - gone
    after = {other for unit in gone for other in graph.successors(unit)} - gone
    graph.remove_nodes_from(gone)
    graph.add_node(new)
    graph.add_edges_from((other, new) for other in before)
    graph.add_edges_from((new, other) for other in after)


def _bundles(parts: Iterable[Unit]) -> list[list[Unit]]:
    """Cut parts into runs that one kernel can take."""
    bundles: list[list[Unit]] = []
    room = 0
    for part in parts:
        pointers = len(leaves(part.nodes)) + len(part.outputs)
        if not bundles or pointers > room:
            bundles.append([])
            room = MOST_POINTERS
        bundles[-1].append(part)
        room -= pointers
    return bundles
