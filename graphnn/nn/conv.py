"""Convolution layers."""

from __future__ import annotations

import math
from typing import Literal

from graphnn.nn import init
from graphnn.nn.arguments import at_least_one
from graphnn.nn.init import Initializer
from graphnn.nn.layer import Layer
from graphnn.ops.conv import conv2d
from graphnn.ops.errors import GraphError
from graphnn.ops.node import Node
from graphnn.ops.shape import located
from graphnn.ops.source import caller
from graphnn.ops.window import PaddingLike, PairLike, as_padding, as_pair


class Conv2d(Layer):
    """Slide kernels over images and add a bias: (N, C, H, W) to (N, O, OH, OW); see `ops.conv2d` for the formula.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and of the output.
    kernel_size, stride, dilation : int or pair of int
        Size of the kernel, its step and the distance of its places, along height and width.
    padding : int, pair, ((top, bottom), (left, right)), "same" or "valid"
        Zeros around the images.
    groups : int
        Parts into which the channels are split; it divides both numbers of channels.
    bias : bool
        Whether to add a bias.
    weight_init, bias_init : callable, optional
        Initial values, see `graphnn.nn.init`. By default PyTorch's: both uniform in ±1 / sqrt(fan_in), where fan_in is
        the number of input elements that one output sees.
    name : str, optional
        Scope to use instead of the attribute's name or the key.

    Variables
    ---------
    weight : (out_channels, in_channels / groups, KH, KW)
    bias : (out_channels,)

    Raises
    ------
    GraphError
        For sizes that are not positive, or channels that the groups don't divide.
    ShapeError
        At the call, if the input is not (N, in_channels, H, W).

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph(seed=0) as graph:
    ...     y = gn.nn.Conv2d(1, 6, 5, padding=2)(gn.placeholder("x", (None, 1, 28, 28)))
    >>> y.shape, graph["conv2d.weight"].shape
    ((N, 6, 28, 28), (6, 1, 5, 5))
    """

    shown = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "bias")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: PairLike,
        stride: PairLike = 1,
        padding: PaddingLike | Literal["same", "valid"] = 0,
        dilation: PairLike = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        weight_init: Initializer | None = None,
        bias_init: Initializer | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.in_channels = at_least_one("Conv2d", "in_channels", in_channels)
        self.out_channels = at_least_one("Conv2d", "out_channels", out_channels)
        self.groups = at_least_one("Conv2d", "groups", groups)
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise GraphError(
                f"Conv2d: {groups} groups do not divide the channels",
                expected="numbers of channels that are multiples of groups",
                actual=f"in_channels = {in_channels}, out_channels = {out_channels}",
                where=str(caller()),
            )
        with located("Conv2d"):
            self.kernel_size = as_pair("kernel_size", kernel_size)
            self.stride = as_pair("stride", stride)
            self.dilation = as_pair("dilation", dilation)
            self.padding = padding if isinstance(padding, str) else as_padding(padding)
        self.bias = bias
        height, width = (at_least_one("Conv2d", "kernel_size", size) for size in self.kernel_size)
        bound = 1 / math.sqrt(self.in_channels // self.groups * height * width)
        self.weight_init = weight_init or init.kaiming_uniform(a=math.sqrt(5))
        self.bias_init = bias_init or init.uniform(-bound, bound)

    def forward(self, x: Node) -> Node:
        """Return the convolution of the images with the layer's weight, plus its bias."""
        if x.rank != 4 or x.shape[1] != self.in_channels:
            raise self._shape_error(x, f"(N, C, H, W) with C = in_channels = {self.in_channels}", self._hint(x))
        shape = (self.out_channels, self.in_channels // self.groups, *self.kernel_size)
        weight = self.variable("weight", shape, self.weight_init)
        bias = self.variable("bias", shape[:1], self.bias_init) if self.bias else None
        return conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def _hint(self, x: Node) -> str:
        if x.rank == 4 and x.shape[3] == self.in_channels:
            return "channels come first: .transpose(0, 3, 1, 2) turns (N, H, W, C) into (N, C, H, W)"
        if x.rank == 3 and self.in_channels == 1:
            return ".expand_dims(1) gives images without channels the one that they need"
        if x.rank == 4:
            return f"Conv2d(in_channels={x.shape[1]}, …) would take it"
        return "reshape the input to (N, C, H, W)"
