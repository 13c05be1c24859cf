"""Ops that give the same elements another shape: reshape, transpose, broadcast; and how axes are named.

The batch may be part of any size here: ``reshape(x, (-1, 784))`` of (N, 1, 28, 28) is (N, 784) for every N.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import ClassVar

import numpy as np

from graphnn.ops.broadcasting import Gradient, broadcast_shapes
from graphnn.ops.context import apply
from graphnn.ops.errors import GraphError, ShapeError
from graphnn.ops.graph import describe_inputs
from graphnn.ops.node import Axes, Node, node_method
from graphnn.ops.op import Op
from graphnn.ops.source import caller
from graphnn.ops.spec import Dim, Extent, Shape, TensorSpec, as_shape, bind_extent, format_shape, product


class located:  # noqa: N801 - reads as a word in `with located(...)`
    """Add to a GraphError raised inside what `Graph.add` would add: the function, its inputs, the user's line."""

    def __init__(self, label: str, *inputs: Node) -> None:
        self.label = label
        self.inputs = inputs

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, GraphError):
            error.locate(subject=self.label, actual=describe_inputs(Op(), self.inputs), where=str(caller()))


def normalize_axis(axis: int, rank: int) -> int:
    """Return an axis counted from the first one, or raise a ShapeError; negative axes count from the last.

    Examples
    --------
    >>> normalize_axis(-1, 4), normalize_axis(2, 4)
    (3, 2)
    """
    try:
        index = axis.__index__()
    except AttributeError:
        raise ShapeError(f"an axis is {axis!r}", expected="an integer") from None
    if not -rank <= index < rank:
        raise ShapeError(
            f"there is no axis {index}",
            expected=f"an axis from {-rank} to {rank - 1}" if rank else "no axis, since the value is a scalar",
        )
    return index % rank


def normalize_axes(axes: Axes, rank: int) -> tuple[int, ...]:
    """Return axes in ascending order, each counted from the first one; None means all.

    Examples
    --------
    >>> normalize_axes((-1, 1), 4), normalize_axes(None, 2), normalize_axes(0, 2)
    ((1, 3), (0, 1), (0,))
    """
    if axes is None:
        return tuple(range(rank))
    given = tuple(axes) if isinstance(axes, Iterable) else (axes,)
    found = sorted(normalize_axis(axis, rank) for axis in given)
    if len(set(found)) < len(found):
        raise ShapeError(f"an axis occurs twice in {given}", expected="each axis once")
    return tuple(found)


@dataclass(frozen=True)
class Reshape(Op):
    """The same elements in row-major order in another shape (ONNX Reshape)."""

    shape: Shape
    is_view: ClassVar[bool] = True

    def infer(self, x: TensorSpec) -> TensorSpec:
        if _elements(x.shape) != _elements(self.shape):
            raise _reshape_error(x.shape, self.shape)
        return x.with_shape(self.shape)

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return (reshape(dy, node.inputs[0].shape),)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return x.reshape(out.static_shape)


@dataclass(frozen=True)
class Transpose(Op):
    """The axes in another order: axis i of the result is axis ``axes[i]`` of the input (ONNX Transpose)."""

    axes: tuple[int, ...]
    is_view: ClassVar[bool] = True

    def infer(self, x: TensorSpec) -> TensorSpec:
        if sorted(self.axes) != list(range(x.rank)):
            raise ShapeError(
                f"the axes {self.axes} are no order of the input's axes", expected=f"each of 0 … {x.rank - 1} once"
            )
        return x.with_shape(x.shape[axis] for axis in self.axes)

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return (transpose(dy, sorted(range(len(self.axes)), key=self.axes.__getitem__)),)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return x.transpose(self.axes)


@dataclass(frozen=True)
class BroadcastTo(Op):
    """The input repeated along new leading axes and axes of size 1 (ONNX Expand)."""

    shape: Shape
    is_view: ClassVar[bool] = True

    def infer(self, x: TensorSpec) -> TensorSpec:
        if broadcast_shapes(x.shape, self.shape) != self.shape:
            raise ShapeError(
                f"{format_shape(x.shape)} does not broadcast to {format_shape(self.shape)}",
                expected="equal sizes, or 1 in the input, on each axis counted from the last",
                hint="a sum over axes makes a shape smaller",
            )
        return x.with_shape(self.shape)

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return (dy.sum_to_size(node.inputs[0].shape),)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return np.broadcast_to(x, out.static_shape)


def _elements(shape: Shape) -> tuple[int, int]:
    """Return c and p of the number of elements c·N**p; (0, 0) where there are none."""
    count = math.prod(bind_extent(extent, 1) for extent in shape)
    return (count, sum(isinstance(extent, Dim) for extent in shape)) if count else (0, 0)


def _reshape_error(old: Shape, new: Iterable[object]) -> ShapeError:
    return ShapeError(
        f"{format_shape(old)} can't be reshaped to ({', '.join(map(str, new))})",
        expected="the same number of elements for every batch size N",
        hint="-1 stands for one size that follows from the others, None in axis 0 for N",
    )


def _resolve_shape(old: Shape, new: tuple[Extent | None, ...]) -> Shape:
    """Return `new` with its -1, if there is one, replaced by the size that keeps the number of elements."""
    unknown = [axis for axis, extent in enumerate(new) if extent == -1]
    if not unknown:
        return as_shape(new)
    known = as_shape(1 if axis in unknown else extent for axis, extent in enumerate(new))
    count, power = _elements(old)
    known_count, known_power = _elements(known)
    # Without elements any power of N is as good as another.
    missing_power = power - known_power if count else 0
    if len(unknown) > 1 or not known_count or count % known_count or missing_power not in (0, 1):
        raise _reshape_error(old, new)
    quotient = count // known_count
    found = Dim(quotient) if missing_power else quotient
    return tuple(found if axis in unknown else extent for axis, extent in enumerate(known))


