"""What a picture of a graph shows, whichever format it is written in."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from graphnn.compiler.plan.form import Plan
from graphnn.ops.graph import Graph
from graphnn.ops.node import Node
from graphnn.ops.state import Assign, Constant, Placeholder, Variable

Kind = Literal["placeholder", "variable", "constant", "op", "gradient", "update"]
_SOURCES: dict[type, Kind] = {Placeholder: "placeholder", Variable: "variable", Constant: "constant"}


@dataclass(frozen=True)
class Item:
    """A node in a picture.

    Attributes
    ----------
    number : int
        Its place in the picture. Names don't do: after compiler passes, two nodes may share one.
    node : Node
        The node.
    kind : str
        What it is there for.
    inputs : tuple of int
        The numbers of its inputs.
    group : int or None
        The group of a plan that computes it, in one kernel or in neighbouring ones.
    kernel : str
        The kernel that computes it in a plan.
    """

    number: int
    node: Node
    kind: Kind
    inputs: tuple[int, ...]
    group: int | None = None
    kernel: str = ""


@dataclass(frozen=True)
class Picture:
    """The nodes of a graph or of a plan, each after its inputs; of a plan where there is one."""

    items: tuple[Item, ...]
    plan: Plan | None = None


def of_graph(graph: Graph) -> Picture:
    """Return the picture of all that a user's graph holds."""
    return Picture(_items(graph.nodes))


def of_plan(plan: Plan) -> Picture:
    """Return the picture of what a plan computes, after the compiler's passes."""
    groups = {node: call.group for call in plan.steps for node in call.nodes}
    kernels = {call.node: call.kernel for call in plan.steps}
    items = _items(plan.subgraph.nodes, plan.subgraph.fetches)
    return Picture(
        tuple(
            Item(item.number, item.node, item.kind, item.inputs, groups.get(item.node), kernels.get(item.node, ""))
            for item in items
        ),
        plan,
    )


def _items(nodes: Sequence[Node], fetched: Collection[Node] = ()) -> tuple[Item, ...]:
    numbers = {node: number for number, node in enumerate(nodes)}
    kinds = _kinds(nodes, fetched)
    return tuple(
        Item(number, node, kinds[node], tuple(numbers[given] for given in node.inputs))
        for node, number in numbers.items()
    )


def _kinds(nodes: Sequence[Node], fetched: Collection[Node]) -> dict[Node, Kind]:
    """Return each node's kind. The arithmetic that only updates read, such as an optimiser's, counts as update."""
    kinds: dict[Node, Kind] = {}
    readers: dict[Node, list[Node]] = {node: [] for node in nodes}
    for node in nodes:
        for given in node.inputs:
            readers[given].append(node)
    for node in reversed(nodes):
        only_for_updates = bool(readers[node]) and all(kinds[reader] == "update" for reader in readers[node])
        if node.grad_of is not None:
            kinds[node] = "gradient"
        elif type(node.op) in _SOURCES:
            kinds[node] = _SOURCES[type(node.op)]
        elif isinstance(node.op, Assign) or (only_for_updates and node not in fetched):
            kinds[node] = "update"
        else:
            kinds[node] = "op"
    return kinds
