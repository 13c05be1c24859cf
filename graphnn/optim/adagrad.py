"""Adagrad."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from graphnn.ops.elementwise import sqrt
from graphnn.ops.node import Node
from graphnn.ops.state import assign
from graphnn.optim.optimizer import GradientPair, Optimizer, Schedule


@dataclass(eq=False)
class Adagrad(Optimizer):
    """Adagrad (Duchi, Hazan and Singer, 2011), by PyTorch's formula.

    With the gradient g of a variable w, in run t = 1, 2, …, ::

        g ← g + weight_decay · w
        s ← s + g²                                     (s starts at initial_accumulator_value)
        w ← w - lr / (1 + (t - 1) · lr_decay) · g / (sqrt(s) + eps)

    s is kept as ``adagrad.sum.NAME``.

    Parameters
    ----------
    lr : float or schedule
        The learning rate; see `Optimizer`.
    lr_decay : float
        How fast the learning rate falls.
    initial_accumulator_value : float
        What s begins with.
    eps : float
        Keeps the divisor away from 0.
    weight_decay, clip_norm, clip_value, groups
        By keyword alone; see `Optimizer`.

    Raises
    ------
    GraphError
        If a number is negative.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph() as graph:
    ...     w = gn.variable("w", 1.0)
    ...     train = gn.optim.Adagrad(0.1).minimize(w * w)
    >>> executor = gn.Executor(w, updates=train, device="numpy")
    >>> [round(float(executor.run()), 4) for _ in range(3)]
    [1.0, 0.9, 0.8331]
    """

    lr: float | Schedule = 1e-2
    lr_decay: float = 0.0
    initial_accumulator_value: float = 0.0
    eps: float = 1e-10

    def __post_init__(self) -> None:
        super().__post_init__()
        for option in ("lr_decay", "initial_accumulator_value", "eps"):
            self.require_range(getattr(self, option) >= 0, option)

    @property
    def counts_runs(self) -> bool:
        """A learning rate that falls needs the number of runs."""
        return super().counts_runs or self.lr_decay > 0

    def assigns(self, pairs: Sequence[GradientPair], learning_rate: Node, step: Node | None) -> Iterator[Node]:
        """Yield the new sum of squares and the new value of each variable."""
        if self.lr_decay:
            assert step is not None
            learning_rate = learning_rate / (1 + step.astype("float64") * self.lr_decay)
        rate_as = cache(learning_rate.astype)
        for gradient, weight in pairs:
            gradient = self.decayed(gradient, weight)
            total = self.state("sum", weight, self.initial_accumulator_value)
            new_total = total + gradient * gradient
            yield assign(total, new_total)
            yield assign(weight, weight - rate_as(weight.dtype) * gradient / (sqrt(new_total) + self.eps))
