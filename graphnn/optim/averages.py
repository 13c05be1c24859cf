"""Averages of weights over the course of training, which often do better than the last weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from types import MappingProxyType

from graphnn.compiler.interrupts import postponed_interrupts
from graphnn.ops.comparison import where
from graphnn.ops.errors import GraphError
from graphnn.ops.graph import Graph
from graphnn.ops.node import Node
from graphnn.ops.source import caller
from graphnn.ops.state import Assign, Variable, assign, constant, variable


class WeightAverage:
    """A moving average of the trained weights, as PyTorch's ``AveragedModel``.

    After the first run the average a of a weight w is the weight itself; after each further one, ::

        a ← decay · a + (1 - decay) · w,  or the mean of all so far where decay is None

    Averages are variables, ``weightaverage.average.NAME``; ``weightaverage.count`` is the number of runs in them.
    Running means of layers are not averaged (in PyTorch, ``use_buffers=False``).

    Parameters
    ----------
    decay : float, optional
        Share of the past, from 0 to 1. None gives all weights the same share (stochastic weight averaging, Izmailov et
        al., 2018).

    Raises
    ------
    GraphError
        If the decay is out of its range.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph() as graph:
    ...     w = gn.variable("w", 8.0)
    ...     average = gn.optim.WeightAverage(decay=0.5)
    ...     train = average.follow(gn.optim.SGD(0.25).minimize(w * w))
    >>> training, evaluation = (gn.Executor(w, updates, device="numpy") for updates in (train, []))
    >>> [float(training.run()) for _ in range(3)]
    [8.0, 4.0, 2.0]
    >>> with average.swapped():
    ...     float(evaluation.run())
    2.0
    >>> float(evaluation.run())
    1.0
    """

    def __init__(self, decay: float | None = 0.999) -> None:
        if decay is not None and not 0 <= decay <= 1:
            raise GraphError(
                f"WeightAverage: decay is {decay}",
                expected="a number from 0 to 1, or None",
                where=str(caller()),
                hint="0.999 is common",
            )
        self.decay = decay
        self._averages: dict[Node, Node] = {}

    @property
    def averages(self) -> Mapping[Node, Node]:
        """From each variable to its average, a variable too; empty before `follow`."""
        return MappingProxyType(self._averages)

    def follow(self, updates: Iterable[Node]) -> list[Node]:
        """Add the averages' assigns to those of an optimiser, whose new weights they take.

        Parameters
        ----------
        updates : iterable of Node
            What `Optimizer.minimize` returned.

        Returns
        -------
        list of Node
            These assigns and the averages', for ``Executor(..., updates=...)``.

        Raises
        ------
        GraphError
            If none of them writes a trainable variable of a floating type, or there are averages already.
        """
        given = list(updates)
        trained = [update for update in given if _is_trained(update)]
        if not trained or self._averages:
            raise GraphError(
                "WeightAverage.follow: there are averages already" if trained else "WeightAverage.follow: no weights",
                expected="one call, with what minimize(loss) returned",
                actual=", ".join(map(repr, given)) or "no updates",
                where=str(caller()),
                hint="make a WeightAverage for each optimiser",
            )
        graph = trained[0].graph
        with graph, graph.scope(graph.unique_scope("weightaverage")):
            count = variable("count", 0, trainable=False)
            keep_as = cache(self._kept_share(count.astype("float64")).astype)
            own = [assign(count, count + 1)]
            for update in trained:
                weight = update.inputs[0]
                name, value = f"average.{weight.name}", graph.get_value(weight)
                average = variable(name, value, trainable=False, dtype=weight.dtype)
                self._averages[weight] = average
                own.append(assign(average, update + keep_as(weight.dtype) * (average - update)))
        return [*given, *own]

    def _kept_share(self, count: Node) -> Node:
        """Return which share of the average stays: nothing in the first run."""
        if self.decay is None:
            return count / (count + 1)
        return where(count > 0, constant(self.decay, "float64"), 0.0)

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Let the variables have the averages' values inside the block, such as to evaluate with them.

        Outside, they are as before. Training inside would train the averages.
        """
        self._exchange(keep=True)
        try:
            yield
        finally:
            self._exchange(keep=True)

    def apply(self) -> None:
        """Give the variables the averages' values for good."""
        self._exchange(keep=False)

    def _exchange(self, keep: bool) -> None:
        """Put the averages into the variables and, if those are to be kept, the variables into the averages."""
        graph = self._graph()
        with graph.store.lock, postponed_interrupts():
            for weight, average in self._averages.items():
                before, after = graph.store.read(weight.name), graph.store.read(average.name)
                graph.store.write(weight.name, after)
                if keep:
                    graph.store.write(average.name, before)

    def _graph(self) -> Graph:
        for weight in self._averages:
            return weight.graph
        raise GraphError(
            "WeightAverage has no averages yet",
            expected="weights to average",
            where=str(caller()),
            hint="train = average.follow(optimizer.minimize(loss))",
        )


def _is_trained(update: object) -> bool:
    if not isinstance(update, Node) or not isinstance(update.op, Assign):
        return False
    written = update.inputs[0]
    return isinstance(written.op, Variable) and written.op.trainable and written.dtype.is_floating
