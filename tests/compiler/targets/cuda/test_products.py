"""The kernels of matrix products and convolutions, on the emulator against the ops' values, and compiled by nvcc."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from cuda_kernels import (
    ARCHITECTURES,
    Case,
    Runner,
    case,
    check_with_nvcc,
    check_with_sanitizers,
    for_each_architecture,
    needs_emulator,
    program,
)
from graphnn.compiler.plan.form import View
from graphnn.compiler.targets.cuda.emulator.machine import EmulatorMachine
from graphnn.compiler.targets.cuda.instance import Instance
from graphnn.compiler.targets.cuda.rules import gemm
from graphnn.compiler.targets.cuda.rules.direct import DirectConvolution
from graphnn.compiler.targets.cuda.rules.direct_weight import DirectWeightGradient
from graphnn.compiler.targets.cuda.rules.products import can_multiply, product_kernels, product_of
from graphnn.compiler.targets.cuda.rules.tiles import SHARED_BYTES, THREAD_TILES, WARP_TILES, Tile
from graphnn.ops import dtypes
from graphnn.ops.conv import Conv2d, Conv2dDataGradient, Conv2dWeightGradient
from graphnn.ops.matmul import MatMul
from graphnn.ops.node import Node
from graphnn.ops.spec import Dim, Extent, TensorSpec, as_shape, bind_extent
from graphnn.ops.window import Padding, Pair, output_size

N = Dim(1)
BATCH = 3
BATCHES = (1, BATCH)
TOLERANCES = {"float32": 2e-5, "float64": 1e-13, "float16": 2e-3, "bfloat16": 1e-2}
TF32 = 2e-2
INTEGERS = ("uint8", "int32", "int64")

Rule = Callable[[Node, int], list[Instance]]
Extents = tuple[Extent, ...]


# How a node is computed.

chosen = partial(product_kernels, precision="float32")


def tiled(tile: Tile, splits: int = 1, turned: bool = False, precision: str = "float32") -> Rule:
    def rule(node: Node, max_batch: int) -> list[Instance]:
        form = product_of(node, precision)
        return (form.turned() if turned else form).tiled(tile, splits, max_batch)

    return rule


def as_product(node: Node, max_batch: int, precision: str = "float32") -> list[Instance]:
    return product_of(node, precision).instances(max_batch)


def transposed(node: Node, max_batch: int, precision: str = "float32") -> list[Instance]:
    views = [View(0, given.spec, strides=transposed_strides(given.spec)) for given in node.inputs]
    return product_kernels(node, max_batch, precision, views)


def transposed_strides(spec: TensorSpec) -> Extents:
    """Return the strides of matrices whose columns follow one another."""
    *outer, rows, columns = spec.shape
    strides: list[Extent] = [1, rows]
    size = rows * columns
    for extent in reversed(outer):
        strides.insert(0, size)
        size = size * extent
    return tuple(strides)


# Matrix products.


@dataclass(frozen=True)
class Transposed(Case):
    """A matrix product of matrices whose columns follow one another."""

    def given(self, batch: int) -> list[np.ndarray]:
        return [np.ascontiguousarray(np.swapaxes(x, -1, -2)) for x in super().given(batch)]

    def expected(self, batch: int) -> list[np.ndarray]:
        return Case(self.name, self.nodes, self.instances, self.values, self.tolerance).expected(batch)


def numbers(shape: Extents, dtype: str, seed: int) -> np.ndarray:
    size = [bind_extent(extent, BATCH) for extent in shape]
    generator = np.random.default_rng(seed)
    if dtype in INTEGERS:
        return generator.integers(0, 200, size).astype(dtype)
    return generator.standard_normal(size).astype(dtypes.as_dtype(dtype).interface)


def matmul(name: str, a: Extents, b: Extents, rule: Rule, dtype: str = "float32", tf32: bool = False) -> Case:
    given = [(shape, dtype, numbers(shape, dtype, seed)) for seed, shape in enumerate((a, b))]
    tolerance = TF32 if tf32 else TOLERANCES.get(dtype)
    plain = case(f"matmul {name} {dtype}", MatMul(), given, rule, BATCH, tolerance)
    if rule is transposed or getattr(rule, "func", None) is transposed:
        return Transposed(plain.name, plain.nodes, plain.instances, plain.values, plain.tolerance)
    return plain


SHAPES: dict[str, tuple[Extents, Extents]] = {
    "many columns": ((N, 11), (11, 70)),
    "one column": ((N, 7), (7, 1)),
    "one row": ((1, 90), (90, 6)),
    "the batch is summed over": ((5, N), (N, 4)),
    "the batch on both sides": ((N, 6), (6, N)),
    "stacks of equal matrices": ((N, 2, 5, 7), (7, 3)),
    "stacks on the right": ((5, 7), (N, 2, 7, 3)),
    "two stacks": ((N, 2, 5, 7), (2, 7, 3)),
    "stacks that repeat": ((2, 1, 3, 4), (1, 3, 4, 5)),
    "the batch inside": ((4, N, 3, 5), (N, 5, 2)),
}


def matmul_cases() -> Iterator[Case]:
    for dtype in (*TOLERANCES, *INTEGERS):
        yield matmul("odd sizes", (N, 5, 37), (37, 21), chosen, dtype)
        yield matmul("transposed", (N, 19, 37), (N, 37, 21), transposed, dtype)
    for name, (a, b) in SHAPES.items():
        yield matmul(name, a, b, chosen)
        yield matmul(f"{name}, transposed", a, b, transposed)
        yield matmul(f"{name} in TF32", a, b, partial(product_kernels, precision="tf32"), tf32=True)
        yield matmul(f"{name} in TF32, transposed", a, b, partial(transposed, precision="tf32"), tf32=True)


def tile_cases() -> Iterator[Case]:
    """Every tile, with more than one of them along each axis, and a last one that is not full."""
    for number, tile in enumerate(THREAD_TILES):
        a, b = (N, tile.m // 3 + 5, 75), (75, tile.n + 3)
        yield matmul(f"tile {tile}", a, b, tiled(tile, splits=1 + number % 3))
        yield matmul(
            f"turned tile {tile}", (a[0], b[1], 75), (75, tile.m + 3), tiled(tile, 2 - number % 2, turned=True)
        )
    for number, tile in enumerate(WARP_TILES):
        a, b = (N, tile.m // 3 + 5, 75), (75, tile.n + 3)
        yield matmul(f"tile {tile}", a, b, tiled(tile, 1 + number % 2, precision="tf32"), tf32=True)
        for place, dtype in enumerate(("float16", "bfloat16")):
            yield matmul(f"tile {tile}", a, b, tiled(tile, 1 + (number + place) % 2, turned=place == 0), dtype)
    for tile in THREAD_TILES:
        if tile.shared_bytes(8, False) <= SHARED_BYTES:
            yield matmul(f"tile {tile}", (N, 9, 75), (75, 21), tiled(tile, 2), "float64")
            yield matmul(f"tile {tile}", (N, 9, 75), (75, 21), tiled(tile, 2), "int64")


def nonfinite_cases() -> Iterator[Case]:
    for rule in (chosen, as_product):
        values = numbers((N, 8, 20), "float32", 0), numbers((20, 6), "float32", 1)
        values[0][0, 2, 3], values[0][2, 4, 0], values[1][5, 1], values[1][3, 2] = np.nan, np.inf, -np.inf, 0
        given = [((N, 8, 20), "float32", values[0]), ((20, 6), "float32", values[1])]
        yield case("matmul of NaN and infinity", MatMul(), given, rule, BATCH, 2e-5)
        x, weight = numbers((N, 2, 6, 6), "float32", 0), numbers((3, 2, 3, 3), "float32", 1)
        x[0, 1, 2, 3], x[2, 0, 0, 0], weight[1, 0, 2, 2] = np.inf, np.nan, np.inf
        given = [((N, 2, 6, 6), "float32", x), ((3, 2, 3, 3), "float32", weight)]
        op = Conv2d((1, 1), ((1, 1), (1, 1)), (1, 1), 1)
        yield case("conv2d of NaN and infinity", op, given, rule, BATCH, 2e-5)


# Convolutions.


@dataclass(frozen=True)
class Sizes:
    """A convolution of images (channels, height, width) by a kernel."""

    images: tuple[int, int, int]
    outputs: int
    kernel: Pair
    padding: Padding = ((0, 0), (0, 0))
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    groups: int = 1
    count: Extent = N

    def cases(self, name: str, rule: Rule, dtype: str = "float32", tolerance: float | None = None) -> list[Case]:
        """Return the convolution and its two gradients."""
        channels, *size = self.images
        op = Conv2d(self.stride, self.padding, self.dilation, self.groups)
        positions = output_size(op.windows(self.kernel), (size[0], size[1]))
        x, weight = (self.count, *self.images), (self.outputs, channels // self.groups, *self.kernel)
        y = (self.count, self.outputs, *positions)
        ops = (
            (op, x, weight),
            (Conv2dDataGradient(*op.attributes, (size[0], size[1])), y, weight),
            (Conv2dWeightGradient(*op.attributes, self.kernel), x, y),
        )
        return [
            case(
                f"{each.label} {name} {dtype}",
                each,
                [(shape, dtype, numbers(shape, dtype, seed)) for seed, shape in enumerate(shapes)],
                rule,
                BATCH,
                tolerance or TOLERANCES[dtype],
            )
            for each, *shapes in ops
        ]


CONVOLUTIONS = {
    "padding": Sizes((1, 12, 12), 6, (5, 5), ((2, 2), (2, 2))),
    "several channels": Sizes((6, 9, 10), 16, (5, 5)),
    "asymmetric padding": Sizes((3, 7, 6), 5, (3, 2), ((2, 0), (0, 3))),
    "padding beyond the kernel": Sizes((2, 4, 5), 3, (2, 2), ((3, 2), (2, 3))),
    "stride": Sizes((3, 9, 10), 7, (3, 3), ((1, 1), (1, 1)), (2, 2)),
    "stride that divides the image": Sizes((3, 8, 8), 20, (2, 2), stride=(2, 2)),
    "stride larger than the kernel": Sizes((2, 11, 8), 3, (2, 1), stride=(4, 2)),
    "dilation": Sizes((2, 11, 9), 5, (3, 3), ((2, 2), (1, 4)), dilation=(2, 3)),
    "stride and dilation": Sizes((2, 12, 13), 3, (3, 3), ((3, 3), (0, 4)), (4, 3), (2, 2)),
    "groups": Sizes((6, 7, 7), 9, (3, 3), ((1, 1), (1, 1)), groups=3),
    "depthwise": Sizes((5, 8, 6), 5, (3, 3), ((1, 1), (1, 1)), groups=5),
    "depthwise with stride": Sizes((3, 8, 6), 6, (3, 3), ((1, 1), (1, 1)), (2, 2), groups=3),
    "1x1": Sizes((7, 5, 5), 11, (1, 1)),
    "kernel as large as the image": Sizes((3, 5, 7), 4, (5, 7)),
    "images without a batch": Sizes((2, 5, 5), 3, (3, 3), count=2),
}


LENET = {"conv1": Sizes((1, 28, 28), 6, (5, 5), ((2, 2), (2, 2))), "conv2": Sizes((6, 14, 14), 16, (5, 5))}


def convolution_cases() -> Iterator[Case]:
    for name, sizes in CONVOLUTIONS.items():
        yield from sizes.cases(name, as_product)
        yield from sizes.cases(f"{name} in TF32", partial(as_product, precision="tf32"), tolerance=TF32)
    for dtype in ("float64", "float16", "bfloat16"):
        yield from CONVOLUTIONS["groups"].cases("groups", as_product, dtype)


def direct_cases() -> Iterator[Case]:
    """Numbers of pixels and of output channels that a thread may compute, and of slices."""

    def strip(number: int, node: Node, max_batch: int) -> list[Instance]:
        form = DirectConvolution.of(node)
        strips = list(form.strips()) if form is not None else []
        return [form.instance(strips[number % len(strips)])] if form is not None and strips else chosen(node, max_batch)

    for name in ("padding", "several channels", "stride", "dilation", "groups"):
        for number in range(0, 27, 2):
            forward, backward, _ = CONVOLUTIONS[name].cases(f"{name} in strips {number}", partial(strip, number))
            yield from (forward, backward)
    for dtype in ("float64", "float16", "bfloat16"):
        forward, backward, _ = CONVOLUTIONS["depthwise"].cases("depthwise", partial(strip, 1), dtype)
        yield from (forward, backward)


def direct_weight_cases() -> Iterator[Case]:
    """Numbers of channels and of pixels that a thread may add up, and of blocks that share them."""

    def share(number: int, node: Node, max_batch: int) -> list[Instance]:
        form = DirectWeightGradient.of(node)
        assert form is not None
        shares = list(form.shares(max_batch))
        shares += [replace(each, splits=3) for each in shares]
        return form.instances(shares[number % len(shares)])

    for name in ("padding", "several channels", "stride", "dilation", "groups", "depthwise"):
        for number in range(0, 40, 3):
            yield CONVOLUTIONS[name].cases(f"{name} in shares {number}", partial(share, number))[2]
    for dtype in ("float64", "float16", "bfloat16"):
        yield CONVOLUTIONS["groups"].cases("groups", partial(share, 1), dtype)[2]
    x, dy = numbers((N, 1, 4, 5), "float32", 0), numbers((N, 2, 2, 3), "float32", 1)
    x[1, 0, 2, 4] = np.inf  # which a pixel beyond the last one would meet
    for number in range(3):
        given = [((N, 1, 4, 5), "float32", x), ((N, 2, 2, 3), "float32", dy)]
        op = Conv2dWeightGradient((1, 1), ((0, 0), (0, 0)), (1, 1), 1, (3, 3))
        yield case(f"infinity at the edge in shares {number}", op, given, partial(share, number * 3), BATCH, 2e-5)


# Checks.


@needs_emulator
@pytest.mark.parametrize(
    "cases",
    [matmul_cases, tile_cases, nonfinite_cases, convolution_cases, direct_cases, direct_weight_cases],
    ids=lambda f: f.__name__,
)
def test_values(cases: Callable[[], Iterator[Case]]) -> None:
    Runner(list(cases())).check_all(BATCHES)


@needs_emulator
def test_wide_indices() -> None:
    cases = [
        *CONVOLUTIONS["padding"].cases("padding", chosen),
        *CONVOLUTIONS["stride"].cases("stride", as_product),
        matmul("two stacks", *SHAPES["two stacks"], chosen),
    ]
    Runner(cases, index="long long").check_all((BATCH,))


@needs_emulator
def test_more_products_than_a_grid_has_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gemm, "LARGEST_GRID", 4)
    cases = [
        matmul("many stacks", (N, 3, 2, 40), (N, 3, 40, 3), chosen),
        matmul("many stacks, split", (N, 3, 2, 70), (N, 3, 70, 3), tiled(THREAD_TILES[7], 3)),
    ]
    assert [each.instances[0].defines["EACH_Z"] for each in cases] == ["3", "7"]
    Runner(cases).check_all(BATCHES)


def check_memory(machine: EmulatorMachine) -> None:
    cases = [
        *CONVOLUTIONS["asymmetric padding"].cases("asymmetric padding", chosen),
        CONVOLUTIONS["stride"].cases("stride", as_product)[1],
        matmul("split", (N, 75), (75, 21), tiled(THREAD_TILES[7], 3)),
        matmul("in TF32", (N, 75), (75, 21), tiled(WARP_TILES[5], 2, precision="tf32"), tf32=True),
    ]
    Runner(cases, machines=[machine]).check_all((BATCH,))


@needs_emulator
def test_no_access_outside(tmp_path: Path) -> None:
    check_with_sanitizers(__file__, "check_memory", tmp_path)


@for_each_architecture
def test_nvcc_takes_the_kernels(architecture: int, tmp_path: Path) -> None:
    number = ARCHITECTURES.index(architecture)
    tiles = [*tile_cases()][number :: len(ARCHITECTURES)]  # each for one of them: all would take long
    cases = [*LENET["conv1"].cases("conv1", chosen), *LENET["conv2"].cases("conv2", chosen), *tiles]
    check_with_nvcc(program(cases)[0], architecture, tmp_path)


# Choices.


def test_every_tile_fits_into_shared_memory() -> None:
    assert all(tile.shared_bytes(4, False) <= SHARED_BYTES for tile in THREAD_TILES)
    assert all(tile.shared_bytes(4, True) <= SHARED_BYTES for tile in WARP_TILES)
    assert any(tile.shared_bytes(8, False) <= SHARED_BYTES for tile in THREAD_TILES)


def test_what_has_no_kernel() -> None:
    def node(a: Extents, b: Extents) -> Node:
        given = [(as_shape(shape), "float32", np.zeros(0)) for shape in (a, b)]
        return case("", MatMul(), given, lambda *_: [], BATCH).nodes[0]

    assert not can_multiply(node((N, N, 2, 3), (N, N, 3, 2)))
    assert can_multiply(node((N, 2, 3), (N, 3, N)))


@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_the_layers_of_lenet_keep_a_gpu_busy(precision: str) -> None:
    for sizes in LENET.values():
        for each in sizes.cases("", lambda *_: []):
            first, *rest = product_kernels(each.nodes[0], 100, precision)
            x, y, z = (blocks.count(100) for blocks in first.grid)
            assert x * y * z >= 100
            assert bool(rest) == isinstance(each.nodes[0].op, Conv2dWeightGradient) == bool(first.workspace)
