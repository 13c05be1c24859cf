"""Instances of `conv_direct.cu`: convolutions with few channels, each thread a strip of pixels of several channels.

A max-pool whose windows lie side by side can take its values from there: a thread then computes whole windows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from math import ceil, prod

from graphnn.compiler.targets.cuda.elements import loaded
from graphnn.compiler.targets.cuda.instance import Blocks, Instance
from graphnn.compiler.targets.cuda.rules.convolution import Sizes
from graphnn.compiler.targets.cuda.rules.gemm import LARGEST_GRID, result_types
from graphnn.compiler.targets.cuda.rules.tiles import MULTIPROCESSORS, SHARED_BYTES
from graphnn.ops.conv import Conv2d, Conv2dDataGradient
from graphnn.ops.dtypes import DType
from graphnn.ops.max_pool import MaxPooling
from graphnn.ops.node import Node
from graphnn.ops.spec import bind_extent
from graphnn.ops.window import Pair

THREADS = 128
LARGEST_KERNEL = 64
"""Places of a kernel, all of whose products are printed one after another."""

MOST_SUMS = 32
"""Sums of a thread, so that they stay in registers."""

LATENCY = 250
"""Cycles for the rows of x that one channel needs."""

EXCHANGE = 100
"""Cycles until all threads of a block have sums that were put into shared memory."""


@dataclass(frozen=True)
class Strip:
    """How many neighbouring pixels, or windows of them, of how many output channels a thread computes.

    Attributes
    ----------
    pixels, outputs : int
        Their numbers.
    slices : int
        Among how many threads the channels of x are shared.
    """

    pixels: int
    outputs: int
    slices: int = 1


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
    pooled : Pair, optional
        Windows along both axes, where only the largest value of each is wanted.
    window : Pair
        Rows and columns of a window.
    """

    sizes: Sizes
    dtype: DType
    weight: str
    pooled: Pair | None = None
    window: Pair = (1, 1)

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

    def under(self, pool: Node) -> DirectConvolution | None:
        """Return the convolution with a max-pool of its result; None where one thread can't have whole windows."""
        op = pool.op
        assert isinstance(op, MaxPooling)
        if not op.is_tiling or self.dtype.itemsize < 4:  # fewer bits would have to be rounded to before they compete
            return None
        _, _, height, width = pool.spec.bind(1).static_shape
        form = replace(self, pooled=(height, width), window=op.kernel)
        return form if next(form.strips(), None) else None

    @property
    def places(self) -> Pair:
        """Rows and columns of what is stored."""
        return self.sizes.positions if self.pooled is None else self.pooled

    @property
    def itemsize(self) -> int:
        """Bytes of a number in registers."""
        return 8 if self.dtype.itemsize == 8 else 4

    def strips(self) -> Iterator[Strip]:
        """Generate what a thread may compute."""
        sizes = self.sizes
        if sizes.taps > LARGEST_KERNEL or 0 in self.places:
            return
        for blocks in range(1, sizes.outputs + 1):
            outputs = ceil(sizes.outputs / blocks)
            if ceil(sizes.outputs / outputs) != blocks or sizes.groups * blocks > LARGEST_GRID:
                continue
            for pixels, slices in product((1, 2, 4), (1, 2, 4)):
                strip = Strip(pixels, outputs, slices)
                fits = self._sums(strip) * self.itemsize <= MOST_SUMS * 4 and pixels <= self.places[1]
                if fits and slices <= sizes.channels and self._shared_bytes(strip) <= SHARED_BYTES:
                    yield strip

    def _sums(self, strip: Strip) -> int:
        """Return the number of sums of a thread."""
        return strip.pixels * strip.outputs * prod(self.window)

    def _shared_bytes(self, strip: Strip) -> int:
        """Return the shared memory of a block: its weights, and all sums where slices exchange them."""
        weights = self.sizes.channels * self.sizes.taps * _padded(strip.outputs)
        return (weights + (self._sums(strip) * THREADS if strip.slices > 1 else 0)) * self.itemsize

    def threads(self, strip: Strip, max_batch: int) -> int:
        """Return the number of threads at the largest batch."""
        height, width = self.places
        lines = bind_extent(self.sizes.images, max_batch) * height * self.sizes.groups
        return lines * ceil(width / strip.pixels) * ceil(self.sizes.outputs / strip.outputs) * strip.slices

    def cycles(self, strip: Strip, max_batch: int) -> float:
        """Estimate the time in clock cycles: what a multiprocessor issues or reads, or what one thread waits for."""
        sizes = self.sizes
        rows, columns = self._lines(0, 1), self._lines(1, strip.pixels)
        weights = self.window[0] * sizes.taps * ceil(strip.outputs * self.itemsize / 16)
        products = sizes.taps * prod(self.window) * strip.pixels * strip.outputs * self.itemsize // 4
        issued = (3 * rows * columns + weights + products) / 4  # by four schedulers
        apart = strip.pixels * self.window[1] * sizes.stride[1]
        read = rows * columns * min(32, apart) * self.itemsize // 4 + weights  # 128 bytes at a time
        warps = ceil(self.threads(strip, max_batch) / (32 * MULTIPROCESSORS))
        bringing = ceil(sizes.channels * sizes.taps * strip.outputs / THREADS) * 20 + 700
        exchanging = EXCHANGE + 2 * self._sums(strip) * warps if strip.slices > 1 else 0
        channels = ceil(sizes.channels / strip.slices)
        return bringing + channels * max(warps * max(issued, read), 4 * issued + LATENCY) + exchanging

    def _lines(self, axis: int, pixels: int) -> int:
        """Return how many rows (columns) of x so many places of a thread look at."""
        stride, dilation = self.sizes.stride[axis], self.sizes.dilation[axis]
        starts, taps = range(pixels * self.window[axis]), range(self.sizes.kernel[axis])
        return len({start * stride + tap * dilation for start in starts for tap in taps})

    def choose(self, max_batch: int) -> tuple[Strip, float]:
        """Return what a thread does where the estimate is least, and that."""
        choices = ((strip, self.cycles(strip, max_batch)) for strip in self.strips())
        return min(choices, key=lambda choice: choice[1])

    def instance(self, strip: Strip, positions: bool = False) -> Instance:
        """Return the kernel for a choice; of windows it can also give the positions of what is largest."""
        sizes = self.sizes
        height, width = self.places
        strips = ceil(width / strip.pixels)
        rows, columns = height * self.window[0], strips * strip.pixels * self.window[1]
        defines = {
            **sizes.macros((rows, columns), PLACES=self.places, WINDOW=self.window),
            "THREADS": str(THREADS),
            "SLICES": str(strip.slices),
            "PIXELS": str(strip.pixels),
            "THREAD_OUTPUTS": str(strip.outputs),
            "POOLED": str(0 if self.pooled is None else 1 + positions),
            "X_VALUE(i)": f"(SUM)({loaded('x0[i]', self.dtype)})",
            "WEIGHT(g, o, c, p, q)": f"(SUM)({loaded(f'x1[{self.weight}]', self.dtype)})",
            **result_types(self.dtype),
        }
        blocks = sizes.groups * ceil(sizes.outputs / strip.outputs)
        across = Blocks(sizes.images * (height * strips), THREADS // strip.slices)
        return Instance("conv_direct.cu", defines, (across, Blocks(blocks), Blocks(1)), THREADS)


def _padded(outputs: int) -> int:
    return ceil(outputs / 4) * 4 if outputs > 2 else outputs
