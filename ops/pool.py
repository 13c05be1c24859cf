"""What all pooling ops share: windows, each of which gives one value."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from graphnn.ops.broadcasting import require_floating
from graphnn.ops.errors import ShapeError
from graphnn.ops.op import Op
from graphnn.ops.spec import TensorSpec
from graphnn.ops.window import (
    Padding,
    Pair,
    Windows,
    image_size,
    output_size,
    require_shape,
    windows,
)


@dataclass(frozen=True)
class Pool2d(Op):
    """Base of all pooling ops; all describe the forward pooling of images."""

    kernel: Pair
    stride: Pair
    padding: Padding
    ceil_mode: bool

    @property
    def windows(self) -> Windows:
        """The windows along the height and the width."""
        return windows(self.kernel, self.stride, self.padding)

    @property
    def places(self) -> int:
        """The number of places in a window."""
        return prod(self.kernel)

    def pooled(self, x: TensorSpec) -> TensorSpec:
        """Return the spec of the pooled images, or raise a ShapeError."""
        _, size = image_size("x", x)
        positions = output_size(self.windows, size, self.ceil_mode)
        for places, padding in zip(self.kernel, self.padding, strict=True):
            if max(padding) > places // 2:
                raise ShapeError(
                    f"a padding of {max(padding)} is too much for a kernel of {places}",
                    expected="at most half of the kernel, so that no window lies outside of the images",
                    hint="pad less, or take a larger kernel",
                )
        return x.with_shape((*x.shape[:2], *positions))

    def unpooled(self, dy: TensorSpec, size: Pair) -> TensorSpec:
        """Return the spec of images of a size that pool to the shape of `dy`, or raise a ShapeError."""
        require_floating(dy)
        image_size("dy", dy)
        x = dy.with_shape((*dy.shape[:2], *size))
        require_shape("dy", dy, self.pooled(x).shape)
        return x

    def flops(self, out: TensorSpec, *inputs: TensorSpec) -> int:
        return out.elements(1) * self.places
