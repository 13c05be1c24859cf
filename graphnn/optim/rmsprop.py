"""RMSprop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from graphnn.ops.elementwise import sqrt
from graphnn.ops.node import Node
from graphnn.ops.state import assign
from graphnn.optim.optimizer import GradientPair, Optimizer, Schedule


@dataclass(eq=False)
class RMSprop(Optimizer):
    """RMSprop (Tieleman and Hinton, 2012), by PyTorch's formula.

    With the gradient g of a variable w, ::

        g ← g + weight_decay · w
        v ← alpha · v + (1 - alpha) · g²               (v starts at 0)
        d ← g / (sqrt(v) + eps)                        with centered, sqrt(v - a²) with a the mean of g as v is of g²
        m ← momentum · m + d                           (m starts at 0)
        w ← w - lr · m                                 without momentum, w - lr · d

    v is kept as ``rmsprop.square_avg.NAME``, a as ``rmsprop.grad_avg.NAME`` and m as ``rmsprop.momentum.NAME``.

    Parameters
    ----------
    lr : float or schedule
        The learning rate; see `Optimizer`.
    alpha : float
        Share of the past in the means, at least 0 and below 1.
    eps : float
        Keeps the divisor away from 0.
    momentum : float
        Share of the previous direction that is kept. With 0 there is no state for it.
    centered : bool
        Whether to divide by the deviation from the mean gradient (Graves, 2013).
    weight_decay, clip_norm, clip_value, groups
        By keyword alone; see `Optimizer`.

    Raises
    ------
    GraphError
        If a number is out of its range.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph() as graph:
    ...     w = gn.variable("w", 1.0)
    ...     train = gn.optim.RMSprop(0.01).minimize(w * w)
    >>> executor = gn.Executor(w, updates=train, device="numpy")
    >>> [round(float(executor.run()), 4) for _ in range(3)]
    [1.0, 0.9, 0.8329]
    """

    lr: float | Schedule = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8
    momentum: float = 0.0
    centered: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_range(0 <= self.alpha < 1, "alpha", "a number of at least 0 and below 1")
        self.require_range(self.eps >= 0, "eps")
        self.require_range(self.momentum >= 0, "momentum")

    def assigns(self, pairs: Sequence[GradientPair], learning_rate: Node, step: Node | None) -> Iterator[Node]:
        """Yield the new means, the new momentum, if there is one, and the new value of each variable."""
        rate_as = cache(learning_rate.astype)
        for gradient, weight in pairs:
            gradient = self.decayed(gradient, weight)
            square = self.state("square_avg", weight)
            spread = new_square = self.alpha * square + (1 - self.alpha) * (gradient * gradient)
            yield assign(square, new_square)
            if self.centered:
                mean = self.state("grad_avg", weight)
                new_mean = mean + (1 - self.alpha) * (gradient - mean)
                yield assign(mean, new_mean)
                spread = new_square - new_mean * new_mean
            direction = gradient / (sqrt(spread) + self.eps)
            if self.momentum:
                buffer = self.state("momentum", weight)
                direction = self.momentum * buffer + direction
                yield assign(buffer, direction)
            yield assign(weight, weight - rate_as(weight.dtype) * direction)
