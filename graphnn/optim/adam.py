"""Adam."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

from graphnn.ops.elementwise import sqrt
from graphnn.ops.node import Node
from graphnn.ops.state import assign
from graphnn.optim.optimizer import GradientPair, Optimizer, Schedule


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015), by PyTorch's formula.

    With the gradient g of a variable w, in run t = 1, 2, …, ::

        g ← g + weight_decay · w
        m ← β1 · m + (1 - β1) · g                      (m and v start at 0)
        v ← β2 · v + (1 - β2) · g²
        w ← w - lr / (1 - β1ᵗ) · m / (sqrt(v) / sqrt(1 - β2ᵗ) + eps)

    m is kept as ``adam.exp_avg.NAME``, v as ``adam.exp_avg_sq.NAME`` and t, of int64, as ``adam.step``. What is the
    same for all elements, such as 1 - β2ᵗ, is computed in float64, since float32 would lose most of its digits.

    Parameters
    ----------
    lr : float or schedule
        The learning rate; see `Optimizer`.
    betas : pair of float
        β1 and β2, at least 0 and below 1.
    eps : float
        Keeps the divisor away from 0.
    weight_decay : float
        Multiple of each variable that is added to its gradient.

    Raises
    ------
    GraphError
        If a number is out of its range.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph() as graph:
    ...     w = gn.variable("w", 1.0)
    ...     train = gn.optim.Adam(lr=0.1).minimize(w * w)
    >>> executor = gn.Executor(w, updates=train, device="numpy")
    >>> [round(float(executor.run()), 4) for _ in range(3)]
    [1.0, 0.9, 0.8004]
    >>> list(graph.variables)
    ['w', 'adam.step', 'adam.exp_avg.w', 'adam.exp_avg_sq.w']
    """

    counts_runs = True

    def __init__(
        self,
        lr: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(lr, weight_decay=weight_decay)
        self.betas = beta1, beta2 = betas
        self.require(0 <= beta1 < 1 and 0 <= beta2 < 1, f"betas are {betas}", "numbers of at least 0 and below 1")
        self.require(eps >= 0, f"eps is {eps}", "a number of 0 or more")
        self.eps = eps

    def assigns(self, pairs: Sequence[GradientPair], learning_rate: Node, step: Node | None) -> Iterator[Node]:
        """Yield the new averages and the new value of each variable."""
        assert step is not None
        beta1, beta2 = self.betas
        run = (step + 1).astype("float64")
        size_as = cache((learning_rate / (1 - beta1**run)).astype)
        correction_as = cache(sqrt(1 - beta2**run).astype)
        for gradient, weight in pairs:
            gradient = self.decayed(gradient, weight)
            mean, square = self.state("exp_avg", weight), self.state("exp_avg_sq", weight)
            new_mean = mean + (1 - beta1) * (gradient - mean)
            new_square = beta2 * square + (1 - beta2) * (gradient * gradient)
            divisor = sqrt(new_square) / correction_as(weight.dtype) + self.eps
            yield assign(mean, new_mean)
            yield assign(square, new_square)
            yield assign(weight, weight - size_as(weight.dtype) * new_mean / divisor)
