"""Samples of max-pooling and average pooling, and of the ops that their gradients are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from graphnn.ops.avg_pool import AvgPool2d, AvgPool2dGradient, avg_pool2d, global_avg_pool2d
from graphnn.ops.context import apply
from graphnn.ops.max_pool import (
    MaxPool2d,
    MaxPool2dGather,
    MaxPool2dGradient,
    MaxPool2dIndices,
    global_max_pool2d,
    max_pool2d,
)
from graphnn.ops.reduce import Max, Sum
from graphnn.ops.window import Padding, Pair
from op_samples import Input, OpSample

Shape = tuple[int | None, ...]
Places = list[tuple[int, Pair]]


def distinct(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers around 0, no two of them close to each other, so that a small change leaves their order."""
    size = int(np.prod(shape))
    return (generator.permutation(size).reshape(shape) - size / 2 + 0.25) / 8


@dataclass(frozen=True)
class Case:
    """One pooling: the images' shape and the attributes."""

    name: str
    x: Shape
    kernel: Pair
    stride: Pair
    padding: Padding = ((0, 0), (0, 0))
    ceil_mode: bool = False
    dilation: Pair = (1, 1)
    count_include_pad: bool = True

    @property
    def size(self) -> Pair:
        height, width = self.x[2:]
        assert height is not None
        assert width is not None
        return height, width

    def starts(self, axis: int) -> list[int]:
        """Return where the windows start along an axis: one by one, while the next one is allowed."""
        before, after = self.padding[axis]
        span, end = self.dilation[axis] * (self.kernel[axis] - 1) + 1, self.size[axis] + after
        found = [-before]
        while True:
            start = found[-1] + self.stride[axis]
            fits = start + span <= end
            sticks_out = self.ceil_mode and found[-1] + span < end and start < self.size[axis]
            if not (fits or sticks_out):
                return found
            found.append(start)

    @property
    def y(self) -> Shape:
        return *self.x[:2], len(self.starts(0)), len(self.starts(1))

    def windows(self) -> Iterator[tuple[int, int, Places]]:
        """Give each place in y with its places in x, each with its number in the window, those outside left out."""
        for i, row in enumerate(self.starts(0)):
            for j, column in enumerate(self.starts(1)):
                places = []
                for number, (p, q) in enumerate(np.ndindex(self.kernel)):
                    place = row + p * self.dilation[0], column + q * self.dilation[1]
                    if 0 <= place[0] < self.size[0] and 0 <= place[1] < self.size[1]:
                        places.append((number, place))
                yield i, j, places

    def empty(self, like: np.ndarray, dtype: Any = None) -> np.ndarray:
        return np.zeros((*like.shape[:2], len(self.starts(0)), len(self.starts(1))), dtype or like.dtype)

    # The largest value.

    @property
    def max_attributes(self) -> tuple[Pair, Pair, Padding, bool, Pair]:
        return self.kernel, self.stride, self.padding, self.ceil_mode, self.dilation

    def largest(self, x: np.ndarray) -> np.ndarray:
        y = self.empty(x)
        for i, j, places in self.windows():
            y[:, :, i, j] = np.max([x[:, :, row, column] for _, (row, column) in places], axis=0)
        return y

    def indices(self, x: np.ndarray) -> np.ndarray:
        found = self.empty(x, np.uint8 if self.kernel[0] * self.kernel[1] <= 256 else np.int32)
        for i, j, places in self.windows():
            numbers = np.array([number for number, _ in places])
            found[:, :, i, j] = numbers[np.argmax([x[:, :, row, column] for _, (row, column) in places], axis=0)]
        return found

    def scattered(self, dy: np.ndarray, indices: np.ndarray) -> np.ndarray:
        dx = np.zeros((*dy.shape[:2], *self.size), dy.dtype)
        for i, j, places in self.windows():
            for number, (row, column) in places:
                dx[:, :, row, column] += np.where(indices[:, :, i, j] == number, dy[:, :, i, j], 0)
        return dx

    def gathered(self, x: np.ndarray, indices: np.ndarray) -> np.ndarray:
        y = self.empty(x)
        for i, j, places in self.windows():
            for number, (row, column) in places:
                y[:, :, i, j] += np.where(indices[:, :, i, j] == number, x[:, :, row, column], 0)
        return y

    def largest_in_torch(self, x: Any) -> Any:
        from torch.nn import functional

        (top, bottom), (left, right) = self.padding
        if (top, left) == (bottom, right):
            return functional.max_pool2d(x, self.kernel, self.stride, (top, left), self.dilation, self.ceil_mode)
        padded = functional.pad(x, (left, right, top, bottom), value=-np.inf)
        return functional.max_pool2d(padded, self.kernel, self.stride, 0, self.dilation, self.ceil_mode)

    def max_samples(self) -> list[OpSample]:
        """Return a sample of each of the four ops of max-pooling."""
        places = self.kernel[0] * self.kernel[1]

        def positions(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
            return generator.integers(0, places, shape)

        x, y = Input(self.x, values=distinct), Input(self.y)
        indices = Input(self.y, "uint8" if places <= 256 else "int32", values=positions)
        return [
            OpSample(
                f"max_pool2d, {self.name}",
                MaxPool2d,
                (x,),
                lambda x: max_pool2d(x, self.kernel, self.stride, self.padding, self.dilation, self.ceil_mode),
                self.largest,
                self.largest_in_torch,
            ),
            OpSample(
                f"max_pool2d_indices, {self.name}",
                MaxPool2dIndices,
                (x,),
                lambda x: apply(MaxPool2dIndices(*self.max_attributes), x),
                self.indices,
                gradient=False,
                second_gradient=False,
            ),
            OpSample(
                f"max_pool2d_gradient, {self.name}",
                MaxPool2dGradient,
                (y, indices),
                lambda dy, indices: apply(MaxPool2dGradient(*self.max_attributes, self.size), dy, indices),
                self.scattered,
            ),
            OpSample(
                f"max_pool2d_gather, {self.name}",
                MaxPool2dGather,
                (Input(self.x), indices),
                lambda x, indices: apply(MaxPool2dGather(*self.max_attributes), x, indices),
                self.gathered,
            ),
        ]

    # The mean.

    @property
    def avg_attributes(self) -> tuple[Pair, Pair, Padding, bool, bool]:
        return self.kernel, self.stride, self.padding, self.ceil_mode, self.count_include_pad

    def divisor(self, i: int, j: int) -> int:
        """Count the places of a window one by one: those in the images, or also those in the padding."""
        count = 0
        (top, bottom), (left, right) = self.padding if self.count_include_pad else ((0, 0), (0, 0))
        for p, q in np.ndindex(self.kernel):
            row, column = self.starts(0)[i] + p, self.starts(1)[j] + q
            count += -top <= row < self.size[0] + bottom and -left <= column < self.size[1] + right
        return count

    def averaged(self, x: np.ndarray) -> np.ndarray:
        y = self.empty(x)
        for i, j, places in self.windows():
            for _, (row, column) in places:
                y[:, :, i, j] += x[:, :, row, column] / x.dtype.type(self.divisor(i, j))
        return y

    def shared_out(self, dy: np.ndarray) -> np.ndarray:
        dx = np.zeros((*dy.shape[:2], *self.size), dy.dtype)
        for i, j, places in self.windows():
            for _, (row, column) in places:
                dx[:, :, row, column] += dy[:, :, i, j] / dy.dtype.type(self.divisor(i, j))
        return dx

    def averaged_in_torch(self, x: Any) -> Any:
        from torch.nn import functional

        pads = self.padding[0][0], self.padding[1][0]
        return functional.avg_pool2d(x, self.kernel, self.stride, pads, self.ceil_mode, self.count_include_pad)

    def avg_samples(self) -> list[OpSample]:
        """Return a sample of both ops of average pooling, for both ways to count."""
        return [sample for counted in (True, False) for sample in replace(self, count_include_pad=counted)._avg_pair()]

    def _avg_pair(self) -> list[OpSample]:
        symmetric = all(before == after for before, after in self.padding)
        name = self.name + ("" if self.count_include_pad else ", padding not counted")
        return [
            OpSample(
                f"avg_pool2d, {name}",
                AvgPool2d,
                (Input(self.x),),
                lambda x: avg_pool2d(x, self.kernel, self.stride, self.padding, self.ceil_mode, self.count_include_pad),
                self.averaged,
                self.averaged_in_torch if symmetric else None,
            ),
            OpSample(
                f"avg_pool2d_gradient, {name}",
                AvgPool2dGradient,
                (Input(self.y),),
                lambda dy: apply(AvgPool2dGradient(*self.avg_attributes, self.size), dy),
                self.shared_out,
            ),
        ]


CASES = [
    Case("2 × 2", (None, 2, 4, 6), (2, 2), (2, 2)),
    Case("nothing square", (None, 2, 7, 5), (3, 2), (2, 1)),
    Case("a fixed number of images", (2, 1, 5, 4), (2, 3), (2, 2)),
    Case("kernel 1", (None, 1, 3, 4), (1, 1), (1, 1)),
    Case("windows that overlap", (None, 1, 5, 6), (3, 3), (1, 2)),
    Case("stride 2, odd size, a last row and column unseen", (None, 2, 5, 7), (2, 2), (2, 2)),
    Case("stride wider than the kernel", (None, 1, 7, 8), (2, 1), (3, 4)),
    Case("kernel of the size of the image", (None, 2, 3, 4), (3, 4), (3, 4)),
    Case("padding", (None, 1, 5, 6), (3, 2), (2, 2), padding=((1, 1), (1, 1))),
    Case("asymmetric padding", (None, 1, 5, 6), (3, 4), (2, 3), padding=((1, 0), (0, 2))),
    Case("ceil_mode, which changes nothing", (None, 1, 4, 6), (2, 2), (2, 2), ceil_mode=True),
    Case("ceil_mode, a last row and column", (None, 1, 5, 8), (2, 3), (2, 3), ceil_mode=True),
    Case("ceil_mode with padding", (None, 1, 6, 7), (3, 3), (2, 3), padding=((1, 1), (1, 1)), ceil_mode=True),
    Case(
        "ceil_mode, a last window that would start in the padding",
        (None, 1, 3, 6),
        (2, 2),
        (2, 3),
        padding=((1, 1), (1, 1)),
        ceil_mode=True,
    ),
    Case("ceil_mode, stride wider than the kernel", (None, 1, 7, 6), (1, 2), (3, 5), ceil_mode=True),
    Case("ceil_mode, kernel larger than the image", (None, 1, 2, 4), (3, 4), (2, 2), ceil_mode=True),
]

MAX_CASES = [
    *CASES,
    Case("dilation", (None, 1, 6, 7), (3, 2), (1, 2), dilation=(2, 3)),
    Case("dilation, padding and stride", (None, 1, 7, 8), (2, 3), (2, 2), padding=((1, 1), (1, 1)), dilation=(3, 2)),
    Case("dilation in ceil_mode", (None, 1, 7, 8), (2, 2), (2, 3), dilation=(2, 3), ceil_mode=True),
    Case("more places than uint8 counts", (None, 1, 17, 18), (17, 17), (1, 1)),
]


def _integer_sample(dtype: str, low: int) -> OpSample:
    case = Case("", (None, 1, 5, 6), (3, 2), (2, 2), padding=((1, 1), (1, 1)))

    def integers(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return generator.integers(low, low + 50, shape)

    return OpSample(
        f"max_pool2d, {dtype}",
        MaxPool2d,
        (Input(case.x, dtype, values=integers),),
        lambda x: max_pool2d(x, case.kernel, case.stride, padding=1),
        case.largest,
        case.largest_in_torch,
        gradient=False,
        second_gradient=False,
    )


SAMPLES = [
    *(sample for case in MAX_CASES for sample in case.max_samples()),
    *(sample for case in CASES for sample in case.avg_samples()),
    _integer_sample("uint8", low=0),
    _integer_sample("int32", low=-90),
    _integer_sample("int64", low=-90),
    OpSample(
        "max_pool2d, the stride is the kernel's size by default",
        MaxPool2d,
        (Input(CASES[0].x, values=distinct),),
        lambda x: max_pool2d(x, 2),
        CASES[0].largest,
        CASES[0].largest_in_torch,
    ),
    OpSample(
        "avg_pool2d, the stride is the kernel's size by default",
        AvgPool2d,
        (Input(CASES[0].x),),
        lambda x: avg_pool2d(x, 2),
        CASES[0].averaged,
        CASES[0].averaged_in_torch,
    ),
    OpSample(
        "global_max_pool2d",
        Max,
        (Input((None, 2, 3, 4), values=distinct),),
        global_max_pool2d,
        lambda x: np.array([[[[image.max()]] for image in channels] for channels in x]),
        lambda x: x.amax((2, 3), keepdim=True),
    ),
    OpSample(
        "global_avg_pool2d",
        Sum,
        (Input((None, 2, 3, 4)),),
        global_avg_pool2d,
        lambda x: np.array([[[[image.mean()]] for image in channels] for channels in x]),
        lambda x: x.mean((2, 3), keepdim=True),
    ),
]
