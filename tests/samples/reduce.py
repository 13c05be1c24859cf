"""Samples of the ops that make one value out of many along axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from graphnn.ops import Node, Op
from graphnn.ops.reduce import (
    Argmax,
    Max,
    Min,
    Reduction,
    Size,
    Sum,
    argmax,
    max,
    mean,
    min,
    size,
    sum,
    sum_to_size,
    variance,
)
from op_samples import Input, OpSample


def _reduced(
    x: np.ndarray, axes: Iterable[int], keepdims: bool, rule: Callable[[list[Any]], object], dtype: Any
) -> np.ndarray:
    """Apply a rule to the list of values that share a place on all axes but the given ones."""
    chosen = {axis % x.ndim for axis in axes}
    groups: dict[tuple[int, ...], list[Any]] = {}
    shape = [1 if axis in chosen else size for axis, size in enumerate(x.shape)]
    for place in np.ndindex(*shape):
        groups[place] = []
    for place in np.ndindex(*x.shape):
        groups[tuple(0 if axis in chosen else index for axis, index in enumerate(place))].append(x[place])
    result = np.empty(shape, dtype)
    for place, values in groups.items():
        result[place] = rule(values)
    return result if keepdims else result.reshape([size for axis, size in enumerate(x.shape) if axis not in chosen])


def _mean(values: list[Any]) -> float:
    return math.fsum(values) / len(values)


def _variance(values: list[Any], correction: int = 0) -> float:
    centre = _mean(values)
    return math.fsum((value - centre) ** 2 for value in values) / (len(values) - correction)


def _largest(values: list[Any]) -> object:
    return next((value for value in values if math.isnan(value)), sorted(values)[-1])


def _smallest(values: list[Any]) -> object:
    return next((value for value in values if math.isnan(value)), sorted(values)[0])


def _spaced(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers that are no closer than 1 to each other, so that no small step makes another one the largest."""
    return generator.permutation(math.prod(shape)).reshape(shape) - math.prod(shape) / 2 + 0.25


