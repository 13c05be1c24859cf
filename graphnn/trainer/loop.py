"""The training loop: epochs of single runs over shuffled batches, each followed by full passes that measure."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from graphnn.checkpoint import save
from graphnn.compiler.interrupts import postponed_interrupts
from graphnn.data import Batches
from graphnn.data.transforms import Transform
from graphnn.executor import Executor
from graphnn.ops import not_equal
from graphnn.ops.errors import GraphError
from graphnn.ops.graph import Graph
from graphnn.ops.node import Node
from graphnn.ops.source import caller
from graphnn.optim import Optimizer, WeightAverage
from graphnn.optim.curvature import elsewhere
from graphnn.trainer.accumulation import Accumulation
from graphnn.trainer.callbacks import Callback, Functions, OnBatch, Phase
from graphnn.trainer.checkpoints import CheckpointKeeper, Checkpoints, Place, all_checkpoints
from graphnn.trainer.course import Course
from graphnn.trainer.feeding import Examples, Feeding
from graphnn.trainer.history import EpochRow, save_history
from graphnn.trainer.interrupts import Interrupts
from graphnn.trainer.learning_rates import LearningRateCurve, learning_rate_curve
from graphnn.viz.curves import plot_history


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
        Such as `optim.SGD`; its `minimize` is called here, once. Gradients are clipped by its options.
    batch_size : int
        Examples in a run of training.
    evaluation_batch_size : int, optional
        Examples in a run of `evaluate`. By default `batch_size`, but no fewer than 100.
    accumulate : int
        Runs from one update to the next; an epoch ends with one. The update is that of a batch with the examples of
        all these runs, which each have memory for `batch_size` of them alone. A third plan adds the gradients up.
        What batches do besides gradients (batch norm's statistics, drawing random numbers) they do in each run.
    average : WeightAverage, optional
        Averages the weights; `evaluate` then measures the averages, and `save` saves them.
    transform : callable, optional
        Changes the inputs of each training batch at random; see `graphnn.data.transforms`.
    data_threads : int
        Threads that prepare batches.
    device, threads
        As for `Executor`.
    seed : int
        Of the order of the examples and of `transform`; that of the weights is the graph's.

    Attributes
    ----------
    history : list of EpochRow
        All finished epochs.
    executor, evaluator : Executor
        The plans that update and evaluate.
    place : Place
        How far the training has come.

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
        accumulate: int = 1,
        average: WeightAverage | None = None,
        transform: Transform | None = None,
        data_threads: int = 1,
        device: str = "cpu",
        threads: int | None = None,
        seed: int = 0,
    ) -> None:
        if accumulate < 1:
            raise GraphError(f"Trainer: accumulate is {accumulate}", expected="1 or more", where=str(caller()))
        self.loss = loss
        self.inputs = inputs
        self.labels = labels
        self.optimizer = optimizer
        self.batch_size = batch_size
        self.evaluation_batch_size = max(batch_size, 100) if evaluation_batch_size is None else evaluation_batch_size
        self.accumulate = accumulate
        self.average = average
        self.transform = transform
        self.data_threads = data_threads
        self.seed = seed
        self.history: list[EpochRow] = []
        self.place = Place()
        self.is_between_batches = True
        """Whether `place` and the weights agree: not so within a run."""
        self._stopping = False
        self._feeding = Feeding(inputs, labels)
        self.device = device
        self.threads = threads
        self._accumulation = Accumulation(optimizer, inputs) if accumulate > 1 else None
        with self.graph:
            self._updates = (self._accumulation or optimizer).minimize(loss)
            if average is not None:
                self._updates = average.follow(self._updates)
        self.executor = self._training_plan(self._updates)
        self._collector = None if self._accumulation is None else self._training_plan(self._accumulation.collecting)
        self.evaluator = self._evaluation_plan(logits)

    def _training_plan(self, updates: list[Node]) -> Executor:
        return self._compiled([self.loss], updates, self.batch_size)

    def _evaluation_plan(self, logits: Node) -> Executor:
        with self.graph as graph, graph.scope(graph.unique_scope("evaluation")):
            mistakes = not_equal(logits.argmax(1 if logits.rank > 2 else -1), self.labels).sum()
            averages = {} if self.average is None else self.average.averages
            # Plans that read the averages, so that no moment has them in the place of the weights.
            figures = [elsewhere(node, averages) for node in (self.loss, mistakes)]
        return self._compiled(figures, [], self.evaluation_batch_size)

    def _compiled(self, fetches: list[Node], updates: list[Node], max_batch: int) -> Executor:
        return Executor(fetches, updates, device=self.device, max_batch=max_batch, threads=self.threads)

    @property
    def graph(self) -> Graph:
        """The graph of the loss."""
        return self.loss.graph

    @property
    def rows(self) -> Sequence[EpochRow]:
        """The epochs of the last call of `fit`, those from its checkpoint among them."""
        return self.history[self.place.first :]

    def fit(
        self,
        train: Examples,
        test: Examples,
        epochs: int = 1,
        *,
        callbacks: Sequence[Callback] = (),
        on_epoch: Callable[[EpochRow], object] | None = None,
        on_batch: OnBatch | None = None,
        checkpoint: str | Path | Checkpoints | None = None,
        resume: bool = False,
    ) -> list[EpochRow]:
        """Train for some epochs; after each, go through all examples again to measure.

        A second call goes on where the first one stopped. Ctrl-C takes effect between two batches: the variables are
        those after the last whole one, `history` has the epochs before, and with `checkpoint` both are on the disk. A
        second Ctrl-C takes effect at once.

        Parameters
        ----------
        train, test : tuple of two arrays
            Inputs and labels. A device with memory of its own keeps copies of them for the next call: train on other
            arrays rather than change these.
        epochs : int
            How many to add.
        callbacks : sequence of Callback
            What is told of the course, in this order; after checkpoints.
        on_epoch : callable, optional
            Called with each row as soon as it is there.
        on_batch : callable, optional
            Called after each batch of any pass with the name of the pass, the batches done and all of them.
        checkpoint : str, Path or Checkpoints, optional
            Folder for checkpoints, written after each epoch, or more often as `Checkpoints` says.
        resume : bool
            Go on with the call of `fit` that wrote the newest checkpoint in the folder, to the bit: `epochs` is then
            how many that call has in all. Without a checkpoint there, begin.

        Returns
        -------
        list of EpochRow
            The rows of this call, `rows`.

        Raises
        ------
        DataError, FeedError
            If the arrays do not fit each other or the placeholders.
        CheckpointError
            If a checkpoint can't be written, or is of another training; `docs/checkpoints.md` says more.
        """
        batches = self._batches(train)
        self.place = Place(first=len(self.history), steps=self.place.steps)
        self._stopping, self.is_between_batches = False, True
        self._clear_collected()
        with ExitStack() as stack:
            keepers = [
                stack.enter_context(CheckpointKeeper(self, options, self._settings(batches, train), resume=resume))
                for options in all_checkpoints(checkpoint, resume)
            ]
            interrupts = stack.enter_context(Interrupts())
            course = Course(self, [*keepers, *callbacks, Functions(on_epoch, on_batch)], interrupts)
            course.begin()
            while len(self.rows) < epochs and not self._stopping:
                self._one_epoch(batches, train, test, course)
        return list(self.rows)

    def stop(self) -> None:
        """End `fit` after the epoch that is running; for callbacks."""
        self._stopping = True

    def evaluate(self, inputs: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
        """Return the mean loss and the fraction of wrong predictions over all examples, as they are in evaluation.

        Raises
        ------
        DataError, FeedError
            If the arrays do not fit each other or the placeholders.
        """
        with Interrupts() as interrupts:
            return self._figures((inputs, labels), "test figures", Course(self, [], interrupts))

    def find_learning_rate(
        self, train: Examples, lowest: float = 1e-6, highest: float = 10.0, steps: int = 100
    ) -> LearningRateCurve:
        """Train with growing learning rates for some batches, then give all variables their values back.

        The learning rate grows by the same factor from batch to batch, until the loss has grown to a multiple of what
        it was (Smith, 2015). Groups of an optimiser with learning rates of their own keep those.

        Parameters
        ----------
        train : tuple of two arrays
            Inputs and labels.
        lowest, highest : float
            The learning rates of the first and the last batch.
        steps : int
            How many batches.

        Returns
        -------
        LearningRateCurve
            With `rates`, `losses` and a `suggestion`.

        Raises
        ------
        GraphError
            If a number is out of its range, or the optimiser has no learning rate.

        Examples
        --------
        >>> import graphnn as gn
        >>> with gn.Graph(seed=0) as graph:
        ...     x, y = gn.placeholder("x", (None, 2)), gn.placeholder("y", (None,), "int32")
        ...     logits = gn.nn.Linear(2, 2)(x)
        ...     loss = gn.ops.cross_entropy(logits, y)
        >>> trainer = gn.Trainer(loss, logits, inputs=x, labels=y, optimizer=gn.optim.SGD(0.1), device="numpy")
        >>> points = np.random.default_rng(0).normal(size=(100, 2)).astype(np.float32)
        >>> curve = trainer.find_learning_rate((points, (points[:, 0] > 0).astype(np.int32)))
        >>> 0.01 < curve.suggestion < 10
        True
        """
        return learning_rate_curve(
            self.loss,
            self._updates,
            self.optimizer.learning_rate,
            (self.inputs, self.labels),
            self._batches(train),
            (lowest, highest, steps),
            self.device,
            self.threads,
        )

    def save(self, path: str | Path) -> None:
        """Write the weights that `evaluate` measures to a file, as `graphnn.save` does: averages, if there are any."""
        with ExitStack() as stack:
            if self.average is not None:
                stack.enter_context(postponed_interrupts())  # otherwise a Ctrl-C could leave the averages there
                stack.enter_context(self.average.swapped())
            save(self.graph, path)

    def save_history(self, path: str | Path) -> None:
        """Write `history` to a ``.csv`` or ``.json`` file; see `graphnn.trainer.save_history`."""
        save_history(self.history, path)

    def save_curves(self, path: str | Path) -> None:
        """Draw the curves of loss and error to a picture; see `graphnn.viz.plot_history`."""
        plot_history(self.history, path)

    # Parts of the loop.

    def _batches(self, train: Examples) -> Batches:
        return Batches(
            *train,
            batch_size=self.batch_size,
            seed=self.seed,
            transform=self.transform,
            threads=self.data_threads,
            prefetch=max(2, self.data_threads),
        )

    def _settings(self, batches: Batches, train: Examples) -> dict[str, Any]:
        """Return what decides which examples are in which batch."""
        return {
            "examples": len(train[1]),
            "batch_size": batches.batch_size,
            "accumulate": self.accumulate,
            "seed": batches.seed,
        }

    def _clear_collected(self) -> None:
        """Forget the gradients of runs whose update never came, because of a Ctrl-C."""
        for variable in () if self._accumulation is None else self._accumulation.kept:
            self.graph.set_value(variable, np.zeros(variable.spec.static_shape, variable.dtype.interface))

    def _one_epoch(self, batches: Batches, train: Examples, test: Examples, course: Course) -> None:
        self._train(batches, train, course)
        train_figures = self._figures(train, "train figures", course)
        test_figures = self._figures(test, "test figures", course)
        row = EpochRow(len(self.history) + 1, *train_figures, *test_figures, self.place.seconds)
        self.is_between_batches = False
        self.history.append(row)
        self.place = replace(self.place, batch=0, seconds=0.0)
        self.is_between_batches = True
        course.epoch_done(row)

    def _train(self, batches: Batches, train: Examples, course: Course) -> None:
        batches.set_epoch(len(self.history), start=self.place.batch)
        before, started = self.place.seconds, time.perf_counter()
        # Closed, so that the threads that prepare batches end here, however this is left.
        with closing(self._feeding.training_runs(batches, train, self.place.batch, self._plan_of)) as runs:
            for run in runs:
                number = self.place.batch + 1
                self.is_between_batches = False
                run()
                self.place.batch, self.place.steps = number, self.place.steps + 1
                self.is_between_batches = True
                self.place.seconds = before + time.perf_counter() - started
                course.batch_done("training", number, len(batches))

    def _plan_of(self, number: int, total: int) -> Executor:
        """Return the plan for a batch of an epoch: the last of each few batches, and of all, updates."""
        if self._collector is None or number % self.accumulate == 0 or number == total:
            return self.executor
        return self._collector

    def _figures(self, examples: Examples, phase: Phase, course: Course) -> tuple[float, float]:
        total_loss, mistakes = 0.0, 0
        batches = Batches(*examples, batch_size=self.evaluation_batch_size, shuffle=False)
        size, rows = self.evaluation_batch_size, len(examples[1])
        with closing(self._feeding.results(self.evaluator, batches, examples)) as results:
            for done, (loss, wrong) in enumerate(results, start=1):
                # Each loss is a mean, and the last batch may be smaller.
                total_loss += float(loss) * min(size, rows - (done - 1) * size)
                mistakes += int(wrong)
                course.batch_done(phase, done, len(batches))
        return total_loss / len(examples[1]), mistakes / np.size(examples[1])
