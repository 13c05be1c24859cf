"""Samples of standard deviation, log-sum-exp and norm."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphnn.ops import Node, Op
from graphnn.ops.aggregation import logsumexp, std
from graphnn.ops.elementwise import Abs, Exp, Power, Sqrt
from graphnn.ops.vector_norm import norm
from op_samples import Input, OpSample
from sample_values import Values, away_from_zero, these

AXES: tuple[tuple[str, tuple[int | None, ...], tuple[int, ...] | None, bool], ...] = (
    ("all axes", (None, 3, 2), None, False),
    ("all axes, kept", (None, 2), None, True),
    ("rows", (None, 5), (-1,), False),
    ("rows, kept", (None, 5), (1,), True),
    ("the batch", (None, 3), (0,), False),
    ("two of three axes", (None, 3, 2), (0, -1), True),
    ("static sizes", (2, 3, 4), (1, 2), False),
    ("a vector", (5,), (0,), False),
)


def reduced(
    x: np.ndarray, axes: tuple[int, ...] | None, keepdims: bool, rule: Callable[[list[float]], float]
) -> np.ndarray:
    """Apply a rule to the list of values that share a place on all other axes."""
    chosen = tuple(axis % x.ndim for axis in axes) if axes is not None else tuple(range(x.ndim))
    groups: dict[tuple[int, ...], list[float]] = {}
    for place in np.ndindex(*x.shape):
        target = tuple(0 if axis in chosen else index for axis, index in enumerate(place))
        groups.setdefault(target, []).append(float(x[place]))
    result = np.empty([1 if axis in chosen else size for axis, size in enumerate(x.shape)], x.dtype)
    for target, values in groups.items():
        result[target] = rule(values)
    return result if keepdims else result.squeeze(chosen)


def samples(
    name: str,
    op: type[Op],
    function: Callable[..., Node],
    rule: Callable[[list[float]], float],
    torch: Callable[[Any, Any, bool], object],
    values: Values | None = None,
) -> list[OpSample]:
    """Return samples of one function over all kinds of axes."""
    return [
        OpSample(
            f"{name}, {words}",
            op,
            (Input(shape, values=values),),
            lambda x, axes=axes, keepdims=keepdims: function(x, axes=axes, keepdims=keepdims),
            lambda x, axes=axes, keepdims=keepdims: reduced(x, axes, keepdims, rule),
            lambda x, axes=axes, keepdims=keepdims: torch(x, tuple(range(x.dim())) if axes is None else axes, keepdims),
        )
        for words, shape, axes, keepdims in AXES
    ]


def deviation(values: list[float], correction: int = 0) -> float:
    centre = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - correction))


def log_of_sum(values: list[float]) -> float:
    return math.log(math.fsum(math.exp(value) for value in values))


def in_torch(ord: float) -> Callable[[Any, Any, bool], object]:  # noqa: A002 - NumPy's name
    def call(x: Any, axes: Any, keepdims: bool) -> object:
        import torch

        return torch.linalg.vector_norm(x, ord, axes, keepdims)

    return call


def norm_samples(ord: float, op: type[Op], rule: Callable[[list[float]], float]) -> list[OpSample]:  # noqa: A002
    def spaced(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Numbers of different size, so that no small step makes another one the largest."""
        places = generator.permutation(math.prod(shape)).reshape(shape) + 1
        return places * 0.3 * generator.choice([-1, 1], shape)

    values = spaced if math.isinf(ord) else away_from_zero
    return samples(f"norm {ord}", op, lambda x, **where: norm(x, ord, **where), rule, in_torch(ord), values)


LOGSUMEXP_FAR = [
    OpSample(
        f"logsumexp, {words}",
        Exp,
        (Input((4,), values=these(*values)),),
        logsumexp,
        lambda x, expected=expected: np.array(expected, x.dtype),
        lambda x: x.logsumexp(0),
        gradient=gradient,
        second_gradient=gradient,
    )
    for words, values, expected, gradient in (
        ("large numbers", (1000, 999, -1000, 1000), 1000 + math.log(2 + math.exp(-1)), True),
        ("very negative numbers", (-1000, -1001, -2000, -1000), -1000 + math.log(2 + math.exp(-1)), True),
        ("minus infinity", (0, -math.inf, 0, 0), math.log(3), False),
        ("nothing but minus infinity", (-math.inf,) * 4, -math.inf, False),
        ("infinity", (0, math.inf, -math.inf, 0), math.inf, False),
        ("NaN", (0, math.nan, 0, 0), math.nan, False),
    )
]

SAMPLES: list[OpSample] = [
    *samples("std", Sqrt, std, deviation, lambda x, axes, keepdims: x.std(axes, correction=0, keepdim=keepdims)),
    OpSample(
        "std, corrected",
        Sqrt,
        (Input((None, 5)),),
        lambda x: x.std(1, correction=1),
        lambda x: reduced(x, (1,), False, lambda values: deviation(values, 1)),
        lambda x: x.std(1),
    ),
    *samples("logsumexp", Exp, logsumexp, log_of_sum, lambda x, axes, keepdims: x.logsumexp(axes, keepdims)),
    *LOGSUMEXP_FAR,
    *norm_samples(1, Abs, lambda values: math.fsum(map(abs, values))),
    *norm_samples(2, Sqrt, lambda values: math.hypot(*values)),
    *norm_samples(3, Power, lambda values: math.fsum(abs(value) ** 3 for value in values) ** (1 / 3)),
    *norm_samples(1.5, Power, lambda values: math.fsum(abs(value) ** 1.5 for value in values) ** (1 / 1.5)),
    *norm_samples(0.5, Power, lambda values: math.fsum(abs(value) ** 0.5 for value in values) ** 2),
    *norm_samples(math.inf, Abs, lambda values: max(map(abs, values))),
    *norm_samples(-math.inf, Abs, lambda values: min(map(abs, values))),
]
