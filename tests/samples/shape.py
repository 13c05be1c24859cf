"""Samples of the ops that give the same elements another shape; those that cut and join are in samples/slicing.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphnn.ops import Node
from graphnn.ops.shape import (
    BroadcastTo,
    Reshape,
    Transpose,
    broadcast_to,
    expand_dims,
    flatten,
    reshape,
    squeeze,
    transpose,
)
from op_samples import Input, OpSample

# Reshape.


def _in_row_major_order(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    result = np.empty(shape, x.dtype)
    for new, old in zip(np.ndindex(shape), np.ndindex(x.shape), strict=True):
        result[new] = x[old]
    return result


def _reshape_sample(
    name: str, given: Input, build: Callable[[Node], Node], shape: Callable[[int], tuple[int, ...]]
) -> OpSample:
    """A sample whose result has the given shape at batch size n."""
    return OpSample(
        f"reshape, {name}",
        Reshape,
        (given,),
        build,
        lambda x: _in_row_major_order(x, shape(len(x) if x.ndim else 1)),
        lambda x: x.reshape(shape(len(x) if x.ndim else 1)),
    )


RESHAPE = [
    _reshape_sample(
        "images to rows, size inferred", Input((None, 2, 3, 3)), lambda x: reshape(x, (-1, 18)), lambda n: (n, 18)
    ),
    _reshape_sample("images to rows", Input((None, 2, 3, 3)), lambda x: reshape(x, (None, 18)), lambda n: (n, 18)),
    _reshape_sample("rows to images", Input((None, 18)), lambda x: x.reshape(None, 2, 3, 3), lambda n: (n, 2, 3, 3)),
    _reshape_sample(
        "one axis inferred beside the batch",
        Input((None, 4, 6)),
        lambda x: x.reshape((None, 3, -1)),
        lambda n: (n, 3, 8),
    ),
    _reshape_sample(
        "tokens joined with the batch", Input((None, 4, 5)), lambda x: reshape(x, (-1, 5)), lambda n: (4 * n, 5)
    ),
    _reshape_sample("all in one axis", Input((None, 2, 3)), lambda x: reshape(x, -1), lambda n: (6 * n,)),
    _reshape_sample(
        "the batch taken apart again",
        Input((None, 2, 3)),
        lambda x: reshape(reshape(x, -1), (x.shape[0], -1)),
        lambda n: (n, 6),
    ),
    _reshape_sample(
        "the batch behind another axis", Input((None, 4)), lambda x: reshape(x, (2, -1, 2)), lambda n: (2, n, 2)
    ),
    _reshape_sample("static sizes", Input((2, 3, 4)), lambda x: reshape(x, (4, -1)), lambda n: (4, 6)),
    _reshape_sample("a scalar", Input(()), lambda x: reshape(x, (1, 1)), lambda n: (1, 1)),
    _reshape_sample("to a scalar", Input((1, 1)), lambda x: reshape(x, ()), lambda n: ()),
    _reshape_sample("no elements", Input((None, 0, 4)), lambda x: reshape(x, (-1, 3)), lambda n: (0, 3)),
    _reshape_sample("flatten all but the batch", Input((None, 2, 3)), lambda x: flatten(x, 1), lambda n: (n, 6)),
    _reshape_sample("flatten with the batch", Input((None, 2, 3)), lambda x: flatten(x, 0, -2), lambda n: (2 * n, 3)),
    _reshape_sample("flatten a scalar", Input(()), flatten, lambda n: (1,)),
    _reshape_sample("squeeze all axes", Input((None, 1, 3, 1)), squeeze, lambda n: (n, 3)),
    _reshape_sample("squeeze one axis", Input((None, 1, 3, 1)), lambda x: squeeze(x, -1), lambda n: (n, 1, 3)),
    _reshape_sample(
        "expand_dims, two axes", Input((None, 3)), lambda x: expand_dims(x, (1, -1)), lambda n: (n, 1, 3, 1)
    ),
    _reshape_sample("expand_dims, first axis", Input((None, 3)), lambda x: expand_dims(x, 0), lambda n: (1, n, 3)),
]

RESHAPE_INTEGERS = OpSample(
    "reshape, integers",
    Reshape,
    (Input((None, 4), "uint8"),),
    lambda x: reshape(x, (-1, 2, 2)),
    lambda x: _in_row_major_order(x, (len(x), 2, 2)),
    lambda x: x.reshape(-1, 2, 2),
    gradient=False,
    second_gradient=False,
)

# Transpose.


def _with_axes(x: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    result = np.empty([x.shape[axis] for axis in axes], x.dtype)
    for place in np.ndindex(x.shape):
        result[tuple(place[axis] for axis in axes)] = x[place]
    return result


def _transpose_sample(name: str, given: Input, axes: Sequence[int], build: Callable[[Node], Node]) -> OpSample:
    """A sample whose result has the axes in the given order."""
    differentiable = given.dtype == "float32"
    return OpSample(
        f"transpose, {name}",
        Transpose,
        (given,),
        build,
        lambda x: _with_axes(x, axes),
        lambda x: x.permute(*axes),
        gradient=differentiable,
        second_gradient=differentiable,
    )


TRANSPOSE = [
    _transpose_sample("channels last", Input((None, 2, 3, 4)), (0, 2, 3, 1), lambda x: transpose(x, (0, 2, 3, 1))),
    _transpose_sample("a matrix of a batch", Input((None, 3)), (1, 0), lambda x: x.T),
    _transpose_sample("reversed", Input((None, 2, 3)), (2, 1, 0), transpose),
    _transpose_sample("a cycle", Input((2, 3, 4)), (2, 0, 1), lambda x: x.transpose(2, 0, 1)),
    _transpose_sample("negative axes", Input((None, 2, 3)), (0, 2, 1), lambda x: transpose(x, (0, -1, -2))),
    _transpose_sample("five axes", Input((None, 2, 1, 3, 2)), (3, 0, 4, 1, 2), lambda x: transpose(x, (3, 0, 4, 1, 2))),
    _transpose_sample("axes of size 1", Input((None, 1, 4)), (0, 2, 1), lambda x: transpose(x, (0, 2, 1))),
    _transpose_sample("integers", Input((None, 5), "int32"), (1, 0), transpose),
    _transpose_sample("bool", Input((2, 3), "bool"), (1, 0), transpose),
]

# BroadcastTo.


def _repeated(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    result = np.empty(shape, x.dtype)
    for place in np.ndindex(shape):
        behind = place[len(shape) - x.ndim :]
        result[place] = x[tuple(0 if size == 1 else index for index, size in zip(behind, x.shape, strict=True))]
    return result


def _broadcast_sample(name: str, given: Input, shape: tuple[int | None, ...]) -> OpSample:
    """A sample whose input, where the shape has a batch axis, has it as well."""
    differentiable = given.dtype == "float32"

    def bound(x: Any) -> tuple[int, ...]:
        return tuple(len(x) if size is None else size for size in shape)

    return OpSample(
        f"broadcast_to, {name}",
        BroadcastTo,
        (given,),
        lambda x: broadcast_to(x, shape),
        lambda x: _repeated(x, bound(x)),
        lambda x: x.broadcast_to(bound(x)),
        gradient=differentiable,
        second_gradient=differentiable,
    )


BROADCAST_TO = [
    _broadcast_sample("an axis of size 1", Input((None, 1)), (None, 4)),
    _broadcast_sample("two axes of size 1", Input((1, 3, 1)), (2, 3, 4)),
    _broadcast_sample("new axes", Input((3,)), (2, 4, 3)),
    _broadcast_sample("a scalar", Input(()), (2, 3)),
    _broadcast_sample("to no elements", Input((1, 3)), (0, 3)),
    _broadcast_sample("integers", Input((None, 1, 2), "int64"), (None, 3, 2)),
    OpSample(
        "broadcast_to, a row along the batch",
        BroadcastTo,
        (Input((4,)), Input((None, 4))),
        lambda row, x: broadcast_to(row, x.shape) * x,
        lambda row, x: np.stack([row * example for example in x]),
        lambda row, x: row.broadcast_to(x.shape) * x,
    ),
    OpSample(
        "broadcast_to, the batch behind a new axis",
        BroadcastTo,
        (Input((None, 2)),),
        lambda x: broadcast_to(x, (3, *x.shape)),
        lambda x: np.stack([x, x, x]),
        lambda x: x.broadcast_to((3, *x.shape)),
    ),
]

SAMPLES = [*RESHAPE, RESHAPE_INTEGERS, *TRANSPOSE, *BROADCAST_TO]
