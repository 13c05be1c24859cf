"""The graph that the commands work on: a model over images, and its loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import click

from graphnn.cli.options import is_script
from graphnn.cli.recipes import make_optimizer, recipe_for
from graphnn.cli.script import build_script
from graphnn.executor import Executor
from graphnn.models import MODELS, mnist_cnn
from graphnn.ops import Graph, Node, cross_entropy, placeholder
from graphnn.ops.state import Variable

IMAGE_SHAPE = (1, 28, 28)
TRAIN_IMAGES = 60_000


@dataclass(frozen=True)
class Program:
    """A model in a graph of its own, with what it is fed and what it gives."""

    model: str
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


def batch_for(model: str, batch: int | None) -> int:
    """Return the images in a step: as many as were asked for, else as many as is usual for the model."""
    return batch or recipe_for(model).batch


def program_for(model: str, seed: int = 0, activation: str | None = None) -> Program:
    """Build a model by its name, or the user's own by ``SCRIPT.py:FUNCTION``.

    Raises
    ------
    GraphError
        If the user's own can't be built.
    click.UsageError
        If an activation is given for a model that has no choice.
    """
    if activation is not None and model != "mnist_cnn":
        raise click.UsageError(f"{model} has no --activation; mnist_cnn has.")
    graph = Graph(seed=seed)
    if is_script(model):
        parts = build_script(model, graph)
        return Program(model, graph, parts.inputs, parts.labels, parts.logits, parts.loss)
    with graph:
        images = placeholder("images", (None, *IMAGE_SHAPE), "uint8")
        labels = placeholder("labels", (None,), "int32")
        layers = MODELS[model].build() if activation is None else mnist_cnn(activation)
        logits = layers(images)
        loss = cross_entropy(logits, labels)
    return Program(model, graph, images, labels, logits, loss)


def updates_for(program: Program, optimizer: str, batch: int) -> Sequence[Node]:
    """Add the updates that ``graphnn train MODEL --optimizer OPTIMIZER --batch BATCH`` makes."""
    recipe = recipe_for(program.model)
    steps = recipe.compiled_epochs * math.ceil(TRAIN_IMAGES / batch)
    with program.graph:
        return make_optimizer(optimizer, "one-cycle", recipe.rate(optimizer), steps, program.logits).minimize(
            program.loss
        )


def compiled(program: Program, optimizer: str | None, batch: int, device: str) -> Executor:
    """Return the executor of a training step, or without an optimizer that of an evaluation."""
    if optimizer is None:
        return Executor([program.loss, program.logits], device=device, max_batch=batch)
    updates = updates_for(program, optimizer, batch)
    return Executor([program.loss], updates, device=device, max_batch=batch)
