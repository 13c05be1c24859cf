"""What a convolution reads where: the arithmetic of its sizes, resolved before any C is printed."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import Self

from graphnn.ops.conv import Convolution, weight_size
from graphnn.ops.spec import TensorSpec
from graphnn.ops.window import Padding, Pair, image_size, output_size


@dataclass(frozen=True)
class Conv2dGeometry:
    """All sizes of ``y = conv2d(x, weight)`` but the batch; its two gradients share them.

    Attributes
    ----------
    channels, size
        Of x: (N, channels, height, width).
    outputs, positions
        Of y: (N, outputs, height, width).
    kernel, stride, padding, dilation, groups
        As in `conv2d`.
    """

    channels: int
    size: Pair
    outputs: int
    kernel: Pair
    stride: Pair
    padding: Padding
    dilation: Pair
    groups: int
    positions: Pair

    @classmethod
    def of(cls, op: Convolution, x: TensorSpec, weight: TensorSpec) -> Self:
        """Return the geometry of a convolution or one of its gradients, given the specs of the images and the weight.

        Examples
        --------
        >>> from graphnn.ops import dtypes
        >>> from graphnn.ops.conv import Conv2d
        >>> x, weight = (TensorSpec(shape, dtypes.float32) for shape in [(8, 3, 9, 9), (4, 3, 3, 3)])
        >>> op = Conv2d(stride=(2, 1), padding=((1, 1), (0, 0)), dilation=(1, 1), groups=1)
        >>> Conv2dGeometry.of(op, x, weight).positions
        (5, 7)
        """
        channels, size = image_size("x", x)
        outputs, _, kernel = weight_size(weight)
        positions = output_size(op.windows(kernel), size)
        return cls(channels, size, outputs, kernel, op.stride, op.padding, op.dilation, op.groups, positions)

    @property
    def group_channels(self) -> int:
        """Input channels of one group."""
        return self.channels // self.groups

    @property
    def group_outputs(self) -> int:
        """Output channels of one group."""
        return self.outputs // self.groups

    @property
    def axes(self) -> tuple[Axis, Axis]:
        """The height and the width."""
        each = zip(self.size, self.kernel, self.stride, self.padding, self.dilation, self.positions, strict=True)
        height, width = (Axis(n, k, s, padding[0], d, p) for n, k, s, padding, d, p in each)
        return height, width

    def __str__(self) -> str:
        (top, bottom), (left, right) = self.padding
        parts = [
            (f"{self.channels}x{_times(self.size)} to {self.outputs}x{_times(self.positions)}", True),
            (f"kernel {_times(self.kernel)}", True),
            (f"stride {_times(self.stride)}", self.stride != (1, 1)),
            (f"padding top {top} bottom {bottom} left {left} right {right}", any((top, bottom, left, right))),
            (f"dilation {_times(self.dilation)}", self.dilation != (1, 1)),
            (f"groups {self.groups}", self.groups > 1),
        ]
        return ", ".join(text for text, matters in parts if matters)


def _times(pair: Pair) -> str:
    return f"{pair[0]}x{pair[1]}"


@dataclass(frozen=True)
class Axis:
    """One axis of a convolution: tap k of position p lies over place ``stride·p + dilation·k - before``."""

    size: int
    kernel: int
    stride: int
    before: int
    dilation: int
    positions: int

    def seen(self, tap: int) -> range:
        """Return the positions at which a tap lies inside the input.

        Examples
        --------
        >>> Axis(size=5, kernel=3, stride=2, before=1, dilation=1, positions=3).seen(0)
        range(1, 3)
        """
        offset = self.dilation * tap - self.before
        first = max(0, -(offset // self.stride))
        end = min(self.positions, (self.size - 1 - offset) // self.stride + 1)
        return range(first, max(first, end))

    def forward(self) -> Reads:
        """Return what each position reads of the input."""
        places: list[list[Pair]] = [[] for _ in range(self.positions)]
        for tap in range(self.kernel):
            for position in self.seen(tap):
                places[position].append((tap, self.stride * position + self.dilation * tap - self.before))
        return Reads(_frozen(places), 1, self.stride, 1, self.dilation)

    def backward(self) -> Reads:
        """Return what each place of the input's gradient reads of the output's gradient."""
        places: list[list[Pair]] = [[] for _ in range(self.size)]
        for tap in range(self.kernel):
            for position in self.seen(tap):
                places[self.stride * position + self.dilation * tap - self.before].append((tap, position))
        common = gcd(self.stride, self.dilation)
        return Reads(_frozen(places), self.stride, 1, self.stride // common, -self.dilation // common)


@dataclass(frozen=True)
class Reads:
    """What the places of a result read along one axis.

    Attributes
    ----------
    places
        For each place of the result, pairs of a tap of the kernel and the place of the source that it multiplies.
    period, shift : int
        Away from the borders, places `period` apart use the same taps on sources that lie `shift` apart.
    tap_step, source_step : int
        From each pair of a place to its next one.
    """

    places: tuple[tuple[Pair, ...], ...]
    period: int
    shift: int
    tap_step: int
    source_step: int

    @property
    def taps(self) -> int:
        """The largest number of taps that a place uses."""
        return max(map(len, self.places))


def _frozen(places: list[list[Pair]]) -> tuple[tuple[Pair, ...], ...]:
    return tuple(map(tuple, places))
