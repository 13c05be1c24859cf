"""Convolution and its gradients as matrix products over the windows' contents (im2col), a block of images at a time.

The product of the weight (O, C·KH·KW) with an image's windows (C·KH·KW, OH·OW) is the image's result in its final
order, so that nothing is transposed. A block is as many images as keep the windows' contents within the cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from graphnn.compiler.targets.numpy.registry import Run, kernel
from graphnn.ops.conv import Conv2d, Conv2dDataGradient, Conv2dWeightGradient, Convolution
from graphnn.ops.spec import TensorSpec
from graphnn.ops.window import Pair, Windows, spatial

BLOCK_BYTES = 1 << 20
"""About how much the windows' contents of a block take: they are written once and read once, best from the cache."""


@dataclass(frozen=True)
class Geometry:
    """Sizes of one convolution, whichever of the three ops computes it."""

    over: Windows
    groups: int
    images: int
    channels: int
    size: Pair
    outputs: int
    positions: Pair
    kernel: Pair

    @classmethod
    def of(cls, op: Convolution, x: tuple[int, ...], weight: tuple[int, ...], y: tuple[int, ...]) -> Geometry:
        """Read the sizes off the shapes of images, weight and results."""
        kernel_size = spatial(weight)
        return cls(
            op.windows(kernel_size), op.groups, x[0], x[1], spatial(x), y[1], spatial(y), kernel_size
        )  # fmt: skip

    @property
    def places(self) -> int:
        """Elements that a window of one group sees."""
        return self.channels // self.groups * self.kernel[0] * self.kernel[1]

    @property
    def padded(self) -> Pair:
        """Height and width that the windows reach over; at least the image and the padding before it."""
        sizes = []
        for window, size, count in zip(self.over, self.size, self.positions, strict=True):
            sizes.append(max(window.reach(count), window.padding[0] + size))
        return sizes[0], sizes[1]

    @property
    def needs_padding(self) -> bool:
        """Whether windows reach beyond the image."""
        return self.padded != self.size

    def block(self, itemsize: int) -> int:
        """Return how many images are worked on at a time."""
        area = self.positions[0] * self.positions[1]
        return max(1, min(self.images, BLOCK_BYTES // max(1, self.groups * self.places * area * itemsize)))

    def seen_shape(self, images: int) -> tuple[int, ...]:
        """Return the shape of the windows' contents: (N, C, KH, KW, OH, OW)."""
        return images, self.channels, *self.kernel, *self.positions

    def padded_shape(self, images: int) -> tuple[int, ...]:
        """Return the shape of padded images."""
        return images, self.channels, *self.padded

    def as_products(self, seen: np.ndarray) -> np.ndarray:
        """Return the windows' contents as matrices: (N, groups, places, OH·OW)."""
        return seen.reshape(seen.shape[0], self.groups, self.places, -1)

    def blocks(self, size: int) -> Iterator[slice]:
        """Yield the images of each block."""
        for start in range(0, self.images, size):
            yield slice(start, min(start + size, self.images))

    def middle(self, padded: np.ndarray) -> np.ndarray:
        """Return the part of padded images that the images fill."""
        top, left = self.over[0].padding[0], self.over[1].padding[0]
        return padded[:, :, top : top + self.size[0], left : left + self.size[1]]

    def windows_of(self, images: np.ndarray) -> np.ndarray:
        """Return what the windows see in padded images, as a view: (N, C, KH, KW, OH, OW)."""
        rows, columns = self.over
        n, c, y, x = images.strides
        strides = (n, c, y * rows.dilation, x * columns.dilation, y * rows.stride, x * columns.stride)
        return np.lib.stride_tricks.as_strided(images, self.seen_shape(images.shape[0]), strides)


def _data_geometry(op: Conv2dDataGradient, dy: tuple[int, ...], weight: tuple[int, ...]) -> Geometry:
    return Geometry.of(op, (dy[0], weight[1] * op.groups, *op.size), weight, dy)


def _forward_workspaces(op: Conv2d, out: TensorSpec, inputs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    x, weight = inputs
    geometry = Geometry.of(op, x.static_shape, weight.static_shape, out.static_shape)
    block = geometry.block(out.dtype.itemsize)
    shapes = [geometry.seen_shape(block)] + [geometry.padded_shape(block)] * geometry.needs_padding
    return tuple(out.with_shape(shape) for shape in shapes)


@kernel(Conv2d, workspaces=_forward_workspaces, strided_output=False, row_major=(1,))
def bind_conv2d(op: Conv2d, out: np.ndarray, inputs: Sequence[np.ndarray], workspaces: Sequence[np.ndarray]) -> Run:
    """Per block: collect the windows' contents, multiply by the weight."""
    x, weight = inputs
    geometry = Geometry.of(op, x.shape, weight.shape, out.shape)
    collect = _collector(geometry, x, workspaces)
    factors = weight.reshape(1, geometry.groups, geometry.outputs // geometry.groups, geometry.places)
    results = out.reshape(geometry.images, geometry.groups, geometry.outputs // geometry.groups, -1)
    blocks = list(geometry.blocks(workspaces[0].shape[0]))

    def run() -> None:
        for images in blocks:
            np.matmul(factors, collect(images), out=results[images])

    return run


class _collector:  # noqa: N801 - reads as the function that it is
    """Writes the windows' contents of a block of images into the workspace and returns them as matrices."""

    def __init__(self, geometry: Geometry, x: np.ndarray, workspaces: Sequence[np.ndarray]) -> None:
        self._x = x
        self._geometry = geometry
        self._seen = workspaces[0]
        self._padded = workspaces[1] if geometry.needs_padding else None

    def __call__(self, images: slice) -> np.ndarray:
        count = images.stop - images.start
        source = self._x[images]
        if self._padded is not None:
            padded = self._padded[:count]
            padded.fill(0)
            np.copyto(self._geometry.middle(padded), source)
            source = padded
        seen = self._seen[:count]
        np.copyto(seen, self._geometry.windows_of(source))
        return self._geometry.as_products(seen)


def _weight_workspaces(
    op: Conv2dWeightGradient, out: TensorSpec, inputs: Sequence[TensorSpec]
) -> tuple[TensorSpec, ...]:
    x, dy = inputs
    geometry = Geometry.of(op, x.static_shape, out.static_shape, dy.static_shape)
    block = geometry.block(out.dtype.itemsize)
    shapes = [geometry.seen_shape(block)] + [geometry.padded_shape(block)] * geometry.needs_padding
    parts = out.with_shape((block, *out.shape))
    return (*(out.with_shape(shape) for shape in shapes), parts, out)


@kernel(Conv2dWeightGradient, workspaces=_weight_workspaces, strided_output=False, row_major=(1,))
def bind_weight_gradient(
    op: Conv2dWeightGradient, out: np.ndarray, inputs: Sequence[np.ndarray], workspaces: Sequence[np.ndarray]
) -> Run:
    """Per block: multiply dy by the windows' contents, image by image, and add up."""
    x, dy = inputs
    geometry = Geometry.of(op, x.shape, out.shape, dy.shape)
    parts, total = workspaces[-2:]
    collect = _collector(geometry, x, workspaces)
    outputs = geometry.outputs // geometry.groups
    factors = dy.reshape(geometry.images, geometry.groups, outputs, -1)
    products = parts.reshape(parts.shape[0], geometry.groups, outputs, geometry.places)
    blocks = list(geometry.blocks(workspaces[0].shape[0]))

    def run() -> None:
        for images in blocks:
            count = images.stop - images.start
            np.matmul(factors[images], collect(images).swapaxes(2, 3), out=products[:count])
            first = images.start == 0
            np.add.reduce(parts[:count], axis=0, out=out if first else total)
            if not first:
                np.add(out, total, out=out)

    return run


def _data_workspaces(op: Conv2dDataGradient, out: TensorSpec, inputs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    dy, weight = inputs
    geometry = _data_geometry(op, dy.static_shape, weight.static_shape)
    block = geometry.block(out.dtype.itemsize)
    shapes = [geometry.seen_shape(block)] + [geometry.padded_shape(block)] * geometry.needs_padding
    return tuple(out.with_shape(shape) for shape in shapes)


@kernel(Conv2dDataGradient, workspaces=_data_workspaces, strided_output=False, row_major=(0, 1))
def bind_data_gradient(
    op: Conv2dDataGradient, out: np.ndarray, inputs: Sequence[np.ndarray], workspaces: Sequence[np.ndarray]
) -> Run:
    """Per block: multiply dy by the weight, which gives each window's share; add the shares up where they belong."""
    dy, weight = inputs
    geometry = _data_geometry(op, dy.shape, weight.shape)
    outputs = geometry.outputs // geometry.groups
    factors = weight.reshape(1, geometry.groups, outputs, geometry.places).swapaxes(2, 3)
    given = dy.reshape(geometry.images, geometry.groups, outputs, -1)
    seen, *padding = workspaces
    blocks = list(geometry.blocks(seen.shape[0]))

    def run() -> None:
        for images in blocks:
            count = images.stop - images.start
            shares = seen[:count]
            np.matmul(factors, given[images], out=geometry.as_products(shares))
            target = padding[0][:count] if padding else out[images]
            target.fill(0)
            scatter_add(geometry, shares, target)
            if padding:
                np.copyto(out[images], geometry.middle(target))

    return run


def scatter_add(geometry: Geometry, shares: np.ndarray, target: np.ndarray) -> None:
    """Add the windows' shares (N, C, KH, KW, OH, OW) to padded images, one place of the kernel after another."""
    rows, columns = geometry.over
    for ky in range(geometry.kernel[0]):
        for kx in range(geometry.kernel[1]):
            place = rows.place(ky, geometry.positions[0]), columns.place(kx, geometry.positions[1])
            seen = target[:, :, place[0], place[1]]
            np.add(seen, shares[:, :, ky, kx], out=seen)
