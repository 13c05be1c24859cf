"""Ops that pick by positions which are themselves values: take, its gradient, and one-hot vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from graphnn.ops.broadcasting import Gradient
from graphnn.ops.context import apply
from graphnn.ops.dtypes import DType, DTypeLike, as_dtype
from graphnn.ops.errors import DTypeError, ShapeError
from graphnn.ops.node import Node
from graphnn.ops.op import Op
from graphnn.ops.shape import located, normalize_axis
from graphnn.ops.spec import Dim, Extent, Shape, TensorSpec, format_shape
from graphnn.ops.state import ArrayLike, Constant, constant


@dataclass(frozen=True)
class Take(Op):
    """The entries of an axis at the positions in the second input, negative ones counted from the end (ONNX Gather)."""

    axis: int
    input_names: ClassVar[tuple[str, ...]] = ("x", "indices")

    def infer(self, x: TensorSpec, indices: TensorSpec) -> TensorSpec:
        require_integers(indices)
        return x.with_shape(_taken_shape(x.shape, self.axis, indices.shape))

    def gradient(self, node: Node, dy: Node) -> Gradient:
        x, indices = node.inputs
        return apply(TakeGradient(self.axis, x.shape), dy, indices), None

    def evaluate(self, out: TensorSpec, x: np.ndarray, indices: np.ndarray) -> np.ndarray:
        return np.take(x, indices, self.axis, mode="raise")

    def index_bounds(self, x: TensorSpec, indices: TensorSpec) -> Mapping[int, tuple[Extent, Extent]]:
        return {1: index_range(x.shape[self.axis])}


@dataclass(frozen=True)
class TakeGradient(Op):
    """Zeros of the given shape, to which each entry of the first input is added at its position along an axis."""

    axis: int
    shape: Shape
    input_names: ClassVar[tuple[str, ...]] = ("dy", "indices")

    def infer(self, dy: TensorSpec, indices: TensorSpec) -> TensorSpec:
        require_integers(indices)
        expected = _taken_shape(self.shape, self.axis, indices.shape)
        if dy.shape != expected:
            raise ShapeError("the gradient does not fit the indices", expected=format_shape(expected))
        return dy.with_shape(self.shape)

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return take(dy, node.inputs[1], self.axis), None

    def evaluate(self, out: TensorSpec, dy: np.ndarray, indices: np.ndarray) -> np.ndarray:
        dx = np.zeros(out.static_shape, np.float32 if dy.dtype == np.float16 else dy.dtype)
        where: tuple[Any, ...] = (*[slice(None)] * self.axis, indices)
        np.add.at(dx, where, dy)
        return dx

    def flops(self, out: TensorSpec, dy: TensorSpec, indices: TensorSpec) -> int:
        return dy.elements(1)

    def index_bounds(self, dy: TensorSpec, indices: TensorSpec) -> Mapping[int, tuple[Extent, Extent]]:
        return {1: index_range(self.shape[self.axis])}


@dataclass(frozen=True)
class OneHot(Op):
    """1 at the position that each index names along a new last axis, 0 elsewhere (ONNX OneHot)."""

    depth: int
    dtype: DType

    def infer(self, indices: TensorSpec) -> TensorSpec:
        require_integers(indices)
        return TensorSpec((*indices.shape, self.depth), self.dtype)

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return (None,)

    def evaluate(self, out: TensorSpec, indices: np.ndarray) -> np.ndarray:
        return np.equal(indices[..., np.newaxis], np.arange(self.depth)).astype(out.dtype.interface)


def require_integers(indices: TensorSpec) -> None:
    """Raise a DTypeError unless indices are integers."""
    if indices.dtype.kind != "integer":
        raise DTypeError(
            "the indices are no integers", expected="uint8, int32 or int64", hint="convert them with .astype('int64')"
        )


def _taken_shape(shape: Shape, axis: int, indices: Shape) -> Shape:
    return (*shape[:axis], *indices, *shape[axis + 1 :])


def index_range(size: Extent) -> tuple[Extent, Extent]:
    """Return the legal indices of an axis, half-open: negative ones count from the end."""
    return size * -1, size


# The functions that users call.


def take(x: Node, indices: Node | ArrayLike, axis: int = 0) -> Node:
    """Pick the entries of an axis at given positions, such as the rows of an embedding table.

    For ``axis=1``: ``y[i, j…, k…] = x[i, indices[j…], k…]``.

    Parameters
    ----------
    x : Node
        Of any shape but a scalar's. The axis may be the batch.
    indices : Node, array_like or int
        Integers of any shape from -size to size - 1; negative ones count from the end.
    axis : int
        Negative ones are counted from the last.

    Returns
    -------
    Node
        Of shape ``x.shape[:axis] + indices.shape + x.shape[axis + 1:]``.

    Raises
    ------
    ShapeError
        If the axis does not exist, or an index known by now is outside of it.
    DTypeError
        If the indices are no integers.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     words = gn.placeholder("words", (None, 20), "int32")
    ...     embedding = gn.variable("embedding", np.zeros((1000, 64), np.float32))
    ...     gn.ops.take(embedding, words)
    <take 'take': float32 (N, 20, 64)>
    """
    with located("take", x):
        position = normalize_axis(axis, x.rank)
    return apply(Take(position), x, as_indices("take", x, position, indices))


def as_indices(label: str, x: Node, axis: int, indices: Node | ArrayLike) -> Node:
    """Return indices into an axis as a node; those known by now have to be inside."""
    with x.graph:
        chosen = indices if isinstance(indices, Node) else constant(indices)
    size = x.shape[axis]
    with located(label, x, chosen):
        if isinstance(chosen.op, Constant) and chosen.dtype.kind == "integer" and not isinstance(size, Dim):
            known = chosen.op.value
            outside = known[(known < -size) | (known >= size)]
            if outside.size:
                raise ShapeError(f"the index {outside[0]} is outside of an axis of size {size}")
    return chosen


def one_hot(indices: Node, depth: int, dtype: DTypeLike = "float32") -> Node:
    """Return vectors that are 1 at the position named by each index and 0 elsewhere, along a new last axis.

    Parameters
    ----------
    indices : Node
        Integers of any shape. One outside of 0 … depth - 1 gives zeros alone.
    depth : int
        The vectors' size.
    dtype : DType or str
        The result's element type.

    Returns
    -------
    Node
        Of shape ``(*indices.shape, depth)``.

    Raises
    ------
    DTypeError
        If the indices are no integers.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     labels = gn.placeholder("labels", (None,), "int32")
    ...     gn.ops.one_hot(labels, 10)
    <one_hot 'one_hot': float32 (N, 10)>
    """
    with located("one_hot", indices):
        return apply(OneHot(depth, as_dtype(dtype)), indices)
