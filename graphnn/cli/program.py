"""The graph that the commands work on: a model over MNIST images, and its loss."""

from __future__ import annotations

import math
from dataclasses import dataclass

from graphnn.models import MODELS
from graphnn.ops import Graph, Node, cross_entropy, placeholder
from graphnn.ops.state import Variable

IMAGE_SHAPE = (1, 28, 28)


@dataclass(frozen=True)
class Program:
    """A model in a graph of its own, with what it is fed and what it gives."""

    graph: Graph
    images: Node
    labels: Node
    logits: Node
    loss: Node

    @property
    def parameters(self) -> int:
        """How many numbers are trained."""
        trained = (node for node in self.graph.nodes if isinstance(node.op, Variable) and node.op.trainable)
        return sum(math.prod(node.spec.static_shape) for node in trained)


def program_for(model: str, seed: int) -> Program:
    """Build a model by its name."""
    with Graph(seed=seed) as graph:
        images = placeholder("images", (None, *IMAGE_SHAPE), "uint8")
        labels = placeholder("labels", (None,), "int32")
        logits = MODELS[model].builder()(images)
        loss = cross_entropy(logits, labels)
    return Program(graph, images, labels, logits, loss)
