"""Ops that make one value out of many along axes: sum, mean, largest, smallest, and how many there are."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from graphnn.ops import dtypes
from graphnn.ops.broadcasting import Gradient, broadcast_shapes, cast, require_floating
from graphnn.ops.comparison import equal
from graphnn.ops.context import apply
from graphnn.ops.elementwise import divide, maximum
from graphnn.ops.errors import ShapeError
from graphnn.ops.node import Axes, Node, node_method
from graphnn.ops.op import Op
from graphnn.ops.shape import broadcast_to, located, normalize_axes, normalize_axis, reshape
from graphnn.ops.spec import Extent, Shape, TensorSpec, as_shape, format_shape
from graphnn.ops.state import constant


def reduced_shape(shape: Shape, axes: Iterable[int], keepdims: bool) -> Shape:
    """Return a shape without some axes, or with size 1 there.

    Examples
    --------
    >>> reduced_shape((2, 3, 4), (0, 2), keepdims=False), reduced_shape((2, 3, 4), (0, 2), keepdims=True)
    ((3,), (1, 3, 1))
    """
    dropped = set(axes)
    return tuple(1 if axis in dropped else e for axis, e in enumerate(shape) if keepdims or axis not in dropped)


@dataclass(frozen=True)
class Reduction(Op):
    """Base of the ops that reduce axes, which are ascending, and drop them or leave size 1 (`keepdims`)."""

    axes: tuple[int, ...]
    keepdims: bool

    def infer(self, x: TensorSpec) -> TensorSpec:
        return x.with_shape(reduced_shape(x.shape, self.axes, self.keepdims))

    def flops(self, out: TensorSpec, x: TensorSpec) -> int:
        return x.elements(1)

    def kept(self, value: Node, x: Node) -> Node:
        """Return a value of the result's shape with size 1 on the reduced axes, so that it broadcasts to `x`."""
        return reshape(value, reduced_shape(x.shape, self.axes, keepdims=True))


@dataclass(frozen=True)
class Sum(Reduction):
    """Sum over axes (ONNX ReduceSum): of integers and bool as int64, of 16-bit floats accumulated in float32."""

    def infer(self, x: TensorSpec) -> TensorSpec:
        return super().infer(x).with_dtype(_sum_dtype(x.dtype))

    def gradient(self, node: Node, dy: Node) -> Gradient:
        x = node.inputs[0]
        return (broadcast_to(self.kept(dy, x), x.shape),)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        accumulator = np.float32 if x.dtype == np.float16 else out.dtype.interface
        return np.asarray(np.sum(x, self.axes, accumulator, keepdims=self.keepdims))


def _sum_dtype(dtype: dtypes.DType) -> dtypes.DType:
    return dtype if dtype.is_floating else dtypes.int64


@dataclass(frozen=True)
class Extremum(Reduction):
    """Base of the largest and the smallest value. Equal ones share the gradient equally."""

    def infer(self, x: TensorSpec) -> TensorSpec:
        _require_elements(self.label, x.shape, self.axes)
        return super().infer(x)

    def gradient(self, node: Node, dy: Node) -> Gradient:
        x = node.inputs[0]
        winners = cast(equal(x, self.kept(node, x)), dy.dtype)
        return (winners * self.kept(dy, x) / sum(winners, self.axes, keepdims=True),)


@dataclass(frozen=True)
class Max(Extremum):
    """Largest value over axes (ONNX ReduceMax); NaN if one of them is."""

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return np.max(x, self.axes, keepdims=self.keepdims)


@dataclass(frozen=True)
class Min(Extremum):
    """Smallest value over axes (ONNX ReduceMin); NaN if one of them is."""

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return np.min(x, self.axes, keepdims=self.keepdims)


@dataclass(frozen=True)
class Argmax(Op):
    """Position of the largest value along an axis as int64, of the first among equals (ONNX ArgMax); NaN is largest."""

    axis: int
    keepdims: bool

    def infer(self, x: TensorSpec) -> TensorSpec:
        _require_elements(self.label, x.shape, (self.axis,))
        return TensorSpec(reduced_shape(x.shape, (self.axis,), self.keepdims), dtypes.int64)

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return (None,)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return np.argmax(x, self.axis, keepdims=self.keepdims)

    def flops(self, out: TensorSpec, x: TensorSpec) -> int:
        return x.elements(1)


