"""Compute equal things once (common subexpression elimination).

Before: several nodes with the same op and the same inputs.
After: the first of them, which stands for the others too. Placeholders, variables and assigns stand for themselves;
random ops have streams of their own, so that two of them are never equal.
"""

from __future__ import annotations

from graphnn.compiler.subgraph import Subgraph, with_inputs
from graphnn.ops.node import Node


def merge_equal(subgraph: Subgraph) -> Subgraph:
    """Return the subgraph without repeated computations."""
    first: dict[tuple[object, ...], Node] = {}

    def merge(node: Node, inputs: tuple[Node, ...]) -> Node:
        node = with_inputs(node, inputs)
        return node if node.op.is_stateful else first.setdefault((node.op, *inputs), node)

    return subgraph.rewrite(merge)
