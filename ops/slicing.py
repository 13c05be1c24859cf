"""Ops that cut parts out of a value, put them into a larger one, and join several.

The batch axis has no positions that are known beforehand, so it can only be taken whole; `ops.take` picks examples.
"""

from __future__ import annotations

import builtins
import functools
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from graphnn.ops import dtypes
from graphnn.ops.broadcasting import Gradient, Value, promoted
from graphnn.ops.context import apply
from graphnn.ops.dtypes import DType
from graphnn.ops.errors import DTypeError, ShapeError
from graphnn.ops.node import Node, node_method
from graphnn.ops.op import Op
from graphnn.ops.shape import located, normalize_axes, normalize_axis, reshape
from graphnn.ops.spans import Span, extent_of, integer_span, is_integer, one_item_per_axis, slice_span
from graphnn.ops.spec import Dim, Extent, Shape, TensorSpec, format_shape

Padding = int | tuple[int, int] | Iterable[tuple[int, int]]


@dataclass(frozen=True)
class Slice(Op):
    """The positions ``range(start, stop, step)`` of each axis (ONNX Slice)."""

    starts: tuple[int, ...]
    stops: Shape
    steps: tuple[int, ...]
    is_view: ClassVar[bool] = True

    @property
    def index(self) -> tuple[builtins.slice, ...]:
        """The same as an index into a NumPy array."""
        return tuple(
            builtins.slice(None) if isinstance(stop, Dim) else builtins.slice(start, stop if stop >= 0 else None, step)
            for start, stop, step in self._spans
        )

    @property
    def _spans(self) -> Iterable[Span]:
        return zip(self.starts, self.stops, self.steps, strict=True)

    def infer(self, x: TensorSpec) -> TensorSpec:
        if len(self.starts) != x.rank:
            raise ShapeError(f"{len(self.starts)} axes are sliced", expected="one start, stop and step for each axis")
        return x.with_shape(extent_of(*pair) for pair in zip(x.shape, self._spans, strict=True))

    def gradient(self, node: Node, dy: Node) -> Gradient:
        x = node.inputs[0]
        if any(step != 1 for step in self.steps):
            return (apply(SliceGradient(self, x.shape), dy),)
        ends = zip(x.shape, self.stops, strict=True)
        after = (0 if isinstance(size, Dim) or isinstance(stop, Dim) else size - stop for size, stop in ends)
        return (pad(dy, zip(self.starts, after, strict=True)),)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return x[self.index]


@dataclass(frozen=True)
class SliceGradient(Op):
    """Zeros of the given shape with the input at the positions that a `Slice` takes."""

    forward: Slice
    shape: Shape
    input_names: ClassVar[tuple[str, ...]] = ("dy",)

    def infer(self, dy: TensorSpec) -> TensorSpec:
        result = dy.with_shape(self.shape)
        expected = self.forward.infer(result).shape
        if dy.shape != expected:
            raise ShapeError("the input does not fit the slice", expected=format_shape(expected))
        return result

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return (apply(self.forward, dy),)

    def evaluate(self, out: TensorSpec, dy: np.ndarray) -> np.ndarray:
        dx = np.zeros(out.static_shape, dy.dtype)
        dx[self.forward.index] = dy
        return dx


@dataclass(frozen=True)
class Pad(Op):
    """The input inside a border of one value, (before, after) wide on each axis (ONNX Pad, mode constant)."""

    padding: tuple[tuple[int, int], ...]
    value: float = 0.0

    def infer(self, x: TensorSpec) -> TensorSpec:
        if len(self.padding) != x.rank:
            raise ShapeError(
                f"the padding is for {len(self.padding)} axes", expected="a pair (before, after) for each axis"
            )
        if any(width < 0 for pair in self.padding for width in pair):
            raise ShapeError(
                f"the padding {self.padding} has a negative width", expected="0 or more", hint="a slice cuts off"
            )
        if not _can_hold(x.dtype, self.value):
            raise DTypeError(f"{self.value} is no value of {x.dtype}", hint="convert x with .astype('float32')")
        return x.with_shape(_padded(*pair) for pair in zip(x.shape, self.padding, strict=True))

    def gradient(self, node: Node, dy: Node) -> Gradient:
        sizes = zip(self.padding, node.inputs[0].shape, strict=True)
        return (take_spans(dy, [(before, before + size, 1) for (before, _), size in sizes]),)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        padded = np.full(out.static_shape, self.value, x.dtype)
        sizes = zip(self.padding, x.shape, strict=True)
        padded[tuple(builtins.slice(before, before + size) for (before, _), size in sizes)] = x
        return padded


