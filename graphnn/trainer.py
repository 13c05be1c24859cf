"""The training loop: epochs of single runs over shuffled batches, each followed by full passes that measure."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

import numpy as np

from graphnn.data import Batches
from graphnn.executor import Executor
from graphnn.ops import not_equal
from graphnn.ops.node import Node
from graphnn.optim import Optimizer

Examples = tuple[np.ndarray, np.ndarray]
"""Inputs and labels: row i of each belongs to example i."""

Phase = Literal["training", "train figures", "test figures"]
OnBatch = Callable[[Phase, int, int], object]
"""What is told of progress after each batch: which pass it is, how many batches are done, and how many there are."""


@dataclass(frozen=True)
class EpochRow:
    """What one epoch came to.

    Attributes
    ----------
    epoch : int
        Its number, from 1.
    train_loss, test_loss : float
        Mean loss over all examples, in an evaluation pass after the epoch.
    train_error, test_error : float
        The fraction of labels that the largest logit misses, in the same pass.
    seconds : float
        Time of the training pass alone.
    """

    epoch: int
    train_loss: float
    train_error: float
    test_loss: float
    test_error: float
    seconds: float


class Trainer:
    """Trains a classifier, one run of one plan for each batch.

    Making it compiles two plans: one that updates, and one that evaluates. Both serve a smaller last batch as well.

    Parameters
    ----------
    loss : Node
        A single number: the mean over the examples of a batch.
    logits : Node
        (N, C), or (N, C, d1, …) with the classes in axis 1.
    inputs, labels : Node
        The placeholders to feed.
    optimizer : Optimizer
        Such as `optim.SGD`; its `minimize` is called here, once.
    batch_size : int
        Examples in a training step.
    evaluation_batch_size : int, optional
        Examples in a run of `evaluate`. By default `batch_size`, but no fewer than 100.
    device : str
        As for `Executor`.
    seed : int
        Of the order of the examples; that of the weights is the graph's.

    Attributes
    ----------
    history : list of EpochRow
        All finished epochs.
    executor, evaluator : Executor
        The two plans.

    Raises
    ------
    GraphError
        If the loss is no single number, or the graph can't be differentiated or compiled.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     points = gn.placeholder("points", (None, 2))
    ...     sides = gn.placeholder("sides", (None,), "int32")
    ...     logits = points @ gn.variable("weight", np.zeros((2, 2), np.float32))
    ...     loss = gn.ops.cross_entropy(logits, sides)
    >>> sgd = gn.optim.SGD(0.5, momentum=0.9)
    >>> trainer = gn.Trainer(loss, logits, inputs=points, labels=sides, optimizer=sgd, batch_size=8)
    >>> examples = np.array([[1, 0], [2, 1], [0, 1], [1, 3]], np.float32), np.array([0, 0, 1, 1], np.int32)
    >>> rows = trainer.fit(examples, examples, epochs=3)
    >>> [(row.epoch, row.test_error) for row in rows]
    [(1, 0.0), (2, 0.0), (3, 0.0)]
    """

    def __init__(
        self,
        loss: Node,
        logits: Node,
        *,
        inputs: Node,
        labels: Node,
        optimizer: Optimizer,
        batch_size: int = 100,
        evaluation_batch_size: int | None = None,
        device: str = "cpu",
        seed: int = 0,
    ) -> None:
        self.inputs = inputs
        self.labels = labels
        self.batch_size = batch_size
        self.evaluation_batch_size = max(batch_size, 100) if evaluation_batch_size is None else evaluation_batch_size
        self.seed = seed
        self.history: list[EpochRow] = []
        with loss.graph as graph:
            updates = optimizer.minimize(loss)
            with graph.scope(graph.unique_scope("evaluation")):
                mistakes = not_equal(logits.argmax(1 if logits.rank > 2 else -1), labels).sum()
        self.executor = Executor([loss], updates, device=device, max_batch=batch_size)
        self.evaluator = Executor([loss, mistakes], device=device, max_batch=self.evaluation_batch_size)

    def fit(
        self,
        train: Examples,
        test: Examples,
        epochs: int = 1,
        *,
        on_epoch: Callable[[EpochRow], object] | None = None,
        on_batch: OnBatch | None = None,
    ) -> list[EpochRow]:
        """Train for some epochs; after each, go through all examples again to measure.

        A second call goes on where the first one stopped. Ctrl-C takes effect between two steps: the variables are
        those after the last whole step, and `history` has the epochs before.

        Parameters
        ----------
        train, test : tuple of two arrays
            Inputs and labels.
        epochs : int
            How many to add.
        on_epoch : callable, optional
            Called with each row as soon as it is there.
        on_batch : callable, optional
            Called after each batch of any pass with the name of the pass, the batches done and all of them.

        Returns
        -------
        list of EpochRow
            The rows of this call.

        Raises
        ------
        DataError, FeedError
            If the arrays do not fit each other or the placeholders.
        """
        first = len(self.history)
        batches = Batches(*train, batch_size=self.batch_size, seed=self.seed)
        for number in range(first, first + epochs):
            batches.set_epoch(number)
            started = time.perf_counter()
            _go_through(batches, self._step, "training", on_batch)
            seconds = time.perf_counter() - started
            train_figures = self._figures(train, "train figures", on_batch)
            test_figures = self._figures(test, "test figures", on_batch)
            self.history.append(EpochRow(number + 1, *train_figures, *test_figures, seconds))
            if on_epoch is not None:
                on_epoch(self.history[-1])
        return self.history[first:]

    def evaluate(self, inputs: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
        """Return the mean loss and the fraction of wrong predictions over all examples, as they are in evaluation.

        Raises
        ------
        DataError, FeedError
            If the arrays do not fit each other or the placeholders.
        """
        return self._figures((inputs, labels), "test figures", None)

    def _step(self, inputs: np.ndarray, labels: np.ndarray) -> None:
        self.executor.run({self.inputs: inputs, self.labels: labels})

    def _figures(self, examples: Examples, phase: Phase, on_batch: OnBatch | None) -> tuple[float, float]:
        total_loss, mistakes = 0.0, 0

        def measure(inputs: np.ndarray, labels: np.ndarray) -> None:
            nonlocal total_loss, mistakes
            loss, wrong = self.evaluator.run({self.inputs: inputs, self.labels: labels})
            total_loss += float(loss) * len(labels)  # each loss is a mean, and the last batch may be smaller
            mistakes += int(wrong)

        batches = Batches(*examples, batch_size=self.evaluation_batch_size, shuffle=False)
        _go_through(batches, measure, phase, on_batch)
        return total_loss / len(examples[1]), mistakes / np.size(examples[1])


def _go_through(
    batches: Batches, step: Callable[[np.ndarray, np.ndarray], None], phase: Phase, on_batch: OnBatch | None
) -> None:
    # Closed, so that the thread that prepares batches ends here, however this is left.
    with closing(iter(batches)) as epoch:
        for done, (inputs, labels) in enumerate(epoch, start=1):
            step(inputs, labels)
            if on_batch is not None:
                on_batch(phase, done, len(batches))
