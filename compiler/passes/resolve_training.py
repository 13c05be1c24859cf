"""Choose between training and evaluation.

Before: ``when_training(a, b)`` nodes.
After: their users read `a` in a training plan, `b` in an evaluation plan; the other branch is gone where nothing else
needs it, and so are the assigns in it. That is why this pass runs before the one that collects assigns.
"""

from __future__ import annotations

from graphnn.compiler.subgraph import Subgraph, with_inputs
from graphnn.ops.node import Node
from graphnn.ops.state import WhenTraining


def resolve_training(subgraph: Subgraph, training: bool) -> Subgraph:
    """Return the subgraph of one of the two modes."""

    def choose(node: Node, inputs: tuple[Node, ...]) -> Node:
        if isinstance(node.op, WhenTraining):
            return inputs[0] if training else inputs[1]
        return with_inputs(node, inputs)

    return subgraph.rewrite(choose)