def _with_nan(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    x = generator.standard_normal(shape)
    x[..., 1] = np.nan
    x[0] = np.inf
    return x


def _bytes(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return generator.integers(200, 256, shape)


# Sum, Max and Min, over the same axes.


def _sample(
    name: str,
    op: type[Reduction],
    given: Input,
    axes: Sequence[int] | int | None,
    keepdims: bool = False,
    gradient: bool = True,
) -> OpSample:
    """A sample of sum, max or min."""
    function, rule, in_torch = {
        Sum: (sum, math.fsum, "sum"),
        Max: (max, _largest, "amax"),
        Min: (min, _smallest, "amin"),
    }[op]
    along = tuple(range(len(given.shape))) if axes is None else (axes,) if isinstance(axes, int) else tuple(axes)
    integers = op is Sum and given.dtype != "float32"
    return OpSample(
        f"{op.__name__.lower()}, {name}",
        op,
        (given,),
        lambda x: function(x, axes, keepdims),
        lambda x: _reduced(x, along, keepdims, rule, np.int64 if integers else x.dtype),
        lambda x: getattr(x, in_torch)(along, keepdims),
        gradient=gradient and given.dtype == "float32",
        second_gradient=gradient and given.dtype == "float32",
    )


def _samples(op: type[Reduction]) -> list[OpSample]:
    def real(*shape: int | None) -> Input:
        return Input(shape, values=None if op is Sum else _spaced)

    return [
        _sample("all axes", op, real(None, 3, 2), None),
        _sample("all axes, kept", op, real(None, 3, 2), None, keepdims=True),
        _sample("rows", op, real(None, 5), 1),
        _sample("rows, kept", op, real(None, 5), -1, keepdims=True),
        _sample("the batch", op, real(None, 4), 0),
        _sample("the batch, kept", op, real(None, 4), (0,), keepdims=True),
        _sample("a middle axis", op, real(None, 3, 4), 1),
        _sample("first and last axis", op, real(None, 3, 4), (-1, 0)),
        _sample("the channels' statistics", op, real(None, 3, 2, 2), (0, 2, 3), keepdims=True),
        _sample("static sizes", op, real(2, 3, 4), (1, 2)),
        _sample("a vector", op, real(7), 0),
        _sample("an axis of size 1", op, real(None, 1, 3), 1),
        _sample("integers", op, Input((None, 4), "int32"), 1),
        _sample("long integers", op, Input((None, 4), "int64"), (0, 1)),
        _sample("bytes", op, Input((None, 4), "uint8", _bytes), 1),
        _sample("bool", op, Input((None, 2), "bool"), 1, keepdims=True),
        _sample("no elements remain", op, real(0, 3), 1),
        _sample("NaN and infinity", op, Input((None, 4), values=_with_nan), 1, gradient=False),
    ]


# Compositions.


def _composite(
    name: str,
    op: type[Op],
    given: Input,
    axes: Sequence[int],
    build: Callable[[Node], Node],
    rule: Callable[[list[Any]], object],
    torch: Callable[[Any], object],
    keepdims: bool = False,
) -> OpSample:
    return OpSample(name, op, (given,), build, lambda x: _reduced(x, axes, keepdims, rule, x.dtype), torch)


COMPOSITES = [
    _composite("mean, the batch", Size, Input((None, 3)), (0,), lambda x: mean(x, 0), _mean, lambda x: x.mean(0)),
    _composite("mean, all axes", Size, Input((None, 3, 2)), (0, 1, 2), mean, _mean, lambda x: x.mean()),
    _composite(
        "mean, static axes",
        Sum,
        Input((None, 2, 3, 4)),
        (2, 3),
        lambda x: x.mean((-2, -1), keepdims=True),
        _mean,
        lambda x: x.mean((2, 3), keepdim=True),
        keepdims=True,
    ),
    _composite(
        "variance, the batch",
        Size,
        Input((None, 3, 2, 2)),
        (0, 2, 3),
        lambda x: variance(x, (0, 2, 3)),
        _variance,
        lambda x: x.var((0, 2, 3), correction=0),
    ),
    _composite(
        "variance, static axes",
        Sum,
        Input((None, 5)),
        (1,),
        lambda x: x.variance(1, keepdims=True),
        _variance,
        lambda x: x.var(1, correction=0, keepdim=True),
        keepdims=True,
    ),
    _composite(
        "variance, corrected",
        Sum,
        Input((None, 5)),
        (1,),
        lambda x: variance(x, 1, correction=1),
        lambda values: _variance(values, 1),
        lambda x: x.var(1, correction=1),
    ),
    _composite(
        "variance, corrected over the batch",
        Size,
        Input((None, 5)),
        (0, 1),
        lambda x: variance(x, correction=2),
        lambda values: _variance(values, 2),
        lambda x: x.var(correction=2),
    ),
]


def _sum_to_size_sample(name: str, given: Input, shape: tuple[int | None, ...], axes: Sequence[int]) -> OpSample:
    """A sample that sums over the given axes."""

    def bound(x: Any) -> tuple[int, ...]:
        return tuple(len(x) if extent is None else extent for extent in shape)

    return OpSample(
        f"sum_to_size, {name}",
        Sum,
        (given,),
        lambda x: sum_to_size(x, shape),
        lambda x: _reduced(x, axes, True, math.fsum, x.dtype).reshape(bound(x)),
        lambda x: x.sum_to_size(bound(x)),
    )


SUM_TO_SIZE = [
    _sum_to_size_sample("a bias", Input((None, 4)), (4,), (0,)),
    _sum_to_size_sample("a bias of channels", Input((None, 3, 2, 2)), (3, 1, 1), (0, 2, 3)),
    _sum_to_size_sample("rows", Input((None, 4)), (None, 1), (1,)),
    _sum_to_size_sample("the batch, kept", Input((None, 1, 4)), (1, 1, 4), (0,)),
    _sum_to_size_sample("a scalar", Input((None, 4)), (), (0, 1)),
]

# Argmax and Size.


def _first_largest(values: list[Any]) -> int:
    best = 0
    for position, value in enumerate(values):
        if math.isnan(value):
            return position
        best = position if value > values[best] else best
    return best


def _few(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return generator.integers(0, 2, shape)


def _argmax_sample(
    name: str, given: Input, axis: int, keepdims: bool = False, torch: Callable[[Any], object] | None = None
) -> OpSample:
    return OpSample(
        f"argmax, {name}",
        Argmax,
        (given,),
        lambda x: argmax(x, axis, keepdims),
        lambda x: _reduced(x, (axis,), keepdims, _first_largest, np.int64),
        torch or (lambda x: x.argmax(axis, keepdims)),
        gradient=False,
        second_gradient=False,
    )


ARGMAX = [
    _argmax_sample("rows", Input((None, 5)), axis=-1),
    _argmax_sample("rows, kept", Input((None, 5)), axis=1, keepdims=True),
    _argmax_sample("the batch", Input((None, 3)), axis=0),
    _argmax_sample("a middle axis", Input((2, 4, 3)), axis=-2),
    _argmax_sample("the first of equals", Input((None, 6), values=_few), axis=1),
    _argmax_sample("NaN", Input((None, 4), values=_with_nan), axis=1),
    _argmax_sample("integers", Input((None, 4), "int32"), axis=1),
    _argmax_sample("bool", Input((None, 4), "bool"), axis=1, torch=lambda x: x.int().argmax(1)),
    _argmax_sample("an axis of size 1", Input((None, 1)), axis=1),
]


def _size_sample(name: str, given: Input, axes: Sequence[int] | int | None, expected: Callable[[int], int]) -> OpSample:
    """A sample that gives the expected number at batch size n."""
    return OpSample(
        f"size, {name}",
        Size,
        (given,),
        lambda x: size(x, axes),
        lambda x: np.array(expected(len(x)), np.int64),
        gradient=False,
        second_gradient=False,
    )


SIZE = [
    _size_sample("the batch", Input((None, 3)), 0, lambda n: n),
    _size_sample("all axes", Input((None, 3, 2)), None, lambda n: 6 * n),
    _size_sample("two axes", Input((None, 3, 2), "uint8"), (-1, 0), lambda n: 2 * n),
]

SAMPLES = [*_samples(Sum), *_samples(Max), *_samples(Min), *COMPOSITES, *SUM_TO_SIZE, *ARGMAX, *SIZE]
