"""Pooling layers."""

from __future__ import annotations

from graphnn.nn.layer import Layer
from graphnn.ops.avg_pool import avg_pool2d
from graphnn.ops.conv1d import EndsLike, as_ends, as_length, avg_pool1d, max_pool1d
from graphnn.ops.max_pool import max_pool2d
from graphnn.ops.node import Node
from graphnn.ops.shape import located
from graphnn.ops.window import PaddingLike, PairLike, as_padding, as_pair


class MaxPool2d(Layer):
    """Largest value of each window of images; see `ops.max_pool2d`.

    Parameters
    ----------
    kernel_size, stride, dilation : int or pair of int
        Size of the window, its step (by default its size) and the distance of its places, along height and width.
    padding : int, pair or ((top, bottom), (left, right))
        At most half of the kernel size; it never wins.
    ceil_mode : bool
        Whether a last window may stick out of the padded images.
    name : str, optional
        Scope to use instead of the attribute's name or the key.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     gn.nn.MaxPool2d(2)(gn.placeholder("x", (None, 6, 28, 28))).shape
    (N, 6, 14, 14)
    """

    shown = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")

    def __init__(
        self,
        kernel_size: PairLike,
        stride: PairLike | None = None,
        padding: PaddingLike = 0,
        dilation: PairLike = 1,
        ceil_mode: bool = False,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        with located("MaxPool2d"):
            self.kernel_size = as_pair("kernel_size", kernel_size)
            self.stride = self.kernel_size if stride is None else as_pair("stride", stride)
            self.padding = as_padding(padding)
            self.dilation = as_pair("dilation", dilation)
        self.ceil_mode = ceil_mode

    def forward(self, x: Node) -> Node:
        """Return the largest value of each window."""
        return max_pool2d(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)


class AvgPool2d(Layer):
    """Mean of each window of images; see `ops.avg_pool2d`.

    Parameters
    ----------
    kernel_size, stride : int or pair of int
        Size of the window and its step (by default its size), along height and width.
    padding : int, pair or ((top, bottom), (left, right))
        Zeros around the images; at most half of the kernel size.
    ceil_mode : bool
        Whether a last window may stick out of the padded images.
    count_include_pad : bool
        Whether zeros of the padding count in the mean.
    name : str, optional
        Scope to use instead of the attribute's name or the key.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     gn.nn.AvgPool2d(2)(gn.placeholder("x", (None, 6, 28, 28))).shape
    (N, 6, 14, 14)
    """

    shown = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")

    def __init__(
        self,
        kernel_size: PairLike,
        stride: PairLike | None = None,
        padding: PaddingLike = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        with located("AvgPool2d"):
            self.kernel_size = as_pair("kernel_size", kernel_size)
            self.stride = self.kernel_size if stride is None else as_pair("stride", stride)
            self.padding = as_padding(padding)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, x: Node) -> Node:
        """Return the mean of each window."""
        return avg_pool2d(x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)


class MaxPool1d(Layer):
    """Largest value of each window of sequences; see `ops.max_pool1d`.

    Parameters
    ----------
    kernel_size, stride, dilation : int
        Size of the window, its step (by default its size) and the distance of its places.
    padding : int or (before, after)
        At most half of the kernel size; it never wins.
    ceil_mode : bool
        Whether a last window may stick out of the padded sequences.
    name : str, optional
        Scope to use instead of the attribute's name or the key.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     gn.nn.MaxPool1d(2)(gn.placeholder("x", (None, 6, 28))).shape
    (N, 6, 14)
    """

    shown = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")

    def __init__(
        self,
        kernel_size: int,
        stride: int | None = None,
        padding: EndsLike = 0,
        dilation: int = 1,
        ceil_mode: bool = False,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        with located("MaxPool1d"):
            self.kernel_size = as_length("kernel_size", kernel_size)
            self.stride = self.kernel_size if stride is None else as_length("stride", stride)
            self.padding = as_ends(padding)
            self.dilation = as_length("dilation", dilation)
        self.ceil_mode = ceil_mode

    def forward(self, x: Node) -> Node:
        """Return the largest value of each window."""
        return max_pool1d(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)


class AvgPool1d(Layer):
    """Mean of each window of sequences; see `ops.avg_pool1d`.

    Parameters
    ----------
    kernel_size, stride : int
        Size of the window and its step (by default its size).
    padding : int or (before, after)
        Zeros at the ends; at most half of the kernel size.
    ceil_mode : bool
        Whether a last window may stick out of the padded sequences.
    count_include_pad : bool
        Whether zeros of the padding count in the mean.
    name : str, optional
        Scope to use instead of the attribute's name or the key.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     gn.nn.AvgPool1d(2)(gn.placeholder("x", (None, 6, 28))).shape
    (N, 6, 14)
    """

    shown = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")

    def __init__(
        self,
        kernel_size: int,
        stride: int | None = None,
        padding: EndsLike = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        with located("AvgPool1d"):
            self.kernel_size = as_length("kernel_size", kernel_size)
            self.stride = self.kernel_size if stride is None else as_length("stride", stride)
            self.padding = as_ends(padding)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, x: Node) -> Node:
        """Return the mean of each window."""
        return avg_pool1d(x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)
