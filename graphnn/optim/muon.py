"""Muon."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import ClassVar, Literal

from graphnn.ops import dtypes
from graphnn.ops.elementwise import clip, sqrt
from graphnn.ops.node import Node
from graphnn.ops.state import assign
from graphnn.optim.optimizer import GradientPair, Optimizer, Schedule

Coefficients = tuple[float, float, float]
QUINTIC: Coefficients = (3.4445, -4.7750, 2.0315)
"""Of a polynomial that is steep at 0: few steps bring singular values close to 1, none exactly there."""


@dataclass(eq=False)
class Muon(Optimizer):
    """Muon, "momentum orthogonalised by Newton-Schulz" (Jordan et al., 2024), by PyTorch's formula.

    With the gradient G of a matrix W of A rows and B columns, ::

        M ← momentum · M + (1 - momentum) · G          (M starts at 0)
        U ← orthogonalized(momentum · M + (1 - momentum) · G),  or of M itself without nesterov
        W ← (1 - lr · weight_decay) · W - lr · sqrt(max(1, A / B)) · U

    M is kept as ``muon.momentum.NAME``. It is meant for the matrices between hidden layers. The weight of a convolution
    is taken as the matrix with a row for each output channel. What has fewer than two axes, and by the authors' advice
    embeddings and the last layer, are trained by another optimiser through `groups`. (PyTorch orthogonalises in
    bfloat16; here it is done in the type of the weight, in float32 for halves.)

    Parameters
    ----------
    lr : float or schedule
        The learning rate; see `Optimizer`.
    momentum : float
        Share of the past in M, at least 0 and below 1.
    nesterov : bool
        Whether to look ahead by one step.
    ns_coefficients : tuple of three float
        a, b and c of `orthogonalized`.
    eps : float
        Keeps the norm that a matrix is divided by away from 0.
    ns_steps : int
        Steps of `orthogonalized`.
    adjust_lr_fn : {"original", "match_rms_adamw"}, optional
        The factor beside the learning rate: as above, or ``0.2 · sqrt(max(A, B))`` (Liu et al., 2025), with which rates
        and decays that suit AdamW suit Muon.
    weight_decay : float
        Share of each variable that is taken off, times the learning rate.
    clip_norm, clip_value, groups
        By keyword alone; see `Optimizer`.

    Raises
    ------
    GraphError
        If an option is out of its range, or a variable has fewer than two axes.

    Examples
    --------
    >>> import graphnn as gn
    >>> vectors = {"params": lambda variable: variable.rank < 2, "optimizer": gn.optim.AdamW(0.01)}
    >>> with gn.Graph() as graph:
    ...     y = gn.nn.Linear(3, 2)(gn.placeholder("x", (None, 3)))
    ...     train = gn.optim.Muon(0.02, groups=[vectors]).minimize((y * y).mean())
    >>> [name for name in graph.variables if name.startswith("muon")]
    ['muon.step', 'muon.momentum.linear.weight', 'muon.exp_avg.linear.bias', 'muon.exp_avg_sq.linear.bias']
    """

    lr: float | Schedule = 1e-3
    momentum: float = 0.95
    nesterov: bool = True
    ns_coefficients: Coefficients = QUINTIC
    eps: float = 1e-7
    ns_steps: int = 5
    adjust_lr_fn: Literal["original", "match_rms_adamw"] | None = None
    weight_decay: float = field(default=0.1, kw_only=True)
    decouples_weight_decay: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_range(0 <= self.momentum < 1, "momentum", "a number of at least 0 and below 1")
        self.require_range(self.eps > 0, "eps", "a number above 0")
        self.require_range(self.ns_steps >= 1, "ns_steps", "an integer of 1 or more")
        self.require_range(len(self.ns_coefficients) == 3, "ns_coefficients", "three numbers")
        known = self.adjust_lr_fn in (None, "original", "match_rms_adamw")
        self.require_range(known, "adjust_lr_fn", "'original' or 'match_rms_adamw'")

    def assigns(self, pairs: Sequence[GradientPair], learning_rate: Node, step: Node | None) -> Iterator[Node]:
        """Yield the new momentum and the new value of each variable."""
        rate_as = cache(learning_rate.astype)
        shrunk = self.shrinking(learning_rate)
        for gradient, weight in pairs:
            self._require_matrix(weight)
            buffer = self.state("momentum", weight)
            moved = buffer + (1 - self.momentum) * (gradient - buffer)
            yield assign(buffer, moved)
            ahead = gradient + self.momentum * (moved - gradient) if self.nesterov else moved
            matrix = ahead.flatten(1)
            direction = orthogonalized(matrix, self.ns_steps, self.ns_coefficients, self.eps).reshape(weight.shape)
            factor = self._factor(*matrix.spec.static_shape)
            yield assign(weight, shrunk(weight) - rate_as(weight.dtype) * (factor * direction))

    def _factor(self, rows: int, columns: int) -> float:
        if self.adjust_lr_fn == "match_rms_adamw":
            return 0.2 * math.sqrt(max(rows, columns))
        return math.sqrt(max(1.0, rows / columns))

    def _require_matrix(self, weight: Node) -> None:
        self.require(
            weight.rank >= 2,
            f"variable {weight.name!r} of shape {weight.shape} is no matrix",
            "two axes or more",
            'groups=[{"params": lambda variable: variable.rank < 2, "optimizer": optim.AdamW()}]',
        )


def orthogonalized(matrix: Node, steps: int = 5, coefficients: Coefficients = QUINTIC, eps: float = 1e-7) -> Node:
    """Return roughly the orthogonal matrix nearest to a matrix: ``U Vᵀ`` for ``U S Vᵀ``, by Newton and Schulz.

    ::

        X ← X / max(‖X‖, eps)                          ‖X‖² is the sum of squares
        X ← a · X + (b · X Xᵀ + c · (X Xᵀ)²) X         in each step

    With the usual coefficients, the singular values end up between about 0.7 and 1.2, unless they were tiny.

    Parameters
    ----------
    matrix : Node of shape (A, B)
        Of a floating type.
    steps : int
        How often to repeat the second line.
    coefficients : tuple of three float
        a, b and c. (1.5, -0.5, 0) converges to the orthogonal matrix, but slowly.
    eps : float
        Keeps the divisor away from 0.

    Returns
    -------
    Node of shape (A, B)

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     y = orthogonalized(gn.constant([[2.0, 0.0], [0.0, -1.0]]), 10, (1.5, -0.5, 0.0))
    >>> gn.Executor(y, device="numpy").run().round(4)
    array([[ 1.,  0.],
           [ 0., -1.]], dtype=float32)
    """
    a, b, c = coefficients
    rows, columns = matrix.spec.static_shape
    x = matrix.astype(dtypes.promote(matrix.dtype, dtypes.float32))
    x = x.T if rows > columns else x  # the smaller product
    x = x / clip(sqrt((x * x).sum()), low=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return (x.T if rows > columns else x).astype(matrix.dtype)
