"""Instances of `conv_direct.cu`: convolutions with few channels, each thread a strip of pixels of several channels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from graphnn.compiler.targets.cuda.elements import extent_text, loaded
from graphnn.compiler.targets.cuda.instance import Blocks, Instance
from graphnn.compiler.targets.cuda.rules.convolution import Sizes
from graphnn.compiler.targets.cuda.rules.gemm import LARGEST_GRID, result_types
from graphnn.compiler.targets.cuda.rules.tiles import MULTIPROCESSORS, SHARED_BYTES
from graphnn.ops.conv import Conv2d, Conv2dDataGradient
from graphnn.ops.dtypes import DType
from graphnn.ops.node import Node
from graphnn.ops.spec import bind_extent

THREADS = 128
LARGEST_KERNEL = 64
"""Places of a kernel, all of whose products are printed one after another."""

MOST_SUMS = 32
"""Sums of a thread, so that they stay in registers."""

LATENCY = 250
"""Cycles for the rows of x that one channel needs."""


@dataclass(frozen=True)
class Strip:
    """How many neighbouring pixels, of how many output channels, a thread computes."""

    pixels: int
    outputs: int


@dataclass(frozen=True)
class DirectConvolution:
    """A convolution as `conv_direct.cu` understands it.

    Attributes
    ----------
    sizes : Sizes
        Of the convolution that is computed: for a gradient by the images, the one that goes backwards.
    dtype : DType
        Of all three.
    weight : str
        Where the weight of channels ``o`` and ``c`` of group ``g`` at ``p``, ``q`` of the kernel lies.
    """

    sizes: Sizes
    dtype: DType
    weight: str

    @classmethod
    def of(cls, node: Node) -> DirectConvolution | None:
        """Return a convolution, or its gradient by the images, in this form; None where there is no such form."""
        sizes = Sizes.of(node)
        if isinstance(node.op, Conv2d):
            height, width = sizes.kernel
            weight = (
                f"(((g) * {sizes.outputs} + (o)) * {sizes.channels} + (c)) * {height * width} + (p) * {width} + (q)"
            )
        elif isinstance(node.op, Conv2dDataGradient) and sizes.stride == (1, 1):
            sizes = sizes.backwards()
            height, width = sizes.kernel
            channel = f"((g) * {sizes.channels} + (c)) * {sizes.outputs} + (o)"
            weight = f"({channel}) * {height * width} + {height * width - 1} - (p) * {width} - (q)"
        else:
            return None
        form = cls(sizes, node.dtype, weight)
        return form if next(form.strips(), None) else None

    @property
    def itemsize(self) -> int:
        """Bytes of a number in registers."""
        return 8 if self.dtype.itemsize == 8 else 4

    def strips(self) -> Iterator[Strip]:
        """Generate what a thread may compute."""
        sizes = self.sizes
        if sizes.taps > LARGEST_KERNEL:
            return
        for blocks in range(1, sizes.outputs + 1):
            outputs = ceil(sizes.outputs / blocks)
            if ceil(sizes.outputs / outputs) != blocks or sizes.groups * blocks > LARGEST_GRID:
                continue
            weights = sizes.channels * sizes.taps * _padded(outputs) * self.itemsize
            if weights > SHARED_BYTES:
                continue
            for pixels in (1, 2, 4):
                if pixels * outputs * self.itemsize <= MOST_SUMS * 4 and pixels <= sizes.positions[1]:
                    yield Strip(pixels, outputs)

    def threads(self, strip: Strip, max_batch: int) -> int:
        """Return the number of threads at the largest batch."""
        height, width = self.sizes.positions
        lines = bind_extent(self.sizes.images, max_batch) * height * self.sizes.groups
        return lines * ceil(width / strip.pixels) * ceil(self.sizes.outputs / strip.outputs)

    def cycles(self, strip: Strip, max_batch: int) -> float:
        """Estimate the time in clock cycles: what a multiprocessor issues or reads, or what one thread waits for."""
        sizes = self.sizes
        width, step = sizes.kernel[1], sizes.stride[1]
        columns = len({p * step + q * sizes.dilation[1] for p in range(strip.pixels) for q in range(width)})
        weights = width * ceil(strip.outputs * self.itemsize / 16)
        products = width * strip.pixels * strip.outputs * self.itemsize // 4
        issued = (3 * columns + weights + products) / 4  # by four schedulers
        read = columns * min(32, strip.pixels * step) * self.itemsize // 4 + weights  # 128 bytes at a time
        rows = sizes.channels * sizes.kernel[0]
        warps = ceil(self.threads(strip, max_batch) / (32 * MULTIPROCESSORS))
        bringing = ceil(sizes.channels * sizes.taps * strip.outputs / THREADS) * 20 + 700
        return bringing + max(warps * rows * max(issued, read), 4 * rows * issued + sizes.channels * LATENCY)

    def choose(self, max_batch: int) -> tuple[Strip, float]:
        """Return what a thread does where the estimate is least, and that."""
        choices = ((strip, self.cycles(strip, max_batch)) for strip in self.strips())
        return min(choices, key=lambda choice: choice[1])

    def instance(self, strip: Strip) -> Instance:
        """Return the kernel for a choice."""
        sizes = self.sizes
        height, width = sizes.positions
        strips = ceil(width / strip.pixels)
        pairs = {
            "SIZE": sizes.size,
            "POSITIONS": sizes.positions,
            "KERNEL": sizes.kernel,
            "STRIDE": sizes.stride,
            "DILATION": sizes.dilation,
            "CHECK": (int(sizes.leaves(0, height)), int(sizes.leaves(1, strips * strip.pixels))),
        }
        defines = {
            "THREADS": str(THREADS),
            "IMAGES": extent_text(sizes.images),
            "GROUPS": str(sizes.groups),
            "CHANNELS": str(sizes.channels),
            "OUTPUTS": str(sizes.outputs),
            **{
                f"{name}_{axis}": str(value)
                for name, pair in pairs.items()
                for axis, value in zip("HW", pair, strict=True)
            },
            "TOP": f"({sizes.before[0]})",
            "LEFT": f"({sizes.before[1]})",
            "PIXELS": str(strip.pixels),
            "THREAD_OUTPUTS": str(strip.outputs),
            "X_VALUE(i)": f"(SUM)({loaded('x0[i]', self.dtype)})",
            "WEIGHT(g, o, c, p, q)": f"(SUM)({loaded(f'x1[{self.weight}]', self.dtype)})",
            **result_types(self.dtype),
        }
        blocks = sizes.groups * ceil(sizes.outputs / strip.outputs)
        across = Blocks(sizes.images * (height * strips), THREADS)
        return Instance("conv_direct.cu", defines, (across, Blocks(blocks), Blocks(1)), THREADS)


def _padded(outputs: int) -> int:
    return ceil(outputs / 4) * 4 if outputs > 2 else outputs
