"""Keep what a plan needs: its fetches, its assigns and their ancestors.

Before: the fetches and updates that the user named, in one mode.
After: no more than they depend on. A fetched assign became its value, and is carried out; so is every assign that
something else reads from. Nodes that only stop gradients are gone.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphnn.compiler.subgraph import Subgraph, with_inputs
from graphnn.ops.errors import GraphError
from graphnn.ops.node import Node
from graphnn.ops.state import Assign, StopGradient


def prune(subgraph: Subgraph) -> Subgraph:
    """Return what the fetches and updates need, with all assigns among the updates.

    Raises
    ------
    GraphError
        If two assigns write the same variable.
    """
    assigns = sorted(subgraph.of_op(Assign), key=lambda node: node.index)
    _refuse_second_assigns(assigns)
    new: dict[Node, Node] = {}
    kept: dict[Node, Node] = {}
    for node in subgraph.nodes:
        inputs = tuple(new[given] for given in node.inputs)
        match node.op:
            case Assign():
                kept[node] = with_inputs(node, inputs)
                new[node] = inputs[1]
            case StopGradient():
                new[node] = inputs[0]
            case _:
                new[node] = with_inputs(node, inputs)
    return Subgraph(tuple(new[node] for node in subgraph.fetches), tuple(kept[node] for node in assigns))


def _refuse_second_assigns(assigns: Sequence[Node]) -> None:
    first: dict[Node, Node] = {}
    for assign in assigns:
        earlier = first.setdefault(assign.inputs[0], assign)
        if earlier is not assign:
            raise GraphError(
                f"two assigns write variable {assign.inputs[0].name!r} in one run",
                expected="one assign for each variable",
                actual=f"{earlier.name!r} at {earlier.source}, and {assign.name!r}",
                where=str(assign.source),
                hint="combine the two values and assign once, or run two executors in turn",
            )
