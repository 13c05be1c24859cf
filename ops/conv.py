"""Two-dimensional convolution and its two gradients.

All three are linear in each of their two inputs, so the gradient of each is made of the other two, to any order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from graphnn.ops.broadcasting import Gradient, require_floating, require_one_dtype
from graphnn.ops.context import apply
from graphnn.ops.errors import ShapeError
from graphnn.ops.matmul import widened
from graphnn.ops.node import Node
from graphnn.ops.op import Op
from graphnn.ops.shape import located
from graphnn.ops.spec import TensorSpec
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
    output_size,
    require_shape,
    scatter,
    spatial,
    static_sizes,
    windows,
)


@dataclass(frozen=True)
class Convolution(Op):
    """Base of the three ops; all describe the forward convolution ``y = conv(x, weight)``."""

    stride: Pair
    padding: Padding
    dilation: Pair
    groups: int

    @property
    def attributes(self) -> tuple[Pair, Padding, Pair, int]:
        """The fields that the three ops share."""
        return self.stride, self.padding, self.dilation, self.groups

    def windows(self, kernel: Pair) -> Windows:
        """Return the windows of a kernel along the height and the width."""
        return windows(kernel, self.stride, self.padding, self.dilation)

    def grouped(self, x: np.ndarray, axis: int) -> list[np.ndarray]:
        """Return the part of each group along an axis of channels."""
        return np.split(x, self.groups, axis)

    def convolved(self, x: TensorSpec, weight: TensorSpec) -> TensorSpec:
        """Return the spec of ``conv(x, weight)``, or raise where the two do not fit."""
        require_floating(x, weight)
        require_one_dtype(x, weight)
        channels, size = image_size("x", x)
        outputs, channels_per_group, kernel = weight_size(weight)
        self._require_channels(channels, outputs, channels_per_group)
        return x.with_shape((x.shape[0], outputs, *output_size(self.windows(kernel), size)))

    def _require_channels(self, channels: int, outputs: int, channels_per_group: int) -> None:
        groups = self.groups
        if groups < 1:
            raise ShapeError(f"groups is {groups}", expected="1 or more", hint="groups=1 connects all channels")
        for count, what in ((channels, "input"), (outputs, "output")):
            if count % groups:
                raise ShapeError(
                    f"{count} {what} channels can't be split into {groups} groups",
                    expected="input and output channels that groups divides",
                    hint=f"change groups, or the number of {what} channels",
                )
        if channels_per_group * groups != channels:
            raise ShapeError(
                f"the weight is for {channels_per_group * groups} input channels, x has {channels}",
                expected="x (N, C, H, W) and weight (O, C / groups, KH, KW)",
                hint="images whose channels stand last need x.transpose((0, 3, 1, 2))",
            )


def weight_size(weight: TensorSpec) -> tuple[int, int, Pair]:
    """Return the outputs, the channels of a group and the size of a kernel, or raise a ShapeError."""
    if weight.rank != 4:
        raise ShapeError(
            f"the weight has {weight.rank} axes",
            expected="four axes: outputs, channels of a group, height, width",
            hint="reshape the weight first",
        )
    outputs, channels_per_group, height, width = static_sizes("the weight", weight, first=0)
    return outputs, channels_per_group, (height, width)


@dataclass(frozen=True)
class Conv2d(Convolution):
    """Sums of images weighted by a kernel that slides over them (ONNX Conv, channels first)."""

    input_names: ClassVar[tuple[str, ...]] = ("x", "weight")

    def infer(self, x: TensorSpec, weight: TensorSpec) -> TensorSpec:
        return self.convolved(x, weight)

    def gradient(self, node: Node, dy: Node) -> Gradient:
        x, weight = node.inputs
        return _data_gradient(self, dy, weight, x), _weight_gradient(self, x, dy, weight)

    def evaluate(self, out: TensorSpec, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        seen = extract(widened(x), self.windows(spatial(weight.shape)), spatial(out.static_shape), fill=0)
        groups = zip(self.grouped(seen, axis=1), self.grouped(widened(weight), axis=0), strict=True)
        y = [np.tensordot(s, w, axes=((1, 4, 5), (1, 2, 3))) for s, w in groups]  # each (N, OH, OW, O / groups)
        return np.concatenate(y, axis=3).transpose(0, 3, 1, 2).astype(out.dtype.interface)

    def flops(self, out: TensorSpec, *inputs: TensorSpec) -> int:
        return _flops(out, inputs[1])


@dataclass(frozen=True)
class Conv2dDataGradient(Convolution):
    """Gradient of `Conv2d` by the images, whose height and width are `size` (ONNX ConvTranspose)."""

    size: Pair
    input_names: ClassVar[tuple[str, ...]] = ("dy", "weight")

    def infer(self, dy: TensorSpec, weight: TensorSpec) -> TensorSpec:
        require_floating(dy, weight)
        require_one_dtype(dy, weight)
        image_size("dy", dy)
        x = dy.with_shape((dy.shape[0], weight_size(weight)[1] * self.groups, *self.size))
        require_shape("dy", dy, self.convolved(x, weight).shape)
        return x

    def gradient(self, node: Node, dy: Node) -> Gradient:
        y, weight = node.inputs
        return _convolution(self, dy, weight), _weight_gradient(self, dy, y, weight)

    def evaluate(self, out: TensorSpec, dy: np.ndarray, weight: np.ndarray) -> np.ndarray:
        groups = zip(self.grouped(widened(dy), axis=1), self.grouped(widened(weight), axis=0), strict=True)
        seen = [np.tensordot(d, w, axes=((1,), (0,))) for d, w in groups]  # each (N, OH, OW, C / groups, KH, KW)
        by_channel = np.concatenate(seen, axis=3).transpose(0, 3, 1, 2, 4, 5)
        return scatter(by_channel, self.windows(spatial(weight.shape)), self.size).astype(out.dtype.interface)

    def flops(self, out: TensorSpec, *inputs: TensorSpec) -> int:
        return _flops(inputs[0], inputs[1])


@dataclass(frozen=True)
class Conv2dWeightGradient(Convolution):
    """Gradient of `Conv2d` by the weight, whose height and width are `kernel`."""

    kernel: Pair
    input_names: ClassVar[tuple[str, ...]] = ("x", "dy")

    def infer(self, x: TensorSpec, dy: TensorSpec) -> TensorSpec:
        require_floating(x, dy)
        require_one_dtype(x, dy)
        channels, _ = image_size("x", x)
        outputs, _ = image_size("dy", dy)
        weight = x.with_shape((outputs, channels // max(self.groups, 1), *self.kernel))
        require_shape("dy", dy, self.convolved(x, weight).shape)
        return weight

    def gradient(self, node: Node, dy: Node) -> Gradient:
        x, y = node.inputs
        return _data_gradient(self, y, dy, x), _convolution(self, x, dy)

    def evaluate(self, out: TensorSpec, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
        seen = extract(widened(x), self.windows(self.kernel), spatial(dy.shape), fill=0)
        groups = zip(self.grouped(widened(dy), axis=1), self.grouped(seen, axis=1), strict=True)
        dw = [np.tensordot(d, s, axes=((0, 2, 3), (0, 2, 3))) for d, s in groups]
        return np.concatenate(dw).astype(out.dtype.interface)

    def flops(self, out: TensorSpec, *inputs: TensorSpec) -> int:
        return _flops(inputs[1], out)


def _convolution(like: Convolution, x: Node, weight: Node) -> Node:
    return apply(Conv2d(*like.attributes), x, weight)


def _data_gradient(like: Convolution, dy: Node, weight: Node, x: Node) -> Node:
    _, size = image_size("x", x.spec)
    return apply(Conv2dDataGradient(*like.attributes, size), dy, weight)


def _weight_gradient(like: Convolution, x: Node, dy: Node, weight: Node) -> Node:
    *_, kernel = weight_size(weight.spec)
    return apply(Conv2dWeightGradient(*like.attributes, kernel), x, dy)


def _flops(y: TensorSpec, weight: TensorSpec) -> int:
    """Count a multiply-add for each element of y and each place of its kernel; the gradients take the same ones."""
    _, channels_per_group, (height, width) = weight_size(weight)
    return 2 * y.elements(1) * channels_per_group * height * width


def conv2d(
    x: Node,
    weight: Node,
    bias: Node | None = None,
    stride: PairLike = 1,
    padding: PaddingLike | Literal["same", "valid"] = 0,
    dilation: PairLike = 1,
    groups: int = 1,
) -> Node:
    """Slide a kernel over images and sum what it covers, weighted, for each output channel.

    ::

        y[n, o, i, j] = bias[o] + sum over c, p, q of
            weight[o, c, p, q] · x[n, c, stride · i + dilation · p - top, stride · j + dilation · q - left]

    where x is 0 outside of the images. With groups, output channels see the input channels of their group alone.
    float16 and bfloat16 are summed in float32.

    Parameters
    ----------
    x : Node of shape (N, C, H, W)
    weight : Node of shape (O, C / groups, KH, KW)
    bias : Node of shape (O,), optional
    stride, dilation : int or pair of int
        Step of the kernel, and distance of its places, along height and width.
    padding : int, pair, ((top, bottom), (left, right)), "same" or "valid"
        Zeros around the images. "same" keeps their size (stride 1 only; an odd one more goes to the end),
        "valid" is 0.
    groups : int
        Parts into which the channels are split; ``groups=C`` is a depthwise convolution.

    Returns
    -------
    Node of shape (N, O, OH, OW)
        ``OH = (H + top + bottom - dilation · (KH - 1) - 1) // stride + 1``, and OW likewise.

    Raises
    ------
    ShapeError
        If ranks, channels, groups or the bias do not fit, or the kernel is larger than the padded images.
    DTypeError
        If the inputs are not of one floating type.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     images = gn.placeholder("images", (None, 3, 32, 28))
    ...     weight = gn.variable("weight", np.zeros((8, 3, 5, 3), np.float32))
    ...     y = gn.ops.conv2d(images, weight, stride=2, padding=(2, 1))
    >>> y.shape
    (N, 8, 16, 14)
    """
    with located("conv2d", x, weight):
        strides, dilations = as_pair("stride", stride), as_pair("dilation", dilation)
        pads = _resolve_padding(padding, weight, strides, dilations)
        y = apply(Conv2d(strides, pads, dilations, groups), x, weight)
        return y if bias is None else with_bias(y, bias)


def with_bias(y: Node, bias: Node) -> Node:
    """Add a number to each channel of images, or raise a ShapeError where there is not one for each."""
    outputs = y.shape[1]
    expected = TensorSpec((outputs,), y.dtype)
    if bias.spec != expected:
        raise ShapeError(
            "the bias does not fit",
            expected=f"bias {expected}",
            actual=f"bias {bias.spec} ({bias.name!r})",
            hint="give one number for each output channel, of the weight's element type",
        )
    return y + bias.reshape((1, outputs, 1, 1))


def _resolve_padding(
    padding: PaddingLike | Literal["same", "valid"], weight: Node, stride: Pair, dilation: Pair
) -> Padding:
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding != "same":
        return as_padding(padding)
    if stride != (1, 1):
        raise ShapeError(
            f"padding 'same' with stride {stride}", expected="stride 1", hint="give the padding in numbers instead"
        )
    *_, kernel = weight_size(weight.spec)
    height, width = (gap * (places - 1) for gap, places in zip(dilation, kernel, strict=True))
    return (height // 2, height - height // 2), (width // 2, width - width // 2)
