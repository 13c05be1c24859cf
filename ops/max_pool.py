"""Max-pooling: the largest value of each window of an image.

The position of each largest value is a node of its own, so that the gradient is a scatter by stored positions, and
the gradient of that a gather by the same ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphnn.ops import dtypes
from graphnn.ops.broadcasting import Gradient
from graphnn.ops.context import apply
from graphnn.ops.errors import DTypeError
from graphnn.ops.matmul import widened
from graphnn.ops.node import Node
from graphnn.ops.pool import Pool2d
from graphnn.ops.shape import located
from graphnn.ops.spec import Extent, TensorSpec
from graphnn.ops.window import (
    Padding,
    PaddingLike,
    Pair,
    PairLike,
    Windows,
    as_padding,
    as_pair,
    extract,
    image_size,
    require_shape,
    scatter,
    spatial,
    windows,
)


@dataclass(frozen=True)
class MaxPooling(Pool2d):
    """Base of the four ops of max-pooling. Places of the padding never win."""

    dilation: Pair

    @property
    def windows(self) -> Windows:
        return windows(self.kernel, self.stride, self.padding, self.dilation)

    @property
    def is_tiling(self) -> bool:
        """Whether windows lie side by side inside of the images, so that no place is in two of them."""
        padding = sum(sum(sides) for sides in self.padding)
        return self.kernel == self.stride and self.dilation == (1, 1) and padding == 0 and not self.ceil_mode

    @property
    def attributes(self) -> tuple[Pair, Pair, Padding, bool, Pair]:
        """The fields that the four ops share."""
        return self.kernel, self.stride, self.padding, self.ceil_mode, self.dilation

    @property
    def index_dtype(self) -> dtypes.DType:
        """The element type of positions within a window."""
        return dtypes.uint8 if self.places <= 256 else dtypes.int32

    def require_indices(self, indices: TensorSpec, pooled: TensorSpec) -> None:
        """Raise a ShapeError or DTypeError unless there is a position for each pooled element."""
        require_shape("indices", indices, pooled.shape)
        if indices.dtype is not self.index_dtype:
            raise DTypeError(
                "the indices have the wrong element type",
                expected=str(self.index_dtype),
                hint="take them from a max_pool2d_indices node with the same attributes",
            )

    def index_bounds(self, *inputs: TensorSpec) -> Mapping[int, tuple[Extent, Extent]]:
        return {1: (0, self.places)} if len(inputs) == 2 else {}

    def largest(self, x: np.ndarray, positions: Pair) -> np.ndarray:
        """Return the largest value in each window, NaN where there is one."""
        lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
        values: np.ndarray = extract(x, self.windows, positions, fill=lowest).max(axis=(-2, -1))
        return values


@dataclass(frozen=True)
class MaxPool2d(MaxPooling):
    """Largest value of each window (ONNX MaxPool, channels first); NaN if there is one."""

    def infer(self, x: TensorSpec) -> TensorSpec:
        _require_order(x)
        return self.pooled(x)

    def gradient(self, node: Node, dy: Node) -> Gradient:
        x = node.inputs[0]
        indices = apply(MaxPool2dIndices(*self.attributes), x)
        return (apply(MaxPool2dGradient(*self.attributes, image_size("x", x.spec)[1]), dy, indices),)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return self.largest(x, spatial(out.static_shape))


@dataclass(frozen=True)
class MaxPool2dIndices(MaxPooling):
    """Position ``ky · KW + kx`` within its window of each largest value, the first of equals (of NaN, if any)."""

    def infer(self, x: TensorSpec) -> TensorSpec:
        _require_order(x)
        return self.pooled(x).with_dtype(self.index_dtype)

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return (None,)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        positions = spatial(out.static_shape)
        seen = extract(x, self.windows, positions, fill=0)
        inside = extract(np.ones((1, 1, *x.shape[2:]), np.bool_), self.windows, positions, fill=False)
        largest = self.largest(x, positions)[..., None, None]
        wins = inside & ((seen == largest) | np.isnan(seen))
        return wins.reshape((*out.static_shape, self.places)).argmax(axis=-1).astype(out.dtype.storage)


@dataclass(frozen=True)
class MaxPool2dGradient(MaxPooling):
    """Gradient of `MaxPool2d` by images of height and width `size`: adds dy to where each largest value stood."""

    size: Pair
    input_names: ClassVar[tuple[str, ...]] = ("dy", "indices")

    def infer(self, dy: TensorSpec, indices: TensorSpec) -> TensorSpec:
        x = self.unpooled(dy, self.size)
        self.require_indices(indices, dy)
        return x

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return apply(MaxPool2dGather(*self.attributes), dy, node.inputs[1]), None

    def evaluate(self, out: TensorSpec, dy: np.ndarray, indices: np.ndarray) -> np.ndarray:
        wins = indices[..., None] == np.arange(self.places)
        seen = np.where(wins, widened(dy)[..., None], 0).reshape(*dy.shape, *self.kernel)
        return scatter(seen, self.windows, self.size).astype(out.dtype.interface, copy=False)

    def flops(self, out: TensorSpec, *inputs: TensorSpec) -> int:
        return inputs[0].elements(1)


@dataclass(frozen=True)
class MaxPool2dGather(MaxPooling):
    """The element of each window that stands at a given position, 0 in the padding; transpose of MaxPool2dGradient."""

    input_names: ClassVar[tuple[str, ...]] = ("x", "indices")

    def infer(self, x: TensorSpec, indices: TensorSpec) -> TensorSpec:
        y = self.pooled(x)
        self.require_indices(indices, y)
        return y

    def gradient(self, node: Node, dy: Node) -> Gradient:
        x, indices = node.inputs
        return apply(MaxPool2dGradient(*self.attributes, image_size("x", x.spec)[1]), dy, indices), None

    def evaluate(self, out: TensorSpec, x: np.ndarray, indices: np.ndarray) -> np.ndarray:
        seen = extract(x, self.windows, spatial(indices.shape), fill=0).reshape(*indices.shape, self.places)
        picked: np.ndarray = np.take_along_axis(seen, indices[..., None].astype(np.int64), axis=-1)[..., 0]
        return picked

    def flops(self, out: TensorSpec, *inputs: TensorSpec) -> int:
        return 0


def _require_order(x: TensorSpec) -> None:
    if x.dtype is dtypes.bool:
        raise DTypeError(
            "bool values have no largest one",
            expected="an integer or floating type",
            hint="convert them with .astype('uint8')",
        )


# The functions that users call.


def max_pool2d(
    x: Node,
    kernel_size: PairLike,
    stride: PairLike | None = None,
    padding: PaddingLike = 0,
    dilation: PairLike = 1,
    ceil_mode: bool = False,
) -> Node:
    """Take the largest value of each window of images.

    ::

        y[n, c, i, j] = max over p, q of x[n, c, stride · i + dilation · p - top, stride · j + dilation · q - left]

    Padding never wins. Of equal values the first in row-major order gets the gradient; NaN counts as the largest.

    Parameters
    ----------
    x : Node of shape (N, C, H, W)
    kernel_size, stride, dilation : int or pair of int
        Size of the window, its step (by default its size) and the distance of its places, along height and width.
    padding : int, pair or ((top, bottom), (left, right))
        At most half of the kernel size.
    ceil_mode : bool
        Whether a last window may stick out of the padded images, if it starts in them or in the padding before.

    Returns
    -------
    Node of shape (N, C, OH, OW)
        ``OH = (H + top + bottom - dilation · (KH - 1) - 1) // stride + 1``, rounded up in `ceil_mode`.

    Raises
    ------
    ShapeError
        If x has not four axes, a window does not fit, or there is too much padding.
    DTypeError
        If x is bool.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     y = gn.ops.max_pool2d(gn.constant(np.arange(15).reshape(1, 1, 3, 5)), 2, ceil_mode=True)
    >>> gn.Executor(y, device="numpy").run({})
    array([[[[ 6,  8,  9],
             [11, 13, 14]]]])
    """
    with located("max_pool2d", x):
        kernel = as_pair("kernel_size", kernel_size)
        strides = kernel if stride is None else as_pair("stride", stride)
        return apply(MaxPool2d(kernel, strides, as_padding(padding), ceil_mode, as_pair("dilation", dilation)), x)


def global_max_pool2d(x: Node) -> Node:
    """Take the largest value of each channel: (N, C, H, W) to (N, C, 1, 1) (ONNX GlobalMaxPool).

    Equal values share the gradient equally.

    Raises
    ------
    ShapeError
        If x has not four axes, or no height or width.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     gn.ops.global_max_pool2d(gn.placeholder("x", (None, 3, 7, 5))).shape
    (N, 3, 1, 1)
    """
    with located("global_max_pool2d", x):
        image_size("x", x.spec)
        return x.max((2, 3), keepdims=True)
