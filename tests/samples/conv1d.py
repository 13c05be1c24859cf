"""Samples of convolution and pooling along one axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphnn.ops import avg_pool1d, conv1d, max_pool1d
from graphnn.ops.avg_pool import AvgPool2d
from graphnn.ops.conv import Conv2d
from graphnn.ops.max_pool import MaxPool2d
from op_samples import Input, OpSample


def _convolved(
    x: np.ndarray, weight: np.ndarray, stride: int, ends: tuple[int, int], dilation: int, groups: int
) -> np.ndarray:
    count, _, length = x.shape
    outputs, channels, places = weight.shape
    starts = range(-ends[0], length + ends[1] - dilation * (places - 1), stride)
    y = np.zeros((count, outputs, len(starts)), x.dtype)
    for o, (i, start), p in ((o, pair, p) for o in range(outputs) for pair in enumerate(starts) for p in range(places)):
        first = o // (outputs // groups) * channels
        position = start + dilation * p
        if 0 <= position < length:
            y[:, o, i] += (x[:, first : first + channels, position] * weight[o, :, p]).sum(axis=1)
    return y


def _conv_sample(
    name: str,
    x: tuple[int | None, ...],
    weight: tuple[int, int, int],
    stride: int = 1,
    padding: Any = 0,
    dilation: int = 1,
    groups: int = 1,
    *,
    ends: tuple[int, int] | None = None,
    bias: bool = False,
) -> OpSample:
    before_after = (padding, padding) if ends is None else ends

    def in_torch(x: Any, weight: Any, bias: Any = None) -> object:
        from torch.nn import functional

        return functional.conv1d(x, weight, bias, stride, padding, dilation, groups)

    def meaning(x: np.ndarray, weight: np.ndarray, *bias: np.ndarray) -> np.ndarray:
        y = _convolved(x, weight, stride, before_after, dilation, groups)
        return y + bias[0][:, None] if bias else y

    return OpSample(
        f"conv1d, {name}",
        Conv2d,
        (Input(x), Input(weight), *((Input((weight[0],)),) if bias else ())),
        lambda x, weight, bias=None: conv1d(x, weight, bias, stride, padding, dilation, groups),
        meaning,
        None if isinstance(padding, tuple) else in_torch,
    )


CONV = [
    _conv_sample("plain", (None, 2, 6), (3, 2, 3)),
    _conv_sample("bias", (None, 3, 5), (2, 3, 2), bias=True),
    _conv_sample("kernel 1", (2, 3, 4), (2, 3, 1)),
    _conv_sample("stride and padding", (None, 2, 7), (3, 2, 3), 2, 1),
    _conv_sample("causal, dilated", (None, 1, 6), (2, 1, 3), 1, (4, 0), 2, ends=(4, 0)),
    _conv_sample("padding same", (None, 2, 6), (2, 2, 3), 1, "same", ends=(1, 1)),
    _conv_sample("padding valid", (None, 2, 6), (2, 2, 4), 1, "valid", ends=(0, 0)),
    _conv_sample("two groups", (None, 4, 5), (6, 2, 2), 1, 1, groups=2),
]


def _windows(
    x: np.ndarray, kernel: int, stride: int, ends: tuple[int, int], dilation: int, ceil_mode: bool
) -> list[list[int]]:
    """Return the positions of each window, with those outside of the sequence."""
    length = x.shape[2]
    span = dilation * (kernel - 1) + 1
    found: list[list[int]] = []
    start = -ends[0]
    while start + span <= length + ends[1] or (
        ceil_mode and start < length and start + span - stride < length + ends[1]
    ):
        found.append([start + dilation * p for p in range(kernel)])
        start += stride
    return found


def _pooled(x: np.ndarray, windows: list[list[int]], function: Callable[[np.ndarray, list[int]], Any]) -> np.ndarray:
    result = np.empty((*x.shape[:2], len(windows)), x.dtype)
    for n, c, (i, window) in ((n, c, pair) for n, c in np.ndindex(*x.shape[:2]) for pair in enumerate(windows)):
        inside = [position for position in window if 0 <= position < x.shape[2]]
        result[n, c, i] = function(x[n, c, inside], window)
    return result


def _max_sample(
    name: str,
    x: Input,
    kernel: int,
    stride: int | None = None,
    padding: int = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
) -> OpSample:
    def in_torch(x: Any) -> object:
        from torch.nn import functional

        return functional.max_pool1d(x, kernel, stride, padding, dilation, ceil_mode)

    def meaning(x: np.ndarray) -> np.ndarray:
        found = _windows(x, kernel, stride or kernel, (padding, padding), dilation, ceil_mode)
        return _pooled(x, found, lambda values, _: values.max())

    differentiable = x.dtype == "float32"
    return OpSample(
        f"max_pool1d, {name}",
        MaxPool2d,
        (x,),
        lambda x: max_pool1d(x, kernel, stride, padding, dilation, ceil_mode),
        meaning,
        in_torch if differentiable else None,
        gradient=differentiable,
        second_gradient=differentiable,
    )


def _avg_sample(
    name: str,
    x: tuple[int | None, ...],
    kernel: int,
    stride: int | None = None,
    padding: int = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> OpSample:
    def in_torch(x: Any) -> object:
        from torch.nn import functional

        return functional.avg_pool1d(x, kernel, stride, padding, ceil_mode, count_include_pad)

    def meaning(x: np.ndarray) -> np.ndarray:
        def mean(values: np.ndarray, window: list[int]) -> Any:
            padded = [position for position in window if position < x.shape[2] + padding]
            return values.sum() / (len(padded) if count_include_pad else len(values))

        return _pooled(x, _windows(x, kernel, stride or kernel, (padding, padding), 1, ceil_mode), mean)

    return OpSample(
        f"avg_pool1d, {name}",
        AvgPool2d,
        (Input(x),),
        lambda x: avg_pool1d(x, kernel, stride, padding, ceil_mode, count_include_pad),
        meaning,
        in_torch,
    )


POOL = [
    _max_sample("pairs", Input((None, 2, 6)), 2),
    _max_sample("overlapping, padded", Input((None, 2, 5)), 3, 1, 1),
    _max_sample("dilation", Input((None, 1, 7)), 2, 2, 0, 3),
    _max_sample("a last window that sticks out", Input((2, 2, 5)), 2, ceil_mode=True),
    _max_sample("integers", Input((None, 2, 6), "int32"), 3),
    _avg_sample("pairs", (None, 2, 6), 2),
    _avg_sample("overlapping, padded", (None, 2, 5), 3, 1, 1),
    _avg_sample("padding not counted", (None, 2, 5), 3, 2, 1, count_include_pad=False),
    _avg_sample("a last window that sticks out", (2, 2, 5), 2, ceil_mode=True),
    _avg_sample("a last window beyond the padding", (None, 1, 6), 4, 3, 1, ceil_mode=True),
]

SAMPLES = [*CONV, *POOL]
