"""Reductions, and ops that relate an element to all elements along an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from graphnn.compiler.targets.numpy.registry import Run, kernel
from graphnn.ops.dtypes import bool as bool_dtype
from graphnn.ops.dtypes import int64
from graphnn.ops.index import OneHot
from graphnn.ops.loss import CrossEntropy
from graphnn.ops.norm import LogSoftmax, Softmax
from graphnn.ops.op import Op
from graphnn.ops.reduce import Max, Min, Reduction, Size, Sum
from graphnn.ops.spec import TensorSpec

UFUNCS: dict[type[Op], np.ufunc] = {Sum: np.add, Max: np.maximum, Min: np.minimum}
"""The ufunc that each reduction repeats."""


@kernel(*UFUNCS)
def bind_reduction(op: Reduction, out: np.ndarray, inputs: Sequence[np.ndarray], _: Sequence[np.ndarray]) -> Run:
    """One call of the ufunc's reduction."""
    return partial(UFUNCS[type(op)].reduce, inputs[0], axis=op.axes, dtype=out.dtype, out=out, keepdims=op.keepdims)


@kernel(Size)
def bind_size(op: Size, out: np.ndarray, inputs: Sequence[np.ndarray], _: Sequence[np.ndarray]) -> Run:
    """A number that is known once the batch is."""
    return partial(out.fill, math.prod(inputs[0].shape[axis] for axis in op.axes))


def _per_row(op: Softmax | LogSoftmax, out: TensorSpec, _: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    axis = op.axis % out.rank
    return (out.with_shape(1 if place == axis else size for place, size in enumerate(out.shape)),)


@kernel(Softmax, workspaces=_per_row, in_place=(0,))
def bind_softmax(op: Softmax, out: np.ndarray, inputs: Sequence[np.ndarray], workspaces: Sequence[np.ndarray]) -> Run:
    """Exponentials below the maximum, divided by their sum."""
    (row,) = workspaces

    def run() -> None:
        np.maximum.reduce(inputs[0], axis=op.axis, out=row, keepdims=True, initial=-np.inf)
        np.subtract(inputs[0], row, out=out)
        np.exp(out, out=out)
        np.add.reduce(out, axis=op.axis, out=row, keepdims=True)
        np.divide(out, row, out=out)

    return run


def _row_and_copy(op: LogSoftmax, out: TensorSpec, inputs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    return (*_per_row(op, out, inputs), out)


@kernel(LogSoftmax, workspaces=_row_and_copy, in_place=(0,))
def bind_log_softmax(
    op: LogSoftmax, out: np.ndarray, inputs: Sequence[np.ndarray], workspaces: Sequence[np.ndarray]
) -> Run:
    """The distance to the maximum, less the logarithm of the sum of exponentials."""
    row, exponentials = workspaces

    def run() -> None:
        np.maximum.reduce(inputs[0], axis=op.axis, out=row, keepdims=True, initial=-np.inf)
        np.subtract(inputs[0], row, out=out)
        np.exp(out, out=exponentials)
        np.add.reduce(exponentials, axis=op.axis, out=row, keepdims=True)
        np.log(row, out=row)
        np.subtract(out, row, out=out)

    return run


def _cross_entropy_workspaces(_: CrossEntropy, out: TensorSpec, inputs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    logits, _labels = inputs
    return logits, out, out.with_dtype(int64)


@kernel(CrossEntropy, workspaces=_cross_entropy_workspaces, strided_output=False)
def bind_cross_entropy(
    _: CrossEntropy, out: np.ndarray, inputs: Sequence[np.ndarray], workspaces: Sequence[np.ndarray]
) -> Run:
    """``log(sum(exp(shifted))) - shifted[label]``, with the row's maximum shifted to 0."""
    logits, labels = inputs
    shifted, row, position = workspaces
    classes = logits.shape[-1]
    first = np.arange(0, logits.size, classes, dtype=np.int64).reshape(labels.shape)
    flat = shifted.reshape(-1)

    def run() -> None:
        np.maximum.reduce(logits, axis=-1, out=row)
        np.subtract(logits, row[..., None], out=shifted)
        np.copyto(position, labels)
        if position.size and (position.min() < 0 or position.max() >= classes):
            raise IndexError(f"a label is not among the {classes} classes")
        np.add(position, first, out=position)
        flat.take(position, out=row, mode="clip")
        np.exp(shifted, out=shifted)
        np.add.reduce(shifted, axis=-1, out=out)
        np.log(out, out=out)
        np.subtract(out, row, out=out)

    return run


def _hits(_: OneHot, out: TensorSpec, __: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    return (out.with_dtype(bool_dtype),)


@kernel(OneHot, workspaces=_hits)
def bind_one_hot(op: OneHot, out: np.ndarray, inputs: Sequence[np.ndarray], workspaces: Sequence[np.ndarray]) -> Run:
    """Each index compared with all positions."""
    indices = inputs[0][..., None]
    positions = np.arange(op.depth).astype(indices.dtype)
    (hits,) = workspaces
    if op.depth - 1 > np.iinfo(indices.dtype).max:  # positions that the indices can't name would wrap around
        positions = np.arange(op.depth)

    def run() -> None:
        np.equal(indices, positions, out=hits)
        np.copyto(out, hits)

    return run
