"""Adam, and Adam with decoupled weight decay."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import ClassVar

from graphnn.ops.elementwise import sqrt
from graphnn.ops.node import Node
from graphnn.ops.state import assign
from graphnn.optim.optimizer import GradientPair, Optimizer, Schedule


@dataclass(eq=False)
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
    ...     train = gn.optim.Adam(lr=0.1).minimize(w * w)
    >>> executor = gn.Executor(w, updates=train, device="numpy")
    >>> [round(float(executor.run()), 4) for _ in range(3)]
    [1.0, 0.9, 0.8004]
    >>> list(graph.variables)
    ['w', 'adam.step', 'adam.exp_avg.w', 'adam.exp_avg_sq.w']
    """

    lr: float | Schedule = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        require_betas(self, self.betas)
        self.require_range(self.eps >= 0, "eps")

    @property
    def counts_runs(self) -> bool:
        """The corrections need the number of runs."""
        return True

    def assigns(self, pairs: Sequence[GradientPair], learning_rate: Node, step: Node | None) -> Iterator[Node]:
        """Yield the new averages and the new value of each variable."""
        assert step is not None
        beta1, beta2 = self.betas
        run = (step + 1).astype("float64")
        size_as = cache((learning_rate / (1 - beta1**run)).astype)
        correction_as = cache(sqrt(1 - beta2**run).astype)
        shrunk = self.shrinking(learning_rate)
        for gradient, weight in pairs:
            gradient = self.decayed(gradient, weight)
            mean, square = self.state("exp_avg", weight), self.state("exp_avg_sq", weight)
            new_mean = mean + (1 - beta1) * (gradient - mean)
            new_square = beta2 * square + (1 - beta2) * (gradient * gradient)
            divisor = sqrt(new_square) / correction_as(weight.dtype) + self.eps
            yield assign(mean, new_mean)
            yield assign(square, new_square)
            yield assign(weight, shrunk(weight) - size_as(weight.dtype) * new_mean / divisor)


@dataclass(eq=False)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019), by PyTorch's formula.

    ::

        w ← (1 - lr · weight_decay) · w

    comes first; then the step of `Adam`, in whose gradient the decay has no part. Its state is ``adamw.exp_avg.NAME``
    and so on.

    Parameters
    ----------
    lr, betas, eps
        As of `Adam`.
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
    ...     w, bias = gn.variable("w", 1.0), gn.variable("bias", 1.0)
    ...     adamw = gn.optim.AdamW(0.1, weight_decay=0.5, groups=[{"params": [bias], "weight_decay": 0.0}])
    ...     train = adamw.minimize(w * w + bias * bias)
    >>> gn.Executor([], updates=train, device="numpy").run()
    []
    >>> [round(float(graph.get_value(name)), 4) for name in ("w", "bias")]
    [0.85, 0.9]
    """

    weight_decay: float = field(default=1e-2, kw_only=True)
    decouples_weight_decay: ClassVar[bool] = True


def require_betas(optimizer: Optimizer, betas: tuple[float, float]) -> None:
    """Raise a GraphError unless both shares of the past are at least 0 and below 1."""
    beta1, beta2 = betas
    fits = 0 <= beta1 < 1 and 0 <= beta2 < 1
    optimizer.require(fits, f"betas are {betas}", "numbers of at least 0 and below 1")
