"""Lion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

from graphnn.ops.elementwise import sign
from graphnn.ops.node import Node
from graphnn.ops.state import assign
from graphnn.optim.adam import require_betas
from graphnn.optim.optimizer import GradientPair, Optimizer, Schedule


@dataclass(eq=False)
class Lion(Optimizer):
    """Lion, "evolved sign momentum" (Chen et al., 2023): each weight moves by the learning rate, up or down.

    With the gradient g of a variable w, ::

        c ← β1 · m + (1 - β1) · g                      (m starts at 0)
        w ← (1 - lr · weight_decay) · w - lr · sign(c)
        m ← β2 · m + (1 - β2) · g

    m is kept as ``lion.exp_avg.NAME``. Compared with AdamW, the authors advise a learning rate 3 to 10 times smaller,
    and a weight decay as many times larger.

    Parameters
    ----------
    lr : float or schedule
        The learning rate; see `Optimizer`.
    betas : pair of float
        β1 and β2, at least 0 and below 1.
    weight_decay : float
        Share of each variable that is taken off, times the learning rate.
    clip_norm, clip_value, groups
        By keyword alone; see `Optimizer`.

    Raises
    ------
    GraphError
        If a number is out of its range.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph() as graph:
    ...     w = gn.variable("w", [1.0, -3.0])
    ...     train = gn.optim.Lion(0.1).minimize((w * w).sum())
    >>> gn.Executor([], updates=train, device="numpy").run()
    []
    >>> graph.get_value(w).round(4)
    array([ 0.9, -2.9], dtype=float32)
    """

    lr: float | Schedule = 1e-4
    betas: tuple[float, float] = (0.9, 0.99)
    decouples_weight_decay: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_betas(self, self.betas)

    def assigns(self, pairs: Sequence[GradientPair], learning_rate: Node, step: Node | None) -> Iterator[Node]:
        """Yield the new value and the new mean gradient of each variable."""
        beta1, beta2 = self.betas
        rate_as = cache(learning_rate.astype)
        shrunk = self.shrinking(learning_rate)
        for gradient, weight in pairs:
            mean = self.state("exp_avg", weight)
            direction = sign(beta1 * mean + (1 - beta1) * gradient)
            yield assign(weight, shrunk(weight) - rate_as(weight.dtype) * direction)
            yield assign(mean, beta2 * mean + (1 - beta2) * gradient)
