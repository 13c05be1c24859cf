"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from graphnn.ops.node import Node
from graphnn.ops.state import assign
from graphnn.optim.optimizer import GradientPair, Optimizer


@dataclass(eq=False)
class SGD(Optimizer):
    """Stochastic gradient descent, with momentum on demand, by PyTorch's formula.

    With the gradient g of a variable w, ::

        g ← g + weight_decay · w
        m ← momentum · m + g                           (m starts at 0)
        w ← w - lr · m,  or  w - lr · (g + momentum · m) with nesterov,  or  w - lr · g without momentum

    Parameters
    ----------
    lr : float or schedule
        The learning rate; see `Optimizer`.
    momentum : float
        Share of the previous direction that is kept. With 0 there is no state.
    nesterov : bool
        Whether to look ahead by one step.
    weight_decay, clip_norm, clip_value, groups
        By keyword alone; see `Optimizer`.

    Raises
    ------
    GraphError
        If a number is negative, or `nesterov` is asked for without momentum.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph() as graph:
    ...     w = gn.variable("w", 1.0)
    ...     train = gn.optim.SGD(0.1, momentum=0.9).minimize(w * w)
    >>> executor = gn.Executor(w, updates=train, device="numpy")
    >>> [round(float(executor.run()), 4) for _ in range(3)]
    [1.0, 0.8, 0.46]
    >>> list(graph.variables)
    ['w', 'sgd.momentum.w']
    """

    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_range(self.momentum >= 0, "momentum")
        has_momentum = not self.nesterov or self.momentum > 0
        self.require(has_momentum, "nesterov without momentum", "momentum above 0", "momentum=0.9")

    def assigns(self, pairs: Sequence[GradientPair], learning_rate: Node, step: Node | None) -> Iterator[Node]:
        """Yield the new momentum, if there is one, and the new value of each variable."""
        rate_as = cache(learning_rate.astype)
        for gradient, weight in pairs:
            direction = gradient = self.decayed(gradient, weight)
            if self.momentum:
                buffer = self.state("momentum", weight)
                moved = self.momentum * buffer + gradient
                yield assign(buffer, moved)
                direction = gradient + self.momentum * moved if self.nesterov else moved
            yield assign(weight, weight - rate_as(weight.dtype) * direction)