@dataclass(frozen=True)
class Size(Op):
    """Product of the input's sizes along axes in this run, as an int64 scalar (ONNX Size, of some axes)."""

    axes: tuple[int, ...]

    def infer(self, x: TensorSpec) -> TensorSpec:
        return TensorSpec((), dtypes.int64)

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return (None,)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return np.array(math.prod(x.shape[axis] for axis in self.axes), np.int64)


def _require_elements(label: str, shape: Shape, axes: Iterable[int]) -> None:
    if any(shape[axis] == 0 for axis in axes):
        raise ShapeError(f"there is no {label} of nothing", expected="an axis of size 1 or more")


# The functions that users call.


def _reduce(kind: Callable[[tuple[int, ...], bool], Reduction], x: Node, axes: Axes, keepdims: bool) -> Node:
    op = kind((), keepdims)
    with located(op.label, x):
        reduced = normalize_axes(axes, x.rank)
    return apply(kind(reduced, keepdims), x) if reduced else x


@node_method
def sum(x: Node, axes: Axes = None, keepdims: bool = False) -> Node:  # noqa: A001 - NumPy's and PyTorch's name
    """Sum over axes: ``y = Σ x``.

    Parameters
    ----------
    x : Node
        Of any shape. Sums of integers and bool are int64; sums of float16 and bfloat16 are accumulated in float32.
    axes : int or iterable of int, optional
        The axes to sum over, negative ones counted from the last; None means all, an empty tuple none.
    keepdims : bool
        Whether the axes stay, with size 1.

    Raises
    ------
    ShapeError
        If an axis does not exist or occurs twice.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     x = gn.placeholder("x", (None, 3, 4))
    ...     gn.ops.sum(x, (0, -1)), gn.ops.sum(x, 1, keepdims=True)
    (<sum 'sum': float32 (3,)>, <sum 'sum_1': float32 (N, 1, 4)>)
    """
    return cast(_reduce(Sum, x, axes, keepdims), _sum_dtype(x.dtype))


@node_method
def max(x: Node, axes: Axes = None, keepdims: bool = False) -> Node:  # noqa: A001 - NumPy's and PyTorch's name
    """Largest value over axes; NaN if one of the values is. Equal values share the gradient equally.

    Parameters
    ----------
    x, axes, keepdims
        As in `sum`.

    Raises
    ------
    ShapeError
        If an axis does not exist, occurs twice or has size 0.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     gn.ops.max(gn.placeholder("x", (None, 3)), axes=1)
    <max 'max': float32 (N,)>
    """
    return _reduce(Max, x, axes, keepdims)


@node_method
def min(x: Node, axes: Axes = None, keepdims: bool = False) -> Node:  # noqa: A001 - NumPy's and PyTorch's name
    """Smallest value over axes; as `max` in all else.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     gn.ops.min(gn.placeholder("x", (None, 3)), axes=1)
    <min 'min': float32 (N,)>
    """
    return _reduce(Min, x, axes, keepdims)


@node_method
def argmax(x: Node, axis: int = -1, keepdims: bool = False) -> Node:
    """Position of the largest value along an axis, as int64: the first among equals; NaN counts as the largest.

    Parameters
    ----------
    x : Node
        Of any shape but a scalar's.
    axis : int
        Negative ones are counted from the last.
    keepdims : bool
        Whether the axis stays, with size 1.

    Raises
    ------
    ShapeError
        If the axis does not exist or has size 0.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     gn.ops.argmax(gn.placeholder("logits", (None, 10)))
    <argmax 'argmax': int64 (N,)>
    """
    with located("argmax", x):
        position = normalize_axis(axis, x.rank)
    return apply(Argmax(position, keepdims), x)


