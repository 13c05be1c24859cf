"""Samples of convolution and of its two gradients, all three from one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from graphnn.ops.context import apply
from graphnn.ops.conv import Conv2d, Conv2dDataGradient, Conv2dWeightGradient, conv2d
from graphnn.ops.node import Node
from graphnn.ops.window import Padding, Pair
from op_samples import BATCH, Input, OpSample

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Case:
    """One convolution: shapes and attributes."""

    name: str
    x: Shape
    weight: tuple[int, int, int, int]
    stride: Pair = (1, 1)
    padding: Padding = ((0, 0), (0, 0))
    dilation: Pair = (1, 1)
    groups: int = 1

    @property
    def attributes(self) -> tuple[Pair, Padding, Pair, int]:
        return self.stride, self.padding, self.dilation, self.groups

    @property
    def bound(self) -> tuple[int, ...]:
        """The shape of x at the samples' batch size."""
        return tuple(BATCH if size is None else size for size in self.x)

    @property
    def y(self) -> Shape:
        """The shape of the result: windows are counted one by one until the next one does not fit."""
        counts = []
        for axis in (0, 1):
            span = self.dilation[axis] * (self.weight[2 + axis] - 1) + 1
            starts = range(0, self.bound[2 + axis] + sum(self.padding[axis]) - span + 1, self.stride[axis])
            counts.append(len(starts))
        return self.x[0], self.weight[0], *counts

    def terms(self) -> list[tuple[int, slice, Pair, Pair, Pair]]:
        """Return (o, channels of its group, place in y, place in the kernel, place in x) of every product."""
        outputs, channels, kernel_height, kernel_width = self.weight
        group = outputs // self.groups
        found = []
        for o, i, j, p, q in np.ndindex(outputs, self.y[2] or 0, self.y[3] or 0, kernel_height, kernel_width):
            row = i * self.stride[0] + p * self.dilation[0] - self.padding[0][0]
            column = j * self.stride[1] + q * self.dilation[1] - self.padding[1][0]
            if 0 <= row < self.bound[2] and 0 <= column < self.bound[3]:
                start = o // group * channels
                found.append((o, slice(start, start + channels), (i, j), (p, q), (row, column)))
        return found

    # The meaning of the three ops, by one sum over all products.

    def convolve(self, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        y = np.zeros((len(x), *(size or 0 for size in self.y[1:])), x.dtype)
        for o, channels, (i, j), (p, q), (row, column) in self.terms():
            y[:, o, i, j] += (x[:, channels, row, column] * weight[o, :, p, q]).sum(axis=1)
        return y

    def data_gradient(self, dy: np.ndarray, weight: np.ndarray) -> np.ndarray:
        dx = np.zeros((len(dy), *self.bound[1:]), dy.dtype)
        for o, channels, (i, j), (p, q), (row, column) in self.terms():
            dx[:, channels, row, column] += dy[:, o, i, j, None] * weight[o, :, p, q]
        return dx

    def weight_gradient(self, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
        dw = np.zeros(self.weight, x.dtype)
        for o, channels, (i, j), (p, q), (row, column) in self.terms():
            dw[o, :, p, q] += (x[:, channels, row, column] * dy[:, o, i, j, None]).sum(axis=0)
        return dw

    # PyTorch, which pads both ends alike: here the padding is an op of its own.

    def pad_in_torch(self, x: Any) -> Any:
        from torch.nn import functional

        return functional.pad(x, (*self.padding[1], *self.padding[0]))

    def convolve_in_torch(self, x: Any, weight: Any) -> Any:
        from torch.nn import functional

        return functional.conv2d(self.pad_in_torch(x), weight, None, self.stride, 0, self.dilation, self.groups)

    def data_gradient_in_torch(self, dy: Any, weight: Any) -> Any:
        import torch

        (top, bottom), (left, right) = self.padding
        height, width = self.bound[2] + top + bottom, self.bound[3] + left + right
        padded: Any = torch.nn.grad.conv2d_input(
            (len(dy), self.bound[1], height, width), weight, dy, self.stride, 0, self.dilation, self.groups
        )
        return padded[:, :, top : height - bottom, left : width - right]

    def weight_gradient_in_torch(self, x: Any, dy: Any) -> Any:
        import torch

        padded = self.pad_in_torch(x)
        return torch.nn.grad.conv2d_weight(padded, self.weight, dy, self.stride, 0, self.dilation, self.groups)

    def samples(self) -> list[OpSample]:
        """Return a sample of each of the three ops."""
        x, weight, y = Input(self.x), Input(self.weight), Input(self.y)
        size, kernel = self.bound[2:], self.weight[2:]

        def data_gradient(dy: Node, weight: Node) -> Node:
            return apply(Conv2dDataGradient(*self.attributes, (size[0], size[1])), dy, weight)

        def weight_gradient(x: Node, dy: Node) -> Node:
            return apply(Conv2dWeightGradient(*self.attributes, kernel), x, dy)

        return [
            OpSample(
                f"conv2d, {self.name}",
                Conv2d,
                (x, weight),
                lambda x, weight: conv2d(x, weight, None, *self.attributes),
                self.convolve,
                self.convolve_in_torch,
            ),
            OpSample(
                f"conv2d_data_gradient, {self.name}",
                Conv2dDataGradient,
                (y, weight),
                data_gradient,
                self.data_gradient,
                self.data_gradient_in_torch,
            ),
            OpSample(
                f"conv2d_weight_gradient, {self.name}",
                Conv2dWeightGradient,
                (x, y),
                weight_gradient,
                self.weight_gradient,
                self.weight_gradient_in_torch,
            ),
        ]


CASES = [
    Case("kernel 1", (None, 3, 4, 5), (2, 3, 1, 1)),
    Case("nothing square", (None, 2, 5, 7), (3, 2, 3, 2)),
    Case("a fixed number of images", (2, 2, 4, 3), (3, 2, 2, 2)),
    Case("one image of one row", (1, 1, 1, 6), (2, 1, 1, 3)),
    Case("padding", (None, 2, 4, 5), (2, 2, 3, 5), padding=((1, 1), (2, 2))),
    Case("asymmetric padding", (None, 2, 4, 5), (2, 2, 2, 3), padding=((1, 0), (0, 2))),
    Case("padding wider than the kernel", (None, 1, 3, 2), (2, 1, 2, 1), padding=((3, 0), (1, 2))),
    Case("stride 2, odd size", (None, 2, 7, 5), (3, 2, 3, 3), stride=(2, 2), padding=((1, 1), (1, 1))),
    Case("stride 2, a last row and column unseen", (None, 1, 6, 8), (2, 1, 3, 3), stride=(2, 2)),
    Case("stride wider than the kernel", (None, 2, 7, 9), (2, 2, 2, 1), stride=(3, 4)),
    Case("dilation", (None, 2, 6, 7), (2, 2, 3, 2), dilation=(2, 3)),
    Case(
        "stride, dilation and padding",
        (None, 2, 8, 9),
        (2, 2, 3, 2),
        stride=(2, 3),
        padding=((0, 2), (1, 0)),
        dilation=(2, 2),
    ),
    Case("kernel of the size of the image", (None, 2, 3, 4), (3, 2, 3, 4)),
    Case("kernel larger than the image", (None, 1, 2, 3), (2, 1, 4, 5), padding=((1, 1), (1, 2))),
    Case("two groups", (None, 4, 4, 5), (6, 2, 2, 3), padding=((1, 1), (0, 0)), groups=2),
    Case("two groups, stride 2", (None, 4, 5, 5), (2, 2, 3, 3), stride=(2, 2), groups=2),
    Case("depthwise", (None, 3, 4, 5), (3, 1, 3, 2), padding=((1, 1), (1, 0)), groups=3),
    Case("depthwise, two outputs a channel", (None, 2, 4, 5), (4, 1, 2, 2), dilation=(2, 1), groups=2),
]


def _conv2d_in_torch(**options: Any) -> Any:
    def call(x: Any, weight: Any, bias: Any = None) -> Any:
        from torch.nn import functional

        return functional.conv2d(x, weight, bias, **options)

    return call


# What only the function does: bias, and the other ways to give the padding.
ODD_SAME = Case("", (None, 2, 5, 6), (3, 2, 3, 5), padding=((1, 1), (2, 2)))
EVEN_SAME = Case("", (None, 2, 6, 7), (3, 2, 4, 2), padding=((1, 2), (1, 2)), dilation=(1, 3))
BIASED = Case("", (None, 2, 5, 6), (3, 2, 2, 3), stride=(2, 1), padding=((1, 1), (0, 0)))

SAMPLES = [
    *(sample for case in CASES for sample in case.samples()),
    OpSample(
        "conv2d, padding same, odd kernel",
        Conv2d,
        (Input(ODD_SAME.x), Input(ODD_SAME.weight)),
        lambda x, weight: conv2d(x, weight, padding="same"),
        ODD_SAME.convolve,
        _conv2d_in_torch(padding="same"),
    ),
    OpSample(
        "conv2d, padding same, even kernel with dilation",
        Conv2d,
        (Input(EVEN_SAME.x), Input(EVEN_SAME.weight)),
        lambda x, weight: conv2d(x, weight, padding="same", dilation=(1, 3)),
        EVEN_SAME.convolve,
        EVEN_SAME.convolve_in_torch,  # PyTorch's own "same" warns about such a kernel
    ),
    OpSample(
        "conv2d, padding valid",
        Conv2d,
        (Input(CASES[1].x), Input(CASES[1].weight)),
        lambda x, weight: conv2d(x, weight, padding="valid"),
        CASES[1].convolve,
        _conv2d_in_torch(padding="valid"),
    ),
    OpSample(
        "conv2d, bias",
        Conv2d,
        (Input(BIASED.x), Input(BIASED.weight), Input((3,))),
        lambda x, weight, bias: conv2d(x, weight, bias, stride=(2, 1), padding=(1, 0)),
        lambda x, weight, bias: BIASED.convolve(x, weight) + bias[:, None, None],
        _conv2d_in_torch(stride=(2, 1), padding=(1, 0)),
    ),
]
