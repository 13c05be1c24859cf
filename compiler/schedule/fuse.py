"""Join nodes into groups that can run as one kernel.

Before: single nodes.
After: trees. A node whose only reader is in a group joins it if the two can share a loop: chains of elementwise ops,
the ops on what a convolution, matrix product or reduction gives (its epilogue), those on what a reduction reads (its
prologue), and the assign that stores the result. At most one convolution, product or reduction is in a group.

Since only sole readers are joined, a group's inner values are read nowhere else, and no path leaves a group and comes
back: groups can always be ordered. Where two variables' new values are each made of the other's old value, their
assigns are groups of their own.
"""

from __future__ import annotations

from collections import Counter

import networkx

from graphnn.compiler.schedule.form import Group, is_source, write_edges
from graphnn.compiler.subgraph import Subgraph
from graphnn.ops.broadcasting import Cast, Elementwise
from graphnn.ops.conv import Conv2d, Conv2dDataGradient, Conv2dWeightGradient
from graphnn.ops.matmul import MatMul
from graphnn.ops.node import Node
from graphnn.ops.reduce import Max, Min, Sum
from graphnn.ops.state import Assign

REDUCTIONS = (Sum, Max, Min)
PRODUCTS = (Conv2d, Conv2dDataGradient, Conv2dWeightGradient, MatMul)
ANCHORS = (*REDUCTIONS, *PRODUCTS)
LARGEST_GROUP = 64
"""Nodes that join a group at most: a loop body of hundreds of statements takes a C compiler long and runs no faster."""


def fuse(subgraph: Subgraph, separate_writes: bool = False) -> list[Group]:
    """Return the groups, each with its nodes in order of execution; the list follows the subgraph's order of roots.

    Parameters
    ----------
    subgraph : Subgraph
        All passes are behind it.
    separate_writes : bool
        Keep assigns in groups of their own, so that all of them can run last.
    """
    groups = _joined(subgraph, set(subgraph.updates) if separate_writes else set())
    circle = _waiting_for_each_other(subgraph, groups)
    return _joined(subgraph, circle) if circle else groups


def _waiting_for_each_other(subgraph: Subgraph, groups: list[Group]) -> set[Node]:
    """Return the assigns in groups that each read a variable which another of them writes."""
    owner = {node: number for number, group in enumerate(groups) for node in group.nodes}
    waits = networkx.DiGraph((owner[reader], owner[write]) for reader, write in write_edges(subgraph))
    circles = [circle for circle in networkx.strongly_connected_components(waits) if len(circle) > 1]
    return {update for update in subgraph.updates if any(owner[update] in circle for circle in circles)}


def _joined(subgraph: Subgraph, separate: set[Node]) -> list[Group]:
    """Return the groups, with some assigns in groups of their own."""
    readers: dict[Node, list[Node]] = {node: [] for node in subgraph.nodes}
    for node in subgraph.nodes:
        for given in dict.fromkeys(node.inputs):
            readers[given].append(node)
    kept = Counter((*subgraph.fetches, *subgraph.updates))
    root: dict[Node, Node] = {}
    anchored: set[Node] = set()
    sizes: Counter[Node] = Counter()
    for node in reversed(subgraph.nodes):
        if is_source(node):
            continue
        root[node] = node
        if len(readers[node]) == 1 and not kept[node]:
            (reader,) = readers[node]
            group = root[reader]
            crowded = isinstance(node.op, ANCHORS) and group in anchored
            if not crowded and sizes[group] < LARGEST_GROUP and _fit(node, reader, separate):
                root[node] = group
                sizes[group] += 1
        if isinstance(node.op, ANCHORS):
            anchored.add(root[node])
    return _collect(subgraph, root, readers, kept)


def _fit(node: Node, reader: Node, separate: set[Node]) -> bool:
    """Whether `node` can run in the loop of its only reader."""
    match reader.op:
        case Assign():
            return reader not in separate and isinstance(node.op, (Elementwise, Cast, *ANCHORS))
        case Elementwise() | Cast():
            if node.op.is_view:
                return is_source(node.inputs[0])
            return isinstance(node.op, (Elementwise, Cast, *ANCHORS)) and node.shape == reader.shape
        case Sum() | Max() | Min():
            return isinstance(node.op, Elementwise | Cast)
    return False


def _collect(
    subgraph: Subgraph, root: dict[Node, Node], readers: dict[Node, list[Node]], kept: Counter[Node]
) -> list[Group]:
    members: dict[Node, list[Node]] = {}
    for node in subgraph.nodes:
        if node in root:
            members.setdefault(root[node], []).append(node)
    groups = []
    for nodes in members.values():
        inside = set(nodes)
        inputs = dict.fromkeys(given for node in nodes for given in node.inputs if given not in inside)
        outputs = [node for node in nodes if kept[node] or any(reader not in inside for reader in readers[node])]
        groups.append(Group(tuple(nodes), tuple(inputs), tuple(outputs)))
    return groups
