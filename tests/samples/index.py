"""Samples of the ops that pick by positions which are themselves values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphnn.ops import apply
from graphnn.ops.index import OneHot, Take, TakeGradient, one_hot, take
from op_samples import Input, OpSample


def _between(low: int, high: int) -> Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]:
    """Return a function that draws integers from `low` up to, not including, `high`."""
    return lambda generator, shape: generator.integers(low, high, shape)


def _indices(shape: tuple[int | None, ...], low: int, high: int, dtype: str = "int64") -> Input:
    return Input(shape, dtype, _between(low, high))


# Take.


def _taken(x: np.ndarray, indices: np.ndarray, axis: int) -> np.ndarray:
    axis %= x.ndim
    result = np.empty((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]), x.dtype)
    for place in np.ndindex(*result.shape):
        before, among, after = place[:axis], place[axis : axis + indices.ndim], place[axis + indices.ndim :]
        result[place] = x[(*before, int(indices[among]), *after)]
    return result


def _torch_taken(x: Any, indices: Any, axis: int) -> object:
    axis %= x.ndim
    return x[(slice(None),) * axis + (indices.long(),)]


def _take_sample(name: str, given: Input, indices: Input, axis: int = 0) -> OpSample:
    differentiable = given.dtype == "float32"
    return OpSample(
        f"take, {name}",
        Take,
        (given, indices),
        lambda x, indices: take(x, indices, axis),
        lambda x, indices: _taken(x, indices, axis),
        lambda x, indices: _torch_taken(x, indices, axis),
        gradient=differentiable,
        second_gradient=differentiable,
    )


TAKE = [
    _take_sample("embedding of sentences", Input((6, 3)), _indices((None, 4), 0, 6)),
    _take_sample("rows by bytes", Input((5, 2)), _indices((None,), 0, 5, "uint8")),
    _take_sample("rows that repeat", Input((2, 3)), _indices((7,), 0, 2, "int32")),
    _take_sample("negative indices", Input((4, 2)), _indices((None, 3), -4, 4)),
    _take_sample("columns of a batch", Input((None, 5)), _indices((3,), 0, 5), axis=1),
    _take_sample("a middle axis by a matrix", Input((None, 4, 2)), _indices((2, 3), -4, 4, "int32"), axis=-2),
    _take_sample("one position", Input((None, 4)), _indices((), 0, 4), axis=1),
    _take_sample("elements of a vector", Input((5,)), _indices((None,), 0, 5), axis=-1),
    _take_sample("examples of the batch", Input((None, 3)), _indices((4,), -1, 1, "int32")),
    _take_sample("an example for each example", Input((None, 3)), _indices((None,), -1, 1)),
    _take_sample("no indices", Input((4, 2)), _indices((0,), 0, 4)),
    _take_sample("integers", Input((4, 2), "int32"), _indices((None,), 0, 4)),
    _take_sample("bool", Input((4,), "bool"), _indices((None,), 0, 4)),
    OpSample(
        "take, positions known beforehand",
        Take,
        (Input((None, 4)),),
        lambda x: take(x, [3, 0, -1, 3], axis=1),
        lambda x: np.stack([x[:, 3], x[:, 0], x[:, 3], x[:, 3]], axis=1),
        lambda x: x[:, [3, 0, -1, 3]],
    ),
    OpSample(
        "take, one position known beforehand",
        Take,
        (Input((None, 4)),),
        lambda x: take(x, 0),
        lambda x: np.array(list(x[0]), x.dtype),
        lambda x: x[0],
    ),
]

# TakeGradient.


def _added(dy: np.ndarray, indices: np.ndarray, axis: int, shape: tuple[int, ...]) -> np.ndarray:
    result = np.zeros(shape)
    for place in np.ndindex(*dy.shape):
        before, among, after = place[:axis], place[axis : axis + indices.ndim], place[axis + indices.ndim :]
        result[(*before, int(indices[among]), *after)] += float(dy[place])
    return result.astype(dy.dtype)


TAKE_GRADIENT = [
    OpSample(
        "take_gradient, rows",
        TakeGradient,
        (Input((None, 3)), _indices((None,), -4, 4)),
        lambda dy, indices: apply(TakeGradient(0, (4, 3)), dy, indices),
        lambda dy, indices: _added(dy, indices, 0, (4, 3)),
        lambda dy, indices: dy.new_zeros((4, 3)).index_put((indices,), dy, accumulate=True),
    ),
    OpSample(
        "take_gradient, columns of a batch",
        TakeGradient,
        (Input((None, 2, 3)), _indices((2, 3), 0, 4, "int32")),
        lambda dy, indices: apply(TakeGradient(1, (dy.shape[0], 4)), dy, indices),
        lambda dy, indices: _added(dy, indices, 1, (len(dy), 4)),
    ),
    OpSample(
        "take_gradient, examples of the batch",
        TakeGradient,
        (Input((5, 2)), _indices((5,), -1, 1), Input((None, 2))),
        lambda dy, indices, x: apply(TakeGradient(0, x.shape), dy, indices) * x,
        lambda dy, indices, x: _added(dy, indices, 0, x.shape) * x,
    ),
]

# OneHot.


def _vectors(indices: np.ndarray, depth: int, dtype: Any = np.float32) -> np.ndarray:
    result = np.zeros((*indices.shape, depth), dtype)
    for place in np.ndindex(*indices.shape):
        for position in range(depth):
            if indices[place] == position:
                result[(*place, position)] = 1
    return result


def _one_hot_sample(name: str, given: Input, depth: int, dtype: str = "float32", torch: bool = True) -> OpSample:
    def in_torch(indices: Any) -> object:
        import torch

        return torch.nn.functional.one_hot(indices.long(), depth).to(getattr(torch, dtype))

    return OpSample(
        f"one_hot, {name}",
        OneHot,
        (given,),
        lambda indices: one_hot(indices, depth, dtype),
        lambda indices: _vectors(indices, depth, dtype),
        in_torch if torch else None,
        gradient=False,
        second_gradient=False,
    )


ONE_HOT = [
    _one_hot_sample("labels", _indices((None,), 0, 4, "int32"), 4),
    _one_hot_sample("labels as bytes", _indices((None,), 0, 10, "uint8"), 10),
    _one_hot_sample("more classes than a byte counts", _indices((None,), 0, 256, "uint8"), 300),
    _one_hot_sample("words of sentences", _indices((None, 3), 0, 5), 5),
    _one_hot_sample("one index", _indices((), 0, 3), 3),
    _one_hot_sample("indices outside", _indices((None, 8), -3, 6), 3, torch=False),
    _one_hot_sample("one class", _indices((None, 4), 0, 2), 1, torch=False),
    _one_hot_sample("as integers", _indices((None,), 0, 3), 3, "int64"),
    _one_hot_sample("as bool", _indices((None,), 0, 3), 3, "bool"),
    _one_hot_sample("as double", _indices((None,), 0, 3), 3, "float64"),
]

SAMPLES = [*TAKE, *TAKE_GRADIENT, *ONE_HOT]