def size(x: Node, axes: Axes = None) -> Node:
    """Return the number of elements along axes in the run, as an int64 scalar: the batch size where ``axes=0``.

    It is a constant unless the batch takes part.

    Parameters
    ----------
    x : Node
        Of any shape.
    axes : int or iterable of int, optional
        The axes whose sizes are multiplied; None means all.

    Raises
    ------
    ShapeError
        If an axis does not exist or occurs twice.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     x = gn.placeholder("x", (None, 28, 28))
    ...     gn.ops.size(x, 0), gn.ops.size(x, (1, 2))
    (<size 'size': int64 ()>, <constant 'constant': int64 ()>)
    """
    with located("size", x):
        count = _count(x, normalize_axes(axes, x.rank))
    if isinstance(count, Node):
        return count
    with x.graph:
        return constant(count, dtypes.int64)


def _count(x: Node, axes: tuple[int, ...]) -> Node | int:
    """Return the number of elements along axes, as a node if it depends on the batch."""
    counted = x.spec.with_shape(x.shape[axis] for axis in axes)
    return apply(Size(axes), x) if counted.has_batch else counted.elements(batch=0)


@node_method
def mean(x: Node, axes: Axes = None, keepdims: bool = False) -> Node:
    """Arithmetic mean over axes: ``y = Σ x / n``, with n the number of elements in the run.

    Parameters
    ----------
    x : Node
        Of a floating type and any shape. Means of float16 and bfloat16 are computed in float32.
    axes, keepdims
        As in `sum`.

    Raises
    ------
    ShapeError, DTypeError
        If an axis does not exist or occurs twice, or `x` is not of a floating type.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     gn.ops.mean(gn.placeholder("x", (None, 3)), axes=1).shape
    (N,)
    """
    with located("mean", x):
        reduced = normalize_axes(axes, x.rank)
        wide = widened(x)
        if not reduced:
            return x
        return cast(divide(sum(wide, reduced, keepdims), _count(x, reduced)), x.dtype)


@node_method
def variance(x: Node, axes: Axes = None, keepdims: bool = False, correction: int = 0) -> Node:
    """Variance over axes: ``y = Σ (x - mean(x))² / (n - correction)``.

    Parameters
    ----------
    x, axes, keepdims
        As in `mean`, and so are the errors.
    correction : int
        1 gives the unbiased estimate from a sample. A divisor below 0 counts as 0.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     gn.ops.variance(gn.placeholder("x", (None, 8)), axes=0, keepdims=True).shape
    (1, 8)
    """
    with located("variance", x):
        reduced = normalize_axes(axes, x.rank)
        wide = widened(x)
        deviation = wide - mean(wide, reduced, keepdims=True)
        count = _count(x, reduced)
        if correction:
            rest = count - correction
            count = maximum(rest, 0) if isinstance(rest, Node) else builtins.max(rest, 0)
        return cast(divide(sum(deviation * deviation, reduced, keepdims), count), x.dtype)


def widened(x: Node) -> Node:
    """Return `x` in a type in which counts and sums of many values are exact enough, or raise a DTypeError."""
    require_floating(x.spec)
    return cast(x, dtypes.float32) if x.dtype.itemsize == 2 else x


@node_method
def sum_to_size(x: Node, shape: Iterable[Extent | None]) -> Node:
    """Sum over the axes along which broadcasting from `shape` to the shape of `x` repeats: the gradient of that.

    Parameters
    ----------
    x : Node
        Of any shape.
    shape : iterable of int, Dim or None
        The result's shape, one that broadcasts to that of `x`; ``None`` may stand first and is the batch size N.
        Nothing is added if `x` has it already.

    Raises
    ------
    ShapeError
        If `shape` does not broadcast to the shape of `x`.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     x = gn.placeholder("x", (None, 3, 4))
    ...     gn.ops.sum_to_size(x, (3, 1)).shape
    (3, 1)
    """
    with located("sum_to_size", x):
        target = as_shape(shape)
        if len(target) > x.rank or broadcast_shapes(target, x.shape) != x.shape:
            raise ShapeError(
                f"{format_shape(x.shape)} is no broadcast of {format_shape(target)}",
                expected="equal sizes, or 1 in the result, on each axis counted from the last",
            )
    new = x.rank - len(target)
    repeated = [axis for axis, e in enumerate(x.shape) if axis < new or (target[axis - new] == 1 and e != 1)]
    return reshape(sum(x, repeated, keepdims=new == 0), target)
