"""Which graph is open, and how an op becomes a node of it."""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING

from graphnn.ops.errors import GraphError
from graphnn.ops.op import Op
from graphnn.ops.source import caller

if TYPE_CHECKING:
    from graphnn.ops.graph import Graph
    from graphnn.ops.node import Node

open_graphs: contextvars.ContextVar[tuple[Graph, ...]] = contextvars.ContextVar("open_graphs", default=())


def current_graph() -> Graph:
    """Return the graph of the innermost ``with`` block.

    Raises
    ------
    GraphError
        Outside of all of them.
    """
    graphs = open_graphs.get()
    if not graphs:
        raise GraphError(
            "no graph is open here", where=str(caller()), hint="build nodes inside `with gn.Graph() as graph:`"
        )
    return graphs[-1]


def apply(op: Op, *inputs: Node, name: str | None = None) -> Node:
    """Add a node to the graph of its inputs, or to the open graph where it has none."""
    graph = inputs[0].graph if inputs else current_graph()
    return graph.add(op, inputs, name)
