"""Convolution and pooling along one axis: the two-dimensional ops on images of one row."""

from __future__ import annotations

from collections.abc import Iterable
from operator import index
from typing import Literal

from graphnn.ops.avg_pool import avg_pool2d
from graphnn.ops.conv import conv2d
from graphnn.ops.errors import ShapeError
from graphnn.ops.max_pool import max_pool2d
from graphnn.ops.node import Node
from graphnn.ops.shape import expand_dims, located, squeeze
from graphnn.ops.window import Padding

EndsLike = int | Iterable[int]
"""Padding along one axis: a number for both ends, or one before and one after."""


def as_ends(value: EndsLike) -> tuple[int, int]:
    """Return the padding before and after.

    Examples
    --------
    >>> as_ends(1), as_ends((0, 2))
    ((1, 1), (0, 2))
    """
    given = tuple(value) if isinstance(value, Iterable) else (value, value)
    try:
        before, after = map(index, given)
    except (TypeError, ValueError):
        raise ShapeError(
            f"the padding is {value!r}",
            expected="an integer, or a pair (before, after)",
            hint="give one number for both ends, such as 1",
        ) from None
    return before, after


def as_length(name: str, value: int) -> int:
    """Return a number along the one axis, or raise a ShapeError.

    Examples
    --------
    >>> as_length("stride", 2)
    2
    """
    try:
        return index(value)
    except TypeError:
        raise ShapeError(
            f"the {name} is {value!r}", expected="an integer", hint="there is only one axis to give it for"
        ) from None


def conv1d(
    x: Node,
    weight: Node,
    bias: Node | None = None,
    stride: int = 1,
    padding: EndsLike | Literal["same", "valid"] = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Node:
    """Slide a kernel along sequences and sum what it covers, weighted, for each output channel (ONNX Conv).

    ::

        y[n, o, i] = bias[o] + sum over c, p of weight[o, c, p] · x[n, c, stride · i + dilation · p - before]

    It is `conv2d` on images of height 1.

    Parameters
    ----------
    x : Node of shape (N, C, L)
    weight : Node of shape (O, C / groups, K)
    bias : Node of shape (O,), optional
    stride, dilation : int
        Step of the kernel, and distance of its places.
    padding : int, (before, after), "same" or "valid"
        Zeros at the ends, as in `conv2d`.
    groups : int
        Parts into which the channels are split.

    Returns
    -------
    Node of shape (N, O, OL)
        ``OL = (L + before + after - dilation · (K - 1) - 1) // stride + 1``.

    Raises
    ------
    ShapeError, DTypeError
        As in `conv2d`, where the length is the width.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     x = gn.placeholder("x", (None, 4, 100))
    ...     weight = gn.variable("weight", np.zeros((8, 4, 5), np.float32))
    ...     gn.ops.conv1d(x, weight, stride=2, padding=2).shape
    (N, 8, 50)
    """
    with located("conv1d", x, weight):
        rows = _as_rows("x", x)
        kernels = _as_rows("weight", weight)
        pads = padding if isinstance(padding, str) else _row_padding(padding)
        steps, gaps = (1, as_length("stride", stride)), (1, as_length("dilation", dilation))
        return squeeze(conv2d(rows, kernels, bias, steps, pads, gaps, groups), 2)


def max_pool1d(
    x: Node,
    kernel_size: int,
    stride: int | None = None,
    padding: EndsLike = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
) -> Node:
    """Take the largest value of each window of sequences: `max_pool2d` on images of height 1.

    Parameters
    ----------
    x : Node of shape (N, C, L)
    kernel_size, stride, dilation : int
        Size of the window, its step (by default its size) and the distance of its places.
    padding : int or (before, after)
        At most half of the kernel size; it never wins.
    ceil_mode : bool
        As in `max_pool2d`.

    Returns
    -------
    Node of shape (N, C, OL)

    Raises
    ------
    ShapeError, DTypeError
        As in `max_pool2d`, where the length is the width.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     y = gn.ops.max_pool1d(gn.constant([[[1.0, 3.0, 2.0, 5.0]]]), 2)
    >>> gn.Executor(y, device="numpy").run()
    array([[[3., 5.]]], dtype=float32)
    """
    with located("max_pool1d", x):
        window = as_length("kernel_size", kernel_size)
        steps = (1, window if stride is None else as_length("stride", stride))
        gaps = (1, as_length("dilation", dilation))
        pooled = max_pool2d(_as_rows("x", x), (1, window), steps, _row_padding(padding), gaps, ceil_mode)
        return squeeze(pooled, 2)


def avg_pool1d(
    x: Node,
    kernel_size: int,
    stride: int | None = None,
    padding: EndsLike = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Node:
    """Take the mean of each window of sequences: `avg_pool2d` on images of height 1.

    Parameters
    ----------
    x : Node of shape (N, C, L)
    kernel_size, stride, padding, ceil_mode
        As in `max_pool1d`.
    count_include_pad : bool
        Whether zeros of the padding count in the mean.

    Returns
    -------
    Node of shape (N, C, OL)

    Raises
    ------
    ShapeError, DTypeError
        As in `avg_pool2d`, where the length is the width.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     y = gn.ops.avg_pool1d(gn.constant([[[1.0, 3.0, 2.0, 5.0]]]), 2)
    >>> gn.Executor(y, device="numpy").run()
    array([[[2. , 3.5]]], dtype=float32)
    """
    with located("avg_pool1d", x):
        window = as_length("kernel_size", kernel_size)
        steps = (1, window if stride is None else as_length("stride", stride))
        pooled = avg_pool2d(_as_rows("x", x), (1, window), steps, _row_padding(padding), ceil_mode, count_include_pad)
        return squeeze(pooled, 2)


def _as_rows(name: str, sequences: Node) -> Node:
    """Return sequences (N, C, L) as images of height 1."""
    if sequences.rank != 3:
        raise ShapeError(
            f"{name} has {sequences.rank} axes",
            expected="x (N, C, L), and a weight (O, C / groups, K)",
            hint=f"{name}.expand_dims(1) adds an axis of channels" if sequences.rank == 2 else f"reshape {name} first",
        )
    return expand_dims(sequences, 2)


def _row_padding(padding: EndsLike) -> Padding:
    return (0, 0), as_ends(padding)
