"""Convolution layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

from graphnn.nn import init
from graphnn.nn.arguments import at_least_one
from graphnn.nn.init import Initializer
from graphnn.nn.layer import Layer
from graphnn.ops.conv import conv2d
from graphnn.ops.conv1d import EndsLike, as_ends, as_length, conv1d
from graphnn.ops.conv_transpose import conv_transpose2d
from graphnn.ops.errors import GraphError
from graphnn.ops.node import Node
from graphnn.ops.shape import located
from graphnn.ops.source import caller
from graphnn.ops.window import PaddingLike, PairLike, as_padding, as_pair


class _Convolution(Layer):
    """What convolution layers share: channels in groups, a weight that connects them, a bias."""

    sizes: ClassVar[str] = "HW"
    """The axes that the kernel slides over, a letter each."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: Sequence[int],
        groups: int,
        bias: bool,
        weight_init: Initializer | None,
        bias_init: Initializer | None,
        name: str | None,
    ) -> None:
        super().__init__(name=name)
        layer = type(self).__name__
        self.in_channels = at_least_one(layer, "in_channels", in_channels)
        self.out_channels = at_least_one(layer, "out_channels", out_channels)
        self.groups = at_least_one(layer, "groups", groups)
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise GraphError(
                f"{layer}: {groups} groups do not divide the channels",
                expected="numbers of channels that are multiples of groups",
                actual=f"in_channels = {in_channels}, out_channels = {out_channels}",
                where=str(caller()),
            )
        self.bias = bias
        self.weight_shape = (*self._channels(), *(at_least_one(layer, "kernel_size", size) for size in kernel))
        bound = 1 / math.sqrt(math.prod(self.weight_shape[1:]))
        self.weight_init = weight_init or init.kaiming_uniform(a=math.sqrt(5))
        self.bias_init = bias_init or init.uniform(-bound, bound)

    def _channels(self) -> tuple[int, int]:
        """Return the sizes of the first two axes of the weight."""
        return self.out_channels, self.in_channels // self.groups

    def _parameters(self, x: Node) -> tuple[Node, Node | None]:
        """Return the weight and the bias, or raise a ShapeError if the layer can't take `x`."""
        if x.rank != len(self.weight_shape) or x.shape[1] != self.in_channels:
            expected = f"(N, C, {', '.join(self.sizes)}) with C = in_channels = {self.in_channels}"
            raise self._shape_error(x, expected, self._hint(x))
        weight = self.variable("weight", self.weight_shape, self.weight_init)
        return weight, self.variable("bias", (self.out_channels,), self.bias_init) if self.bias else None

    def _hint(self, x: Node) -> str:
        rank, sizes = len(self.weight_shape), ", ".join(self.sizes)
        if x.rank == rank and x.shape[-1] == self.in_channels:
            order = (0, rank - 1, *range(1, rank - 1))
            return f"channels come first: .transpose{order} turns (N, {sizes}, C) into (N, C, {sizes})"
        if x.rank == rank - 1 and self.in_channels == 1:
            return ".expand_dims(1) gives an input without channels the one that it needs"
        if x.rank == rank:
            return f"{type(self).__name__}(in_channels={x.shape[1]}, …) would take it"
        return f"reshape the input to (N, C, {sizes})"


class Conv2d(_Convolution):
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
        with located("Conv2d"):
            self.kernel_size = as_pair("kernel_size", kernel_size)
            self.stride = as_pair("stride", stride)
            self.dilation = as_pair("dilation", dilation)
            self.padding = padding if isinstance(padding, str) else as_padding(padding)
        super().__init__(in_channels, out_channels, self.kernel_size, groups, bias, weight_init, bias_init, name)

    def forward(self, x: Node) -> Node:
        """Return the convolution of the images with the layer's weight, plus its bias."""
        weight, bias = self._parameters(x)
        return conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)


