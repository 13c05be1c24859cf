"""Which learning rates suit a training: a run through all of them, after which everything is as before."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import numpy as np

from graphnn.compiler.interrupts import postponed_interrupts
from graphnn.data import Batches
from graphnn.executor import Executor
from graphnn.ops.errors import GraphError
from graphnn.ops.graph import Graph
from graphnn.ops.node import Node
from graphnn.ops.source import caller
from graphnn.ops.state import assign, placeholder
from graphnn.optim.curvature import elsewhere

SMOOTHING = 0.9
"""Share of the past in the smoothed loss: batches differ more than neighbouring learning rates do."""

DIVERGED = 4.0
"""How many times the least smoothed loss is a loss from which there is no way back."""


@dataclass(frozen=True)
class LearningRateCurve:
    """The loss along growing learning rates.

    Attributes
    ----------
    rates : tuple of float
        The learning rates, growing by the same factor from batch to batch; they end where the loss diverged.
    losses : tuple of float
        For each the loss of its batch, before the step.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]

    @property
    def smoothed(self) -> tuple[float, ...]:
        """The losses as weighted means with those before (corrected as in Adam)."""
        mean, means = 0.0, []
        for number, loss in enumerate(self.losses, start=1):
            mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
            means.append(mean / (1 - SMOOTHING**number))
        return tuple(means)

    @property
    def suggestion(self) -> float:
        """The learning rate at which the smoothed loss falls most steeply; about the highest that trains well."""
        if len(self.losses) < 2:
            return self.rates[0]
        return self.rates[int(np.argmin(np.gradient(self.smoothed)))]


def learning_rate_curve(
    loss: Node,
    updates: list[Node],
    learning_rate: Node,
    feeds: tuple[Node, Node],
    batches: Batches,
    rates: tuple[float, float, int],
    device: str,
    threads: int | None,
) -> LearningRateCurve:
    """Train with growing learning rates; see `Trainer.find_learning_rate`, which this does the work of."""
    first, last, steps = rates
    if not 0 < first < last < math.inf or steps < 2:
        raise GraphError(
            "find_learning_rate: a number is out of its range",
            expected="0 < lowest < highest, and 2 steps or more",
            actual=f"lowest = {first}, highest = {last}, steps = {steps}",
            where=str(caller()),
        )
    graph = loss.graph
    with graph, graph.scope(graph.unique_scope("learning_rate_finder")):
        rate = placeholder("learning_rate", (), "float64")
        executor = Executor(
            loss,
            [_with_rate(update, learning_rate, rate) for update in updates],
            device=device,
            max_batch=batches.batch_size,
            threads=threads,
        )
    tried: list[float] = []
    losses: list[float] = []
    with _restored(graph), closing(_endless(batches)) as endless:
        for value, (inputs, labels) in zip(np.geomspace(first, last, steps), endless, strict=False):
            measured = float(executor.run({rate: value, feeds[0]: inputs, feeds[1]: labels}))
            tried.append(float(value))
            losses.append(measured)
            if not math.isfinite(measured) or measured > DIVERGED * min(LearningRateCurve((), tuple(losses)).smoothed):
                break
    if not math.isfinite(losses[-1]) and len(losses) > 1:
        del tried[-1], losses[-1]
    return LearningRateCurve(tuple(tried), tuple(losses))


def _with_rate(update: Node, known: Node, rate: Node) -> Node:
    """Return an assign that computes its value with another learning rate."""
    value = elsewhere(update, {known: rate})
    return update if value is update else assign(update.inputs[0], value)


def _endless(batches: Batches) -> Generator[tuple[np.ndarray, ...], None, None]:
    while True:
        with closing(iter(batches)) as epoch:
            yield from epoch


@contextmanager
def _restored(graph: Graph) -> Iterator[None]:
    """Give all variables their values back at the end."""
    with graph.store.lock:
        before = {name: graph.store.read(name) for name in graph.variables}
    try:
        yield
    finally:
        with graph.store.lock, postponed_interrupts():
            for name, value in before.items():
                graph.store.write(name, value)