# The functions that users call.


@node_method
def reshape(x: Node, shape: Extent | Iterable[Extent | None]) -> Node:
    """Return the same elements, in row-major order, in another shape.

    Parameters
    ----------
    x : Node
        Of any shape.
    shape : int, Dim or iterable of them
        As many elements as `x` has. -1 stands for the one size that follows from the others and may depend on the
        batch; ``None`` may stand first and is the batch size N.

    Returns
    -------
    Node
        `x` itself if it has that shape.

    Raises
    ------
    ShapeError
        If the number of elements differs for any batch size.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     images = gn.placeholder("images", (None, 1, 28, 28))
    ...     gn.ops.reshape(images, (-1, 784))
    <reshape 'reshape': float32 (N, 784)>
    """
    with located("reshape", x):
        resolved = _resolve_shape(x.shape, tuple(shape) if isinstance(shape, Iterable) else (shape,))
    return x if resolved == x.shape else apply(Reshape(resolved), x)


@node_method
def transpose(x: Node, axes: Iterable[int] | None = None) -> Node:
    """Return the axes in another order: axis i of the result is axis ``axes[i]`` of `x`.

    Parameters
    ----------
    x : Node
        Of any shape.
    axes : iterable of int, optional
        Each axis of `x` once, negative ones counted from the last. By default the order is reversed.

    Returns
    -------
    Node
        `x` itself if the order is the old one.

    Raises
    ------
    ShapeError
        If an axis is missing, occurs twice or does not exist.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     images = gn.placeholder("images", (None, 28, 28, 3))
    ...     gn.ops.transpose(images, (0, 3, 1, 2))
    <transpose 'transpose': float32 (N, 3, 28, 28)>
    """
    with located("transpose", x):
        order = tuple(normalize_axis(axis, x.rank) for axis in (reversed(range(x.rank)) if axes is None else axes))
    return x if order == tuple(range(x.rank)) else apply(Transpose(order), x)


@node_method
def broadcast_to(x: Node, shape: Iterable[Extent | None]) -> Node:
    """Repeat `x` along new leading axes and along its axes of size 1, as NumPy's broadcasting does.

    Parameters
    ----------
    x : Node
        Of any shape.
    shape : iterable of int, Dim or None
        The result's shape; ``None`` may stand first and is the batch size N.

    Returns
    -------
    Node
        `x` itself if it has that shape.

    Raises
    ------
    ShapeError
        If `x` does not broadcast to exactly this shape.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     bias = gn.constant([1.0, 2.0])
    ...     gn.ops.broadcast_to(bias, (None, 2))
    <broadcast_to 'broadcast_to': float32 (N, 2)>
    """
    with located("broadcast_to", x):
        target = as_shape(shape)
    return x if target == x.shape else apply(BroadcastTo(target), x)


@node_method
def flatten(x: Node, start_axis: int = 0, end_axis: int = -1) -> Node:
    """Join the axes from `start_axis` to `end_axis`, both included, into one; a scalar gets one axis of size 1.

    Raises
    ------
    ShapeError
        If an axis does not exist or the first comes after the last.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     images = gn.placeholder("images", (None, 16, 5, 5))
    ...     gn.ops.flatten(images, start_axis=1)
    <reshape 'reshape': float32 (N, 400)>
    """
    with located("flatten", x):
        rank = max(x.rank, 1)
        start, end = normalize_axis(start_axis, rank), normalize_axis(end_axis, rank)
        if start > end:
            raise ShapeError(f"start_axis {start_axis} comes after end_axis {end_axis}")
        joined = product(x.shape[start : end + 1])
    return reshape(x, (*x.shape[:start], joined, *x.shape[end + 1 :]))


@node_method
def expand_dims(x: Node, axes: int | Iterable[int]) -> Node:
    """Insert axes of size 1, so that they are `axes` of the result.

    Raises
    ------
    ShapeError
        If an axis occurs twice or the result has no such axis.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     x = gn.placeholder("x", (None, 5))
    ...     gn.ops.expand_dims(x, (1, -1)).shape
    (N, 1, 5, 1)
    """
    given = tuple(axes) if isinstance(axes, Iterable) else (axes,)
    rank = x.rank + len(given)
    with located("expand_dims", x):
        inserted = normalize_axes(given, rank)
    kept = iter(x.shape)
    return reshape(x, tuple(1 if axis in inserted else next(kept) for axis in range(rank)))


@node_method
def squeeze(x: Node, axes: Axes = None) -> Node:
    """Drop axes of size 1: the given ones, or all; the batch axis stays even in a run over one example.

    Raises
    ------
    ShapeError
        If a given axis does not exist, occurs twice or has another size than 1.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     x = gn.placeholder("x", (None, 1, 5, 1))
    ...     gn.ops.squeeze(x).shape, gn.ops.squeeze(x, -1).shape
    ((N, 5), (N, 1, 5))
    """
    with located("squeeze", x):
        dropped = normalize_axes(axes, x.rank)
        if axes is not None and any(x.shape[axis] != 1 for axis in dropped):
            raise ShapeError(
                f"axes {dropped} of {format_shape(x.shape)} can't be dropped",
                expected="size 1 on each of them",
                hint="x[:, 0] picks a position of an axis of another size",
            )
    return reshape(x, tuple(e for axis, e in enumerate(x.shape) if axis not in dropped or e != 1))
