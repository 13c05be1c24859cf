"""Instances of `conv_weight_direct.cu`: gradients by small kernels, each thread all places of one for some channels.

As a product of matrices (see `convolution`), such a gradient has few rows and columns and very many terms, and finding
the places of terms costs more than multiplying them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, prod

from graphnn.compiler.targets.cuda.elements import loaded
from graphnn.compiler.targets.cuda.instance import Blocks, Instance
from graphnn.compiler.targets.cuda.rules.convolution import Sizes
from graphnn.compiler.targets.cuda.rules.gemm import LARGEST_GRID, result_types, split_sum
from graphnn.compiler.targets.cuda.rules.tiles import CACHED_BYTES, MULTIPROCESSORS, SECOND_KERNEL, SHARED_BYTES
from graphnn.ops.dtypes import DType
from graphnn.ops.max_pool import MaxPool2dGradient
from graphnn.ops.node import Node
from graphnn.ops.spec import Extent, bind_extent

THREADS = 128
MOST_SUMS = 64
"""Sums of a thread, so that they stay in registers."""

LATENCY = 500
"""Cycles for what one strip reads."""

BLOCKS_EACH = 2
"""Blocks that a multiprocessor is given where there is enough to do."""


@dataclass(frozen=True)
class Share:
    """What a thread computes: of how many channels of dy, from strips of how many pixels, and in how many blocks."""

    outputs: int
    pixels: int
    splits: int


@dataclass(frozen=True)
class DirectWeightGradient:
    """A gradient as `conv_weight_direct.cu` understands it.

    Attributes
    ----------
    sizes : Sizes
        Of the forward convolution.
    dtype : DType
        Of all values.
    slope : str
        What dy has at ``i``, ``j`` of a ``plane``.
    reads : int
        Elements that are read for it.
    """

    sizes: Sizes
    dtype: DType
    slope: str
    reads: int

    @classmethod
    def of(cls, node: Node, unpooled: Node | None = None) -> DirectWeightGradient | None:
        """Return a weight's gradient in this form, of a max-pool's gradient perhaps; None where there is none."""
        sizes = Sizes.of(node)
        slope = _stored_slope(sizes, node.dtype) if unpooled is None else _pooled_slope(sizes, unpooled)
        form = cls(sizes, node.dtype, slope, 1 if unpooled is None else 2)
        return form if next(form.shares(1), None) else None

    @property
    def itemsize(self) -> int:
        """Bytes of a number in registers."""
        return 8 if self.dtype.itemsize == 8 else 4

    def shares(self, max_batch: int) -> Iterator[Share]:
        """Generate what a thread may compute."""
        sizes = self.sizes
        for outputs in range(1, sizes.outputs + 1):
            sums = sizes.taps * outputs
            blocks = self._blocks(outputs)
            if sums * self.itemsize > MOST_SUMS * 4 or sums * (THREADS + 1) * self.itemsize > SHARED_BYTES:
                return
            if blocks > LARGEST_GRID or ceil(sizes.outputs / ceil(sizes.outputs / outputs)) != outputs:
                continue
            for pixels in (1, 2, 4):
                if pixels <= sizes.positions[1]:
                    most = ceil(self._strips(pixels, max_batch) / THREADS)
                    for each in (1, BLOCKS_EACH, 2 * BLOCKS_EACH):
                        yield Share(outputs, pixels, max(1, min(most, each * MULTIPROCESSORS // blocks)))

    def _blocks(self, outputs: int) -> int:
        """Return the number of blocks that share no result."""
        return self.sizes.groups * self.sizes.channels * ceil(self.sizes.outputs / outputs)

    def _strips(self, pixels: int, max_batch: int) -> int:
        height, width = self.sizes.positions
        return bind_extent(self.sizes.images, max_batch) * height * ceil(width / pixels)

    def cycles(self, share: Share, max_batch: int) -> float:
        """Estimate the time in clock cycles: what a multiprocessor issues, or what one thread waits for."""
        sizes = self.sizes
        stride, dilation, width = sizes.stride[1], sizes.dilation[1], sizes.kernel[1]
        columns = len({pixel * stride + tap * dilation for pixel in range(share.pixels) for tap in range(width)})
        slopes = share.outputs * share.pixels * self.reads
        sums = sizes.taps * share.outputs
        products = sums * share.pixels * self.itemsize // 4
        issued = (30 + 3 * sizes.kernel[0] * columns + 6 * slopes + products) / 4  # by four schedulers
        blocks = ceil(self._blocks(share.outputs) * share.splits / MULTIPROCESSORS)
        warps = blocks * THREADS // 32
        rounds = ceil(self._strips(share.pixels, max_batch) / (share.splits * THREADS))
        adding = 400 + warps * (sums + 3 * sums * THREADS / 128) / 4
        results = self._blocks(1) * sizes.taps * self.itemsize
        after = SECOND_KERNEL + share.splits * results / CACHED_BYTES if share.splits > 1 else 0
        return rounds * max(warps * issued, 4 * issued + LATENCY) + adding + after

    def choose(self, max_batch: int) -> tuple[Share, float]:
        """Return what a thread does where the estimate is least, and that."""
        choices = ((share, self.cycles(share, max_batch)) for share in self.shares(max_batch))
        return min(choices, key=lambda choice: choice[1])

    def instances(self, share: Share) -> list[Instance]:
        """Return the kernels for a choice: one, or two where blocks share a result."""
        sizes = self.sizes
        strips = ceil(sizes.positions[1] / share.pixels)
        count: Extent = self._blocks(1) * sizes.taps
        assert isinstance(count, int)
        defines = {
            **sizes.macros((sizes.positions[0], strips * share.pixels), POSITIONS=sizes.positions),
            "THREADS": str(THREADS),
            "PIXELS": str(share.pixels),
            "THREAD_OUTPUTS": str(share.outputs),
            "SPLITS": str(share.splits),
            "OUTPUT_COUNT": str(count),
            "X_VALUE(i)": f"(SUM)({loaded('x0[i]', self.dtype)})",
            "SLOPE(plane, i, j)": f"(SUM)({self.slope})",
            **result_types(self.dtype),
        }
        workspace = share.splits * count * self.itemsize if share.splits > 1 else 0
        grid = Blocks(share.splits), Blocks(self._blocks(share.outputs)), Blocks(1)
        whole = Instance("conv_weight_direct.cu", defines, grid, THREADS, workspace)
        return [whole] if share.splits == 1 else [whole, split_sum(count, share.splits, self.dtype, workspace)]


def _stored_slope(sizes: Sizes, dtype: DType) -> str:
    return loaded(f"x1[(plane) * {prod(sizes.positions)} + (i) * {sizes.positions[1]} + (j)]", dtype)


def _pooled_slope(sizes: Sizes, unpooled: Node) -> str:
    """Return what flows into a window, at the position that won, 0 elsewhere."""
    op = unpooled.op
    assert isinstance(op, MaxPool2dGradient)
    assert op.is_tiling
    _, _, height, width = unpooled.inputs[0].spec.bind(1).static_shape
    rows, columns = op.kernel
    window = f"(plane) * {height * width} + (i) / {rows} * {width} + (j) / {columns}"
    met = f"(i) < {height * rows} && (j) < {width * columns} && "
    left_over = sizes.positions != (height * rows, width * columns)
    won = f"x2[{window}] == (i) % {rows} * {columns} + (j) % {columns}"
    return f"{met if left_over else ''}{won} ? {loaded(f'x1[{window}]', unpooled.dtype)} : 0"
