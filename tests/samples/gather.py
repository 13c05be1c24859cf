"""Samples of the ops that pick and add element by element."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphnn.ops import gather, scatter_add
from graphnn.ops.gather import Gather, ScatterAdd
from op_samples import Input, OpSample


def _indices(shape: tuple[int | None, ...], low: int, high: int, dtype: str = "int64") -> Input:
    return Input(shape, dtype, lambda generator, size: generator.integers(low, high, size))


def _along(place: tuple[int, ...], axis: int, position: int) -> tuple[int, ...]:
    return (*place[:axis], position, *place[axis + 1 :])


def _picked(x: np.ndarray, axis: int, index: np.ndarray) -> np.ndarray:
    result = np.empty(index.shape, x.dtype)
    for place in np.ndindex(index.shape):
        result[place] = x[_along(place, axis, int(index[place]))]
    return result


def _added(x: np.ndarray, axis: int, index: np.ndarray, src: np.ndarray) -> np.ndarray:
    result = x.astype(np.float64 if x.dtype.kind == "f" else x.dtype)
    for place in np.ndindex(index.shape):
        result[_along(place, axis, int(index[place]))] += src[place]
    return result.astype(x.dtype)


def _positive(index: Any, size: int) -> Any:
    """Return indices for PyTorch, which takes no negative ones."""
    return index.long() % size


def _gather_sample(name: str, given: Input, index: Input, axis: int) -> OpSample:
    differentiable = given.dtype == "float32"
    place = axis % len(given.shape)
    return OpSample(
        f"gather, {name}",
        Gather,
        (given, index),
        lambda x, index: gather(x, axis, index),
        lambda x, index: _picked(x, place, index),
        lambda x, index: x.gather(axis, _positive(index, x.shape[axis])),
        gradient=differentiable,
        second_gradient=differentiable,
    )


GATHER = [
    _gather_sample("a number of each row", Input((None, 5)), _indices((None, 1), 0, 5), 1),
    _gather_sample("numbers that repeat", Input((None, 2)), _indices((None, 6), 0, 2, "int32"), -1),
    _gather_sample("negative indices", Input((None, 4, 2)), _indices((None, 3, 2), -4, 4), 1),
    _gather_sample("fewer places on other axes", Input((None, 4, 3)), _indices((None, 2, 5), 0, 3, "uint8"), 2),
    _gather_sample("one place of an axis of several", Input((4, 3)), _indices((2, 1), 0, 4), 0),
    _gather_sample("examples of the batch", Input((None, 3)), _indices((None, 3), -1, 1), 0),
    _gather_sample("two examples of the batch", Input((None, 3)), _indices((2, 3), -1, 1), 0),
    _gather_sample("a vector", Input((5,)), _indices((None,), 0, 5), 0),
    _gather_sample("no indices", Input((3, 2)), _indices((3, 0), 0, 2), 1),
    _gather_sample("integers", Input((None, 3), "int32"), _indices((None, 2), 0, 3), 1),
    _gather_sample("bool", Input((None, 3), "bool"), _indices((None, 2), 0, 3), 1),
    OpSample(
        "gather, indices known beforehand",
        Gather,
        (Input((2, 3)),),
        lambda x: gather(x, 1, [[2, -3], [0, 0]]),
        lambda x: np.array([[x[0, 2], x[0, 0]], [x[1, 0], x[1, 0]]]),
    ),
]


def _scatter_sample(name: str, given: Input, index: Input, src: Input, axis: int) -> OpSample:
    differentiable = given.dtype == "float32"
    place = axis % len(given.shape)
    return OpSample(
        f"scatter_add, {name}",
        ScatterAdd,
        (given, index, src),
        lambda x, index, src: scatter_add(x, axis, index, src),
        lambda x, index, src: _added(x, place, index, src),
        lambda x, index, src: x.scatter_add(axis, _positive(index, x.shape[axis]), src),
        gradient=differentiable,
        second_gradient=differentiable,
    )


SCATTER_ADD = [
    _scatter_sample("into rows", Input((None, 4)), _indices((None, 3), 0, 4), Input((None, 3)), 1),
    _scatter_sample("many into few", Input((None, 2)), _indices((None, 7), -2, 2, "int32"), Input((None, 7)), -1),
    _scatter_sample(
        "fewer places on other axes", Input((None, 3, 4)), _indices((None, 5, 2), 0, 3), Input((None, 5, 2)), 1
    ),
    _scatter_sample("into the batch", Input((None, 2)), _indices((3, 2), -1, 1), Input((3, 2)), 0),
    _scatter_sample("a batch into rows", Input((4, 2)), _indices((None, 2), 0, 4), Input((None, 2)), 0),
    _scatter_sample("a vector by bytes", Input((4,)), _indices((None,), 0, 4, "uint8"), Input((None,)), 0),
    _scatter_sample("nothing", Input((2, 3)), _indices((2, 0), 0, 3), Input((2, 0)), 1),
    _scatter_sample("integers", Input((None, 3), "int32"), _indices((None, 4), 0, 3), Input((None, 4), "int32"), 1),
    OpSample(
        "scatter_add, arrays into integers",
        ScatterAdd,
        (Input((3,), "int32"),),
        lambda x: scatter_add(x, 0, [0, 2, 0], np.array([0.5, 1.0, 2.0], np.float32)),
        lambda x: np.array([x[0] + 2.5, x[1], x[2] + 1], np.float32),
        gradient=False,
        second_gradient=False,
    ),
]

SAMPLES = [*GATHER, *SCATTER_ADD]
