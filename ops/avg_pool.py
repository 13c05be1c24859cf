"""Average pooling: the mean value of each window of an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphnn.ops.broadcasting import Gradient, require_floating
from graphnn.ops.context import apply
from graphnn.ops.matmul import widened
from graphnn.ops.node import Node
from graphnn.ops.pool import Pool2d
from graphnn.ops.shape import located
from graphnn.ops.spec import TensorSpec
from graphnn.ops.window import (
    Padding,
    PaddingLike,
    Pair,
    PairLike,
    as_padding,
    as_pair,
    extract,
    image_size,
    scatter,
    spatial,
)


@dataclass(frozen=True)
class AvgPooling(Pool2d):
    """Base of the two ops of average pooling; `count_include_pad`: whether padding counts in the divisor."""

    count_include_pad: bool

    @property
    def attributes(self) -> tuple[Pair, Pair, Padding, bool, bool]:
        """The fields that the two ops share."""
        return self.kernel, self.stride, self.padding, self.ceil_mode, self.count_include_pad

    def divisors(self, size: Pair, positions: Pair) -> np.ndarray:
        """Return by what the sum of each window is divided: what a last window of `ceil_mode` lacks never counts."""
        counts = []
        for window, elements, count in zip(self.windows, size, positions, strict=True):
            before, after = window.padding if self.count_include_pad else (0, 0)
            start = np.arange(count) * window.stride - window.padding[0]
            end = start + window.span
            counts.append(np.minimum(end, elements + after) - np.maximum(start, -before))
        return np.outer(*counts)


@dataclass(frozen=True)
class AvgPool2d(AvgPooling):
    """Mean value of each window (ONNX AveragePool, channels first)."""

    def infer(self, x: TensorSpec) -> TensorSpec:
        require_floating(x)
        return self.pooled(x)

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return (apply(AvgPool2dGradient(*self.attributes, image_size("x", node.inputs[0].spec)[1]), dy),)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        positions = spatial(out.static_shape)
        x = widened(x)
        sums = extract(x, self.windows, positions, fill=0).sum(axis=(-2, -1))
        divisors = self.divisors(spatial(x.shape), positions).astype(x.dtype)
        return (sums / divisors).astype(out.dtype.interface, copy=False)


@dataclass(frozen=True)
class AvgPool2dGradient(AvgPooling):
    """Gradient of `AvgPool2d` by images of height and width `size`: shares dy out among each window."""

    size: Pair
    input_names: ClassVar[tuple[str, ...]] = ("dy",)

    def infer(self, dy: TensorSpec) -> TensorSpec:
        return self.unpooled(dy, self.size)

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return (apply(AvgPool2d(*self.attributes), dy),)

    def evaluate(self, out: TensorSpec, dy: np.ndarray) -> np.ndarray:
        dy = widened(dy)
        shares = dy / self.divisors(self.size, spatial(dy.shape)).astype(dy.dtype)
        seen = np.broadcast_to(shares[..., None, None], (*dy.shape, *self.kernel))
        return scatter(seen, self.windows, self.size).astype(out.dtype.interface, copy=False)

    def flops(self, out: TensorSpec, *inputs: TensorSpec) -> int:
        return inputs[0].elements(1) * (self.places + 1)


# The functions that users call.


def avg_pool2d(
    x: Node,
    kernel_size: PairLike,
    stride: PairLike | None = None,
    padding: PaddingLike = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Node:
    """Take the mean of each window of images.

    The sum over a window is divided by the number of its places: those in the images and, if `count_include_pad`,
    those in the padding, but never those that `ceil_mode` lets stick out beyond it.

    Parameters
    ----------
    x : Node of shape (N, C, H, W)
    kernel_size, stride, padding, ceil_mode
        As in `max_pool2d`.
    count_include_pad : bool
        Whether zeros of the padding count in the mean.

    Returns
    -------
    Node of shape (N, C, OH, OW)

    Raises
    ------
    ShapeError, DTypeError
        As in `max_pool2d`; x has to be of a floating type.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     y = gn.ops.avg_pool2d(gn.constant([[[[1.0, 2.0, 6.0]]]]), (1, 2), ceil_mode=True)
    >>> gn.Executor(y, device="numpy").run({})
    array([[[[1.5, 6. ]]]], dtype=float32)
    """
    with located("avg_pool2d", x):
        kernel = as_pair("kernel_size", kernel_size)
        strides = kernel if stride is None else as_pair("stride", stride)
        return apply(AvgPool2d(kernel, strides, as_padding(padding), ceil_mode, count_include_pad), x)


def global_avg_pool2d(x: Node) -> Node:
    """Take the mean of each channel: (N, C, H, W) to (N, C, 1, 1) (ONNX GlobalAveragePool).

    Raises
    ------
    ShapeError
        If x has not four axes.
    DTypeError
        If x is not of a floating type.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     gn.ops.global_avg_pool2d(gn.placeholder("x", (None, 3, 7, 5))).shape
    (N, 3, 1, 1)
    """
    with located("global_avg_pool2d", x):
        image_size("x", x.spec)
        return x.mean((2, 3), keepdims=True)