def _padded(size: Extent, widths: tuple[int, int]) -> Extent:
    if isinstance(size, Dim) and any(widths):
        raise ShapeError(
            f"the batch axis of size {size} can't be padded by {widths}",
            expected="(0, 0) for this axis",
            hint="give a pair (before, after) for each axis, or pad the data before feeding",
        )
    return widths[0] + size + widths[1]


def _can_hold(dtype: DType, value: float) -> bool:
    if dtype.is_floating:
        return True
    limits = np.iinfo(dtype.storage) if dtype is not dtypes.bool else None
    low, high = (limits.min, limits.max) if limits else (0, 1)
    return low <= value <= high and value == int(value)


@dataclass(frozen=True)
class Concat(Op):
    """The inputs one after the other along an axis (ONNX Concat)."""

    axis: int

    def infer(self, *inputs: TensorSpec) -> TensorSpec:
        first = inputs[0]
        others = before, after = self._others(first.shape)
        if any(spec.dtype is not first.dtype for spec in inputs):
            raise DTypeError("the inputs differ in element type", hint="convert one of them with .astype(...)")
        if any(spec.rank != first.rank or self._others(spec.shape) != others for spec in inputs):
            raise ShapeError(
                "the inputs do not fit together", expected=f"equal sizes on every axis but axis {self.axis}"
            )
        joined = functools.reduce(operator.add, (spec.shape[self.axis] for spec in inputs))
        return first.with_shape((*before, joined, *after))

    def _others(self, shape: Shape) -> tuple[Shape, Shape]:
        return shape[: self.axis], shape[self.axis + 1 :]

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return cut_along(dy, self.axis, [x.shape[self.axis] for x in node.inputs])

    def evaluate(self, out: TensorSpec, *inputs: np.ndarray) -> np.ndarray:
        return np.concatenate(inputs, self.axis)


def cut_along(x: Node, axis: int, sizes: Sequence[Extent]) -> tuple[Node, ...]:
    """Return the parts of given sizes, which add up to that of the axis: what `Concat` joins."""
    if len(sizes) == 1:
        return (x,)
    before, after = x.shape[:axis], x.shape[axis + 1 :]
    # k·N + m·N rows are k + m blocks of N, so that there, too, a slice has a beginning and an end.
    block = (Dim(1),) if isinstance(x.shape[axis], Dim) else ()
    counts = [size.multiple if isinstance(size, Dim) else size for size in sizes]
    blocks = reshape(x, (*before, sum(counts), *block, *after))
    parts: list[Node] = []
    for size, count in zip(sizes, counts, strict=True):
        start = sum(counts[: len(parts)])
        part = take_spans(blocks, _spans_along(blocks, {axis: (start, start + count, 1)}))
        parts.append(reshape(part, (*before, size, *after)))
    return tuple(parts)


def take_spans(x: Node, spans: Iterable[Span]) -> Node:
    """Return the given positions of each axis, `x` itself if all are taken."""
    spans = tuple(spans)
    if all(span == (0, size, 1) for span, size in zip(spans, x.shape, strict=True)):
        return x
    starts, stops, steps = zip(*spans, strict=True)
    return apply(Slice(starts, stops, steps), x)


def _spans_along(x: Node, chosen: dict[int, Span]) -> list[Span]:
    """Return the chosen spans, and whole axes elsewhere."""
    return [chosen.get(axis, (0, size, 1)) for axis, size in enumerate(x.shape)]


# The functions that users call.


@node_method
def getitem(x: Node, index: Any) -> Node:
    """Return ``x[index]``: basic indexing as in NumPy.

    Parameters
    ----------
    x : Node
        Of any shape.
    index : int, slice, None, Ellipsis or a tuple of them
        An integer drops its axis, None inserts one of size 1. The batch axis can only be taken whole.

    Returns
    -------
    Node
        `x` itself if all of it is taken.

    Raises
    ------
    ShapeError
        If an integer is outside of its axis, there are too many indices, or the batch axis is cut.
    GraphError
        If the index holds something else, such as an array.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     x = gn.placeholder("x", (None, 3, 8, 8))
    ...     x[:, 0].shape, x[..., ::-2].shape, x[:, None, 1:].shape
    ((N, 8, 8), (N, 3, 8, 4), (N, 1, 2, 8, 8))
    """
    spans: list[Span] = []
    shape: list[Extent] = []
    with located("getitem", x):
        for item in one_item_per_axis(index, x.rank):
            if item is None:
                shape.append(1)
                continue
            size = x.shape[len(spans)]
            if isinstance(item, builtins.slice):
                spans.append(slice_span(size, item))
                shape.append(extent_of(size, spans[-1]))
            else:
                spans.append(integer_span(size, item))
    return reshape(take_spans(x, spans), shape)