class Conv1d(_Convolution):
    """Slide kernels along sequences and add a bias: (N, C, L) to (N, O, OL); see `ops.conv1d` for the formula.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and of the output.
    kernel_size, stride, dilation : int
        Size of the kernel, its step and the distance of its places.
    padding : int, (before, after), "same" or "valid"
        Zeros at the ends.
    groups, bias, weight_init, bias_init, name
        As in `Conv2d`.

    Variables
    ---------
    weight : (out_channels, in_channels / groups, K)
    bias : (out_channels,)

    Raises
    ------
    GraphError, ShapeError
        As in `Conv2d`.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph(seed=0) as graph:
    ...     y = gn.nn.Conv1d(4, 8, 5, padding=2)(gn.placeholder("x", (None, 4, 100)))
    >>> y.shape, graph["conv1d.weight"].shape
    ((N, 8, 100), (8, 4, 5))
    """

    sizes = "L"
    shown = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "bias")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: EndsLike | Literal["same", "valid"] = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        weight_init: Initializer | None = None,
        bias_init: Initializer | None = None,
        name: str | None = None,
    ) -> None:
        with located("Conv1d"):
            self.kernel_size = as_length("kernel_size", kernel_size)
            self.stride = as_length("stride", stride)
            self.dilation = as_length("dilation", dilation)
            self.padding = padding if isinstance(padding, str) else as_ends(padding)
        super().__init__(in_channels, out_channels, (self.kernel_size,), groups, bias, weight_init, bias_init, name)

    def forward(self, x: Node) -> Node:
        """Return the convolution of the sequences with the layer's weight, plus its bias."""
        weight, bias = self._parameters(x)
        return conv1d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)


class ConvTranspose2d(_Convolution):
    """Spread images over kernels and add a bias, which makes them larger; see `ops.conv_transpose2d` for the formula.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and of the output.
    kernel_size, stride, dilation : int or pair of int
        Size of the kernel, distance of the input's elements in the output, and distance of the kernel's places.
    padding : int, pair or ((top, bottom), (left, right))
        What is cut off from the output.
    output_padding : int or pair of int
        Rows added at the bottom and columns at the right, less than the stride.
    groups, bias, weight_init, bias_init, name
        As in `Conv2d`, but fan_in is PyTorch's here: out_channels / groups · KH · KW.

    Variables
    ---------
    weight : (in_channels, out_channels / groups, KH, KW)
    bias : (out_channels,)

    Raises
    ------
    GraphError, ShapeError
        As in `Conv2d`.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph(seed=0) as graph:
    ...     y = gn.nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1)(gn.placeholder("x", (None, 8, 7, 7)))
    >>> y.shape, graph["convtranspose2d.weight"].shape
    ((N, 3, 14, 14), (8, 3, 4, 4))
    """

    shown = (
        *("in_channels", "out_channels", "kernel_size", "stride"),
        *("padding", "output_padding", "groups", "bias", "dilation"),
    )

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: PairLike,
        stride: PairLike = 1,
        padding: PaddingLike = 0,
        output_padding: PairLike = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: PairLike = 1,
        *,
        weight_init: Initializer | None = None,
        bias_init: Initializer | None = None,
        name: str | None = None,
    ) -> None:
        with located("ConvTranspose2d"):
            self.kernel_size = as_pair("kernel_size", kernel_size)
            self.stride = as_pair("stride", stride)
            self.padding = as_padding(padding)
            self.output_padding = as_pair("output_padding", output_padding)
            self.dilation = as_pair("dilation", dilation)
        super().__init__(in_channels, out_channels, self.kernel_size, groups, bias, weight_init, bias_init, name)

    def _channels(self) -> tuple[int, int]:
        return self.in_channels, self.out_channels // self.groups

    def forward(self, x: Node) -> Node:
        """Return the transposed convolution of the images with the layer's weight, plus its bias."""
        weight, bias = self._parameters(x)
        return conv_transpose2d(
            x, weight, bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation
        )
