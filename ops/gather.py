"""Ops that pick and add element by element: each index stands for one element, not for a whole entry of an axis.

Both are linear in what they move, so the gradient of each is made of the other, to any order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphnn.ops import dtypes
from graphnn.ops.broadcasting import Gradient, Value, promoted, require_one_dtype
from graphnn.ops.context import apply
from graphnn.ops.errors import DTypeError, ShapeError
from graphnn.ops.index import as_indices, index_range, require_integers
from graphnn.ops.matmul import widened
from graphnn.ops.node import Node
from graphnn.ops.op import Op
from graphnn.ops.shape import broadcast_to, located, normalize_axis
from graphnn.ops.spec import Dim, Extent, Shape, TensorSpec, format_shape
from graphnn.ops.state import ArrayLike, constant


@dataclass(frozen=True)
class Gather(Op):
    """The element at each index along an axis, in the place of the index (PyTorch gather, ONNX GatherElements)."""

    axis: int
    input_names: ClassVar[tuple[str, ...]] = ("x", "index")

    def infer(self, x: TensorSpec, index: TensorSpec) -> TensorSpec:
        require_integers(index)
        _require_inside(index.shape, x.shape, self.axis)
        return x.with_shape(index.shape)

    def gradient(self, node: Node, dy: Node) -> Gradient:
        x, index = node.inputs
        with dy.graph:
            zeros = broadcast_to(constant(0, dy.dtype), x.shape)
        return apply(ScatterAdd(self.axis), zeros, index, dy), None

    def evaluate(self, out: TensorSpec, x: np.ndarray, index: np.ndarray) -> np.ndarray:
        reached = (slice(None) if axis == self.axis else slice(size) for axis, size in enumerate(index.shape))
        return np.take_along_axis(x[tuple(reached)], index, self.axis)

    def index_bounds(self, x: TensorSpec, index: TensorSpec) -> Mapping[int, tuple[Extent, Extent]]:
        return {1: index_range(x.shape[self.axis])}


@dataclass(frozen=True)
class ScatterAdd(Op):
    """The first input with each element of the third added at its index along an axis (PyTorch scatter_add)."""

    axis: int
    input_names: ClassVar[tuple[str, ...]] = ("x", "index", "src")

    def infer(self, x: TensorSpec, index: TensorSpec, src: TensorSpec) -> TensorSpec:
        require_integers(index)
        if require_one_dtype(x, src) is dtypes.bool:
            raise DTypeError(
                "bool values can't be added up",
                expected="an integer or floating type",
                hint="convert them with .astype('int32')",
            )
        _require_inside(index.shape, x.shape, self.axis)
        if src.shape != index.shape:
            raise ShapeError(
                "src does not have an element for each index",
                expected=f"src {format_shape(index.shape)}",
                hint="src.broadcast_to(index.shape) repeats it, a slice of it makes it smaller",
            )
        return x

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return dy, None, apply(Gather(self.axis), dy, node.inputs[1])

    def evaluate(self, out: TensorSpec, x: np.ndarray, index: np.ndarray, src: np.ndarray) -> np.ndarray:
        total = widened(x).copy()
        places: list[np.ndarray] = list(np.indices(index.shape, sparse=True))
        places[self.axis] = index
        np.add.at(total, tuple(places), src)
        return total.astype(out.dtype.interface, copy=False)

    def flops(self, out: TensorSpec, *inputs: TensorSpec) -> int:
        return inputs[2].elements(1)

    def index_bounds(self, *inputs: TensorSpec) -> Mapping[int, tuple[Extent, Extent]]:
        return {1: index_range(inputs[0].shape[self.axis])}


def _require_inside(index: Shape, x: Shape, axis: int) -> None:
    """Raise a ShapeError where the indices have more axes or places than x beside the axis that they pick from."""
    others = [(i, size) for place, (i, size) in enumerate(zip(index, x, strict=False)) if place != axis]
    if len(index) != len(x) or not all(_at_most(i, size) for i, size in others):
        raise ShapeError(
            f"indices {format_shape(index)} do not fit x {format_shape(x)} along axis {axis}",
            expected="as many axes, and on each other axis no more indices than x has places",
            hint="ops.take(x, indices, axis) picks whole entries of an axis by indices of any shape",
        )


def _at_most(part: Extent, whole: Extent) -> bool:
    if isinstance(part, Dim) or isinstance(whole, Dim):
        return isinstance(part, Dim) and isinstance(whole, Dim) and part.multiple <= whole.multiple
    return part <= whole


# The functions that users call.


def gather(x: Node, axis: int, index: Node | ArrayLike) -> Node:
    """Pick an element for each index along an axis.

    For ``axis=1``: ``y[i, j, k] = x[i, index[i, j, k], k]``.

    Parameters
    ----------
    x : Node
        Of any shape but a scalar's. The axis may be the batch.
    axis : int
        Negative ones are counted from the last.
    index : Node or array_like
        Integers from -size to size - 1; negative ones count from the end. As many axes as `x`, and no more places
        than it has on the other ones.

    Returns
    -------
    Node
        Of the shape of `index`.

    Raises
    ------
    ShapeError
        If the axis does not exist, the index does not fit, or is known by now and outside of the axis.
    DTypeError
        If the indices are no integers.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     y = gn.ops.gather(gn.constant([[1.0, 2.0], [3.0, 4.0]]), 1, [[0, 0], [1, 0]])
    >>> gn.Executor(y, device="numpy").run()
    array([[1., 1.],
           [4., 3.]], dtype=float32)
    """
    with located("gather", x):
        position = normalize_axis(axis, x.rank)
    return apply(Gather(position), x, as_indices("gather", x, position, index))


def scatter_add(x: Node, axis: int, index: Node | ArrayLike, src: Value) -> Node:
    """Add each element of `src` to `x` at its index along an axis; where indices repeat, all are added.

    For ``axis=1``: ``y = x``, then ``y[i, index[i, j, k], k] += src[i, j, k]``. Sums of float16 and bfloat16 are kept
    in float32.

    Parameters
    ----------
    x : Node
        Of any shape but a scalar's. The axis may be the batch.
    axis, index
        As in `gather`.
    src : Node or array
        Of the shape of `index`. Element types are promoted.

    Returns
    -------
    Node
        Of the shape of `x`.

    Raises
    ------
    ShapeError
        As in `gather`, or if `src` and `index` differ in shape.
    DTypeError
        If the indices are no integers or the values are bool.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     zeros = gn.constant([[0.0, 0.0, 0.0]])
    ...     y = gn.ops.scatter_add(zeros, 1, [[0, 2, 0]], [[1.0, 2.0, 3.0]])
    >>> gn.Executor(y, device="numpy").run()
    array([[4., 0., 2.]], dtype=float32)
    """
    x, src = promoted("scatter_add", x, src)
    with located("scatter_add", x):
        position = normalize_axis(axis, x.rank)
    return apply(ScatterAdd(position), x, as_indices("scatter_add", x, position, index), src)
