"""Transposed convolution: the gradient of a convolution by its images, as an op of its own right."""

from __future__ import annotations

from graphnn.ops.broadcasting import require_floating, require_one_dtype
from graphnn.ops.context import apply
from graphnn.ops.conv import Conv2dDataGradient, weight_size, with_bias
from graphnn.ops.errors import ShapeError
from graphnn.ops.node import Node
from graphnn.ops.shape import located
from graphnn.ops.window import Padding, PaddingLike, Pair, PairLike, as_padding, as_pair, image_size, windows


def conv_transpose2d(
    x: Node,
    weight: Node,
    bias: Node | None = None,
    stride: PairLike = 1,
    padding: PaddingLike = 0,
    output_padding: PairLike = 0,
    groups: int = 1,
    dilation: PairLike = 1,
) -> Node:
    """Spread each element of images over the places of a kernel, weighted, and add up what meets (ONNX ConvTranspose).

    ::

        y[n, o, stride · i + dilation · p - top, stride · j + dilation · q - left] += weight[c, o, p, q] · x[n, c, i, j]

    for all c, i, j, p, q, on top of bias[o]; what falls outside is dropped. It gives images of the size from which
    `conv2d` with the same attributes makes images of x's size.

    Parameters
    ----------
    x : Node of shape (N, C, H, W)
    weight : Node of shape (C, O / groups, KH, KW)
    bias : Node of shape (O,), optional
    stride, dilation : int or pair of int
        Distance of the elements of x in the result, and of the places of the kernel, along height and width.
    padding : int, pair or ((top, bottom), (left, right))
        Rows and columns that are cut off from the result.
    output_padding : int or pair of int
        Rows added at the bottom and columns at the right, less than the stride: of the sizes that a convolution with
        that stride turns into the size of x, it chooses one.
    groups : int
        Parts into which the channels are split.

    Returns
    -------
    Node of shape (N, O, OH, OW)
        ``OH = (H - 1) · stride - top - bottom + dilation · (KH - 1) + 1 + output_padding``, and OW likewise.

    Raises
    ------
    ShapeError
        If ranks, channels, groups, the output padding or the bias do not fit, or nothing is left of the result.
    DTypeError
        If the inputs are not of one floating type.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     x = gn.placeholder("x", (None, 8, 7, 7))
    ...     weight = gn.variable("weight", np.zeros((8, 3, 4, 4), np.float32))
    ...     gn.ops.conv_transpose2d(x, weight, stride=2, padding=1).shape
    (N, 3, 14, 14)
    """
    with located("conv_transpose2d", x, weight):
        require_floating(x.spec, weight.spec)
        require_one_dtype(x.spec, weight.spec)
        strides, dilations = as_pair("stride", stride), as_pair("dilation", dilation)
        pads, extra = as_padding(padding), as_pair("output_padding", output_padding)
        channels, size = image_size("x", x.spec)
        _require_channels(channels, weight_size(weight.spec)[0], groups)
        *_, kernel = weight_size(weight.spec)
        result = _output_size(size, kernel, strides, pads, dilations, extra)
        y = apply(Conv2dDataGradient(strides, pads, dilations, groups, result), x, weight)
        return y if bias is None else with_bias(y, bias)


def _require_channels(channels: int, expected: int, groups: int) -> None:
    if channels != expected:
        raise ShapeError(
            f"the weight is for {expected} input channels, x has {channels}",
            expected="x (N, C, H, W) and weight (C, O / groups, KH, KW)",
            hint="the weight of a transposed convolution has its input channels first",
        )
    if groups < 1 or channels % groups:
        raise ShapeError(
            f"{channels} input channels can't be split into {groups} groups",
            expected="a number of groups that divides the channels",
            hint="groups=1 connects all channels",
        )


def _output_size(size: Pair, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair, extra: Pair) -> Pair:
    found = []
    for window, elements, added in zip(windows(kernel, stride, padding, dilation), size, extra, strict=True):
        if not 0 <= added < window.stride:
            raise ShapeError(
                f"the output padding along the {window.axis} is {added}",
                expected=f"from 0 to {window.stride - 1}, less than the stride",
                hint="ops.pad adds more rows and columns",
            )
        result = window.reach(elements) - sum(window.padding) + added
        if result < 1:
            raise ShapeError(
                f"a padding of {window.padding} along the {window.axis} leaves nothing of "
                f"{window.reach(elements)} elements",
                expected="less padding than the result has elements without it",
                hint="give a smaller padding",
            )
        found.append(result)
    return found[0], found[1]
