"""Put the groups in a fixed order.

Before: groups, and what must come before what: data, and every read of a variable before its write.
After: a `Schedule`. Among the groups that could run next, the one created first does, with one exception: arithmetic
on gradients (an optimiser's update) runs right after the gradient it waits for, which frees the gradient's memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import networkx

from graphnn.compiler.schedule.form import Group, Schedule, write_edges
from graphnn.compiler.subgraph import Subgraph
from graphnn.ops.node import Node
from graphnn.ops.state import Assign


def order(subgraph: Subgraph, groups: Sequence[Group], writes_last: bool = False) -> Schedule:
    """Return the schedule; with `writes_last`, no variable is written before everything is computed."""
    owner = {node: number for number, group in enumerate(groups) for node in group.nodes}
    dependencies = networkx.DiGraph()
    dependencies.add_nodes_from(range(len(groups)))
    for number, group in enumerate(groups):
        dependencies.add_edges_from((owner[given], number) for given in group.inputs if given in owner)
    dependencies.add_edges_from(
        (owner[reader], owner[write]) for reader, write in write_edges(subgraph) if owner[reader] != owner[write]
    )
    due = _due_times(subgraph)
    keys = [_key(group, due, writes_last) for group in groups]
    in_order = networkx.lexicographical_topological_sort(dependencies, key=keys.__getitem__)
    return Schedule(subgraph, tuple(groups[number] for number in in_order))


def _key(group: Group, due: dict[Node, int], writes_last: bool) -> tuple[int, int, int]:
    priority = int(writes_last and isinstance(group.root.op, Assign))
    return priority, max(due[node] for node in group.nodes), group.root.index


def _due_times(subgraph: Subgraph) -> dict[Node, int]:
    """Return for each node its place in the order of creation; for arithmetic on gradients the gradient's place.

    What such arithmetic needs besides, a decayed momentum say, is due by then too.
    """
    due: dict[Node, int] = {}
    pulled: set[Node] = set()
    for node in subgraph.nodes:
        waits_for = [given for given in node.inputs if given.grad_of is not None or given in pulled]
        if node.grad_of is None and waits_for:
            pulled.add(node)
            due[node] = max(due[given] for given in waits_for)
        else:
            due[node] = node.index
    for node in reversed(subgraph.nodes):
        if node in pulled:
            for given in node.inputs:
                if due[given] > due[node]:
                    due[given] = due[node]
                    pulled.add(given)
    return due
