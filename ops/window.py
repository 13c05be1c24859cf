"""Windows that slide over the rows and columns of images: the arithmetic that convolution and pooling share.

Images are channels first, (N, C, H, W). Only the number of examples N may depend on the batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np

from graphnn.ops.errors import ShapeError
from graphnn.ops.spec import Dim, Shape, TensorSpec, format_shape

Pair = tuple[int, int]
"""A number for the height and one for the width."""

Padding = tuple[Pair, Pair]
"""Rows added at the top and bottom, columns added at the left and right."""

PairLike = int | Iterable[int]
PaddingLike = int | Iterable[int | Iterable[int]]


@dataclass(frozen=True, slots=True)
class Window:
    """A window that slides along one axis, its places `dilation` apart.

    Examples
    --------
    >>> window = Window("height", kernel=3, stride=2, padding=(1, 0), dilation=2)
    >>> window.span, window.positions(8)
    (5, 3)
    """

    axis: str
    kernel: int
    stride: int
    padding: Pair
    dilation: int = 1

    def __post_init__(self) -> None:
        for name, value, neutral in (
            ("kernel", self.kernel, "a kernel of 1 looks at single elements"),
            ("stride", self.stride, "a stride of 1 visits every position"),
            ("dilation", self.dilation, "a dilation of 1 leaves no gaps"),
        ):
            if value < 1:
                raise ShapeError(f"the {name} along the {self.axis} is {value}", expected="1 or more", hint=neutral)
        if min(self.padding) < 0:
            raise ShapeError(
                f"the padding along the {self.axis} is {self.padding}",
                expected="0 or more at both ends",
                hint="crop the input by slicing it first",
            )

    @property
    def span(self) -> int:
        """Elements from the first to the last place of the window, both included."""
        return (self.kernel - 1) * self.dilation + 1

    def positions(self, size: int, ceil_mode: bool = False) -> int:
        """Return how often the window fits into `size` padded elements, or raise a ShapeError where it does not.

        With `ceil_mode` one more position counts that sticks out at the end, if it starts in the input or in the
        padding before it (PyTorch's rule).
        """
        before, after = self.padding
        room = size + before + after - self.span + (self.stride - 1 if ceil_mode else 0)
        if size < 1 or room < 0:
            raise ShapeError(
                f"the kernel spans {self.span} elements of the {self.axis}, the input has {size} and "
                f"{before + after} of padding",
                expected="a span of (kernel - 1)·dilation + 1 no larger than the padded input",
                hint="pad the input, or take a smaller kernel or dilation",
            )
        count = room // self.stride + 1
        sticks_out_too_far = ceil_mode and (count - 1) * self.stride >= size + before
        return count - 1 if sticks_out_too_far else count

    def reach(self, positions: int) -> int:
        """Return the number of elements, padding before included, that a number of positions takes."""
        return (positions - 1) * self.stride + self.span

    def place(self, offset: int, positions: int) -> slice:
        """Return where one place of the window lies in the padded input, for all positions."""
        start = offset * self.dilation
        return slice(start, start + (positions - 1) * self.stride + 1, self.stride)


Windows = tuple[Window, Window]
"""Along the height and along the width."""


def windows(kernel: Pair, stride: Pair, padding: Padding, dilation: Pair = (1, 1)) -> Windows:
    """Return the windows along the height and the width."""
    return (
        Window("height", kernel[0], stride[0], padding[0], dilation[0]),
        Window("width", kernel[1], stride[1], padding[1], dilation[1]),
    )


def output_size(over: Windows, size: Pair, ceil_mode: bool = False) -> Pair:
    """Return the numbers of positions along both axes, or raise a ShapeError where there are none.

    Examples
    --------
    >>> output_size(windows((5, 5), (1, 1), ((2, 2), (0, 0))), (28, 28))
    (28, 24)
    """
    return over[0].positions(size[0], ceil_mode), over[1].positions(size[1], ceil_mode)


def extract(x: np.ndarray, over: Windows, positions: Pair, fill: float) -> np.ndarray:
    """Return what each window sees: (N, C, H, W) to (N, C, positions, kernel); `fill` stands for the padding.

    Examples
    --------
    >>> x = np.arange(1, 5).reshape(1, 1, 1, 4)
    >>> extract(x, windows((1, 3), (1, 2), ((0, 0), (1, 0))), (1, 2), fill=0)[0, 0, 0, :, 0]
    array([[0, 1, 2],
           [2, 3, 4]])
    """
    rows, columns = over
    height, width = rows.reach(positions[0]), columns.reach(positions[1])
    (top, left), (_, _, h, w) = (rows.padding[0], columns.padding[0]), x.shape
    ends = (top, max(0, height - top - h)), (left, max(0, width - left - w))
    padded = np.pad(x, ((0, 0), (0, 0), *ends), constant_values=fill)[:, :, :height, :width]
    seen = np.lib.stride_tricks.sliding_window_view(padded, (rows.span, columns.span), axis=(2, 3))
    return seen[:, :, :: rows.stride, :: columns.stride, :: rows.dilation, :: columns.dilation]


def scatter(seen: np.ndarray, over: Windows, size: Pair) -> np.ndarray:
    """Add what each window holds to where it came from, the transpose of `extract`; the padding is dropped.

    Examples
    --------
    >>> scatter(np.ones((1, 1, 1, 2, 1, 3)), windows((1, 3), (1, 2), ((0, 0), (1, 0))), (1, 4))
    array([[[[1., 2., 1., 1.]]]])
    """
    (rows, columns), positions = over, seen.shape[2:4]
    top, left = rows.padding[0], columns.padding[0]
    height, width = max(rows.reach(positions[0]), top + size[0]), max(columns.reach(positions[1]), left + size[1])
    padded = np.zeros((*seen.shape[:2], height, width), seen.dtype)
    for ky, kx in np.ndindex(rows.kernel, columns.kernel):
        padded[:, :, rows.place(ky, positions[0]), columns.place(kx, positions[1])] += seen[..., ky, kx]
    return padded[:, :, top : top + size[0], left : left + size[1]]


# What shapes and element types have to be.


def image_size(name: str, spec: TensorSpec) -> tuple[int, Pair]:
    """Return the channels and the size of images (N, C, H, W), or raise a ShapeError."""
    if spec.rank != 4:
        raise ShapeError(
            f"{name} has {spec.rank} axes",
            expected="four axes: examples, channels, height, width",
            hint=f"{name}.expand_dims(0) adds the axis of examples" if spec.rank == 3 else f"reshape {name} first",
        )
    channels, height, width = static_sizes(name, spec, first=1)
    return channels, (height, width)


def static_sizes(name: str, spec: TensorSpec, first: int) -> tuple[int, ...]:
    """Return the sizes from axis `first` on, or raise a ShapeError where one depends on the batch."""
    sizes: list[int] = []
    for axis, extent in enumerate(spec.shape[first:], start=first):
        if isinstance(extent, Dim):
            raise ShapeError(
                f"axis {axis} of {name} depends on the batch",
                expected="fixed channels, height and width",
                hint="reshape or transpose the input, so that its batch is the axis of examples",
            )
        sizes.append(extent)
    return tuple(sizes)


def spatial(shape: Sequence[int]) -> Pair:
    """Return the last two of four sizes: height and width."""
    _, _, height, width = shape
    return height, width


def require_shape(name: str, spec: TensorSpec, shape: Shape) -> None:
    """Raise a ShapeError unless an input has the shape that the attributes and the other inputs give."""
    if spec.shape != shape:
        raise ShapeError(
            f"{name} has the wrong shape",
            expected=f"{name} {format_shape(shape)}",
            hint="check the attributes (size, kernel, stride, padding, dilation) against the forward op's",
        )


# What users may write for a pair.


def as_pair(name: str, value: PairLike) -> Pair:
    """Return one number for both axes, or a number for each.

    Examples
    --------
    >>> as_pair("stride", 2), as_pair("stride", [2, 3])
    ((2, 2), (2, 3))
    """
    pair = _pair(value)
    if pair is None:
        raise ShapeError(
            f"the {name} is {value!r}",
            expected="an integer, or a pair of integers for height and width",
            hint="give one number for both axes, such as 2",
        )
    return pair


def as_padding(value: PaddingLike) -> Padding:
    """Return the padding at both ends of both axes.

    Examples
    --------
    >>> as_padding(1), as_padding((1, (0, 2)))
    (((1, 1), (1, 1)), ((1, 1), (0, 2)))
    """
    sides = tuple(value) if isinstance(value, Iterable) else (value, value)
    pairs = [pair for side in sides if (pair := _pair(side)) is not None]
    if len(pairs) != 2 or len(sides) != 2:
        raise ShapeError(
            f"the padding is {value!r}",
            expected="an integer, a pair for height and width, or ((top, bottom), (left, right))",
            hint="give one number for all four sides, such as 1",
        )
    return pairs[0], pairs[1]


def _pair(value: Any) -> Pair | None:
    try:
        both = tuple(index(size) for size in (value if isinstance(value, Iterable) else (value, value)))
    except TypeError:
        return None
    return (both[0], both[1]) if len(both) == 2 else None