def slice(  # noqa: A001 - ONNX's name
    x: Node,
    starts: Iterable[int],
    stops: Iterable[int | None],
    steps: Iterable[int] | None = None,
    axes: Iterable[int] | None = None,
) -> Node:
    """Take the positions ``start, start + step, …`` before `stop` of some axes (ONNX Slice).

    Parameters
    ----------
    x : Node
        Of any shape.
    starts, stops : iterable of int
        One for each of `axes`; negative ones count from the end, those beyond an end mean that end.
    steps : iterable of int, optional
        Positive or negative; 1 by default.
    axes : iterable of int, optional
        The axes that are sliced; by default the first ones.

    Returns
    -------
    Node
        `x` itself if all of it is taken.

    Raises
    ------
    ShapeError
        If the numbers of starts, stops, steps and axes differ, a step is 0, or the batch axis is cut.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     x = gn.placeholder("x", (None, 10))
    ...     gn.ops.slice(x, [1], [-1], steps=[3], axes=[1]).shape
    (N, 3)
    """
    starts, stops = tuple(starts), tuple(stops)
    with located("slice", x):
        along = tuple(range(len(starts))) if axes is None else tuple(axes)
        paces = (1,) * len(starts) if steps is None else tuple(steps)
        if not len(along) == len(starts) == len(stops) == len(paces):
            raise ShapeError(
                f"there are {len(starts)} starts, {len(stops)} stops, {len(paces)} steps and {len(along)} axes",
                expected="as many of each",
            )
        normalize_axes(along, x.rank)  # none may occur twice
        positions = [normalize_axis(axis, x.rank) for axis in along]
        bounds = map(builtins.slice, starts, stops, paces)
        chosen = {axis: slice_span(x.shape[axis], each) for axis, each in zip(positions, bounds, strict=True)}
    return take_spans(x, _spans_along(x, chosen))


def pad(x: Node, padding: Padding, value: float = 0.0) -> Node:
    """Put a border of one value around `x`.

    Parameters
    ----------
    x : Node
        Of any shape.
    padding : int, (int, int) or an iterable of pairs
        Width before and after on each axis, or one width or pair for all axes. The batch axis can't be padded.
    value : float
        The border's value, one that `x`'s element type has.

    Returns
    -------
    Node
        `x` itself if all widths are 0.

    Raises
    ------
    ShapeError
        If a width is negative, an axis has none, or the batch axis would be padded.
    DTypeError
        If the element type has no such value.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     images = gn.placeholder("images", (None, 1, 28, 28))
    ...     gn.ops.pad(images, ((0, 0), (0, 0), (2, 2), (1, 0)))
    <pad 'pad': float32 (N, 1, 32, 29)>
    """
    with located("pad", x):
        widths = _per_axis(padding, x.rank)
    return apply(Pad(widths, value), x) if any(map(any, widths)) else x


def _per_axis(padding: Padding, rank: int) -> tuple[tuple[int, int], ...]:
    given: tuple[Any, ...] = tuple(padding) if isinstance(padding, Iterable) else (padding, padding)
    pairs = (given,) * rank if len(given) == 2 and all(map(is_integer, given)) else given
    try:
        widths = tuple((operator.index(before), operator.index(after)) for before, after in pairs)
    except (TypeError, ValueError):
        widths = None
    if widths is None or len(widths) != rank:
        raise ShapeError(
            f"the padding {padding} does not fit {rank} axes",
            expected="a pair (before, after) for each axis, or one width or pair for all",
        )
    return widths


def concat(nodes: Iterable[Value], axis: int = 0) -> Node:
    """Join nodes along an axis; element types are promoted, arrays become constants.

    Parameters
    ----------
    nodes : iterable of Node or array
        With equal sizes on every other axis.
    axis : int
        The axis along which their sizes add up. Along the batch axis N and N give 2·N.

    Returns
    -------
    Node
        The node itself if there is only one.

    Raises
    ------
    ShapeError
        If other sizes differ, there is no such axis, or a batch axis meets one that does not depend on the batch.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     x = gn.placeholder("x", (None, 3))
    ...     gn.ops.concat([x, x * 2], axis=1).shape, gn.ops.concat([x, x]).shape
    ((N, 6), (2·N, 3))
    """
    parts = promoted("concat", *nodes)
    with located("concat", *parts):
        position = normalize_axis(axis, parts[0].rank)
    return apply(Concat(position), *parts) if len(parts) > 1 else parts[0]
