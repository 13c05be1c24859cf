"""Samples of transposed convolution."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphnn.ops import conv_transpose2d
from graphnn.ops.conv import Conv2dDataGradient
from graphnn.ops.window import Padding, Pair
from op_samples import Input, OpSample


def _spread(
    x: np.ndarray, weight: np.ndarray, stride: Pair, padding: Padding, extra: Pair, groups: int, dilation: Pair
) -> np.ndarray:
    """Add each element, weighted, to where the places of its kernel lie, then cut the padding off."""
    count, channels, height, width = x.shape
    outputs, kernel = weight.shape[1], weight.shape[2:]
    sizes = [
        (size - 1) * step + gap * (places - 1) + 1 + more
        for size, step, gap, places, more in zip((height, width), stride, dilation, kernel, extra, strict=True)
    ]
    full = np.zeros((count, outputs * groups, *sizes), x.dtype)
    for c, i, j, p, q in np.ndindex(channels, height, width, *kernel):
        first = c // (channels // groups) * outputs
        place = i * stride[0] + p * dilation[0], j * stride[1] + q * dilation[1]
        full[:, first : first + outputs, place[0], place[1]] += x[:, c, i, j, None] * weight[c, :, p, q]
    (top, bottom), (left, right) = padding
    return full[:, :, top : sizes[0] - bottom, left : sizes[1] - right]


def _sample(
    name: str,
    x: tuple[int | None, ...],
    weight: tuple[int, int, int, int],
    stride: Pair = (1, 1),
    padding: Padding = ((0, 0), (0, 0)),
    extra: Pair = (0, 0),
    groups: int = 1,
    dilation: Pair = (1, 1),
    bias: bool = False,
) -> OpSample:
    def in_torch(x: Any, weight: Any, bias: Any = None) -> object:
        from torch.nn import functional

        cut = [before for before, _ in padding]
        return functional.conv_transpose2d(x, weight, bias, stride, cut, extra, groups, dilation)

    def meaning(x: np.ndarray, weight: np.ndarray, *bias: np.ndarray) -> np.ndarray:
        y = _spread(x, weight, stride, padding, extra, groups, dilation)
        return y + bias[0][:, None, None] if bias else y

    symmetric = all(before == after for before, after in padding)
    biases = (Input((weight[1] * groups,)),) if bias else ()
    return OpSample(
        f"conv_transpose2d, {name}",
        Conv2dDataGradient,
        (Input(x), Input(weight), *biases),
        lambda x, weight, bias=None: conv_transpose2d(x, weight, bias, stride, padding, extra, groups, dilation),
        meaning,
        in_torch if symmetric else None,
    )


SAMPLES = [
    _sample("nothing square", (None, 2, 3, 4), (2, 3, 3, 2)),
    _sample("kernel 1", (None, 3, 2, 2), (3, 2, 1, 1)),
    _sample("one element", (None, 2, 1, 1), (2, 3, 4, 3)),
    _sample("twice the size", (None, 2, 3, 4), (2, 2, 4, 4), (2, 2), ((1, 1), (1, 1))),
    _sample("stride wider than the kernel", (None, 2, 3, 2), (2, 1, 2, 1), (3, 4)),
    _sample("output padding", (None, 2, 3, 4), (2, 2, 3, 3), (2, 3), ((1, 1), (0, 0)), (1, 2)),
    _sample("asymmetric padding", (None, 1, 4, 3), (1, 2, 3, 3), (1, 2), ((1, 0), (0, 2))),
    _sample("dilation", (None, 2, 3, 3), (2, 2, 2, 3), (1, 1), ((1, 1), (2, 2)), (0, 0), 1, (3, 2)),
    _sample("two groups", (None, 4, 3, 2), (4, 3, 2, 2), (2, 1), groups=2),
    _sample("depthwise", (None, 3, 3, 3), (3, 1, 3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), groups=3),
    _sample("bias", (None, 2, 3, 3), (2, 2, 2, 2), (2, 2), bias=True),
    _sample("bias and groups", (2, 2, 2, 3), (2, 2, 2, 2), groups=2, bias=True),
]
