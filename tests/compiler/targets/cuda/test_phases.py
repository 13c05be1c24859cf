"""The gradient of strided convolutions by their images, phase by phase, on the emulator against the op's value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice, product
from math import prod
from pathlib import Path

import numpy as np
import pytest

from cuda_kernels import (
    Case,
    Runner,
    case,
    check_with_nvcc,
    check_with_sanitizers,
    for_each_architecture,
    needs_emulator,
    program,
)
from graphnn.compiler.targets.cuda.emulator.machine import EmulatorMachine
from graphnn.compiler.targets.cuda.instance import Instance
from graphnn.compiler.targets.cuda.rules import gemm, phases
from graphnn.compiler.targets.cuda.rules.phases import PhasedAxis, reciprocal
from graphnn.compiler.targets.cuda.rules.products import product_of
from graphnn.compiler.targets.cuda.rules.tiles import SHARED_BYTES, THREAD_TILES, WARP_TILES, Tile
from graphnn.ops.conv import Conv2d, Conv2dDataGradient
from graphnn.ops.dtypes import as_dtype
from graphnn.ops.errors import ShapeError
from graphnn.ops.node import Node
from graphnn.ops.spec import Dim, Extent, bind_extent
from graphnn.ops.window import Padding, Pair, output_size

N = Dim(1)
BATCH = 3
BATCHES = (1, BATCH)
TOLERANCES = {"float64": None, "float32": 2e-5, "float16": 2e-3, "bfloat16": 1e-2}  # sums of integers are exact

Rule = Callable[[Node, int], list[Instance]]


def whole(node: Node, max_batch: int, precision: str = "float32") -> list[Instance]:
    return product_of(node, precision).instances(max_batch)


def tiled(tile: Tile, splits: int, turned: bool, precision: str = "float32") -> Rule:
    def rule(node: Node, max_batch: int) -> list[Instance]:
        form = product_of(node, precision)
        return (form.turned() if turned else form).tiled(tile, splits, max_batch)

    return rule


@dataclass(frozen=True)
class Geometry:
    """A convolution with strides; channels and outputs are those of a group."""

    channels: int
    outputs: int
    size: Pair
    kernel: Pair
    stride: Pair
    padding: Padding = ((0, 0), (0, 0))
    dilation: Pair = (1, 1)
    groups: int = 1
    count: Extent = N

    @property
    def positions(self) -> Pair:
        """Height and width of y; ShapeError if there are none."""
        op = Conv2d(self.stride, self.padding, self.dilation, self.groups)
        return output_size(op.windows(self.kernel), self.size)

    def case(
        self, rule: Rule = whole, dtype: str = "float64", tolerance: float | None = None, holes: bool = False
    ) -> Case:
        """Return the gradient by the images, of small integers; with holes, of a y that has NaN here and there."""
        op = Conv2dDataGradient(self.stride, self.padding, self.dilation, self.groups, self.size)
        y = (self.count, self.outputs * self.groups, *self.positions)
        weight = (self.outputs * self.groups, self.channels, *self.kernel)
        generator = np.random.default_rng(prod(self.size))
        given = []
        for shape in (y, weight):
            values = generator.integers(-8, 9, [bind_extent(extent, BATCH) for extent in shape])
            given.append((shape, dtype, values.astype(as_dtype(dtype).interface)))
        if holes:
            given[0][2][generator.random(given[0][2].shape) < 0.1] = np.nan
        return case(f"{self} {dtype}", op, given, rule, BATCH, tolerance or TOLERANCES[dtype])


def geometries() -> Iterator[Geometry]:
    """Generate geometries at random, without end."""
    generator = np.random.default_rng(20)

    def pair(first: int, last: int) -> Pair:
        one, other = generator.integers(first, last + 1, 2).tolist()
        return one, other

    while True:
        geometry = Geometry(
            *pair(1, 4),
            size=pair(1, 11),
            kernel=pair(1, 5),
            stride=pair(1, 4),
            padding=(pair(0, 4), pair(0, 4)),
            dilation=pair(1, 3),
            groups=1 + int(generator.random() < 0.3),
            count=2 if generator.random() < 0.1 else N,
        )
        try:
            _ = geometry.positions
        except ShapeError:
            continue
        if geometry.stride != (1, 1):
            yield geometry


DOWN = Geometry(5, 7, (9, 8), (3, 3), (2, 2), ((1, 1), (1, 0)), groups=2)
SHORTCUT = Geometry(6, 5, (7, 8), (1, 1), (2, 2))
GAPS = Geometry(3, 5, (13, 11), (3, 4), (4, 2), ((3, 2), (0, 5)), (2, 4))
EVEN = Geometry(5, 3, (8, 6), (4, 2), (2, 2), ((1, 1), (0, 0)))
BY_HAND = (DOWN, SHORTCUT, GAPS, EVEN)


@needs_emulator
def test_every_geometry() -> None:
    Runner([geometry.case() for geometry in islice(geometries(), 100)]).check_all((BATCH,))


@needs_emulator
def test_every_element_type() -> None:
    cases = [geometry.case(dtype=dtype) for geometry in BY_HAND for dtype in ("float32", "float16", "bfloat16")]
    cases += [geometry.case(partial(whole, precision="tf32"), "float32", 2e-2) for geometry in BY_HAND]
    Runner(cases).check_all(BATCHES)


@needs_emulator
def test_every_tile() -> None:
    """Splits too, of phases that have fewer terms than others, or none; and pairs of terms whose last is half."""
    cases = [
        geometry.case(tiled(tile, splits, turned))
        for number, tile in enumerate(THREAD_TILES)
        if tile.shared_bytes(8, False) <= SHARED_BYTES
        for geometry, splits, turned in ((DOWN, 3, number % 2 == 0), (SHORTCUT, 2, number % 2 == 1))
    ]
    cases += [
        geometry.case(tiled(tile, 1 + number % 3, number % 2 == 0), "float16")
        for number, tile in enumerate(WARP_TILES)
        for geometry in (DOWN, GAPS)
    ]
    Runner(cases).check_all(BATCHES)


@needs_emulator
def test_what_no_window_reaches_stays_zero() -> None:
    """NaN in y spreads to the pixels that its windows see, and to no other."""
    cases = [geometry.case(holes=True) for geometry in BY_HAND]
    for each in cases:
        reached = np.isnan(each.expected(BATCH)[0])
        assert reached.any()
        assert not reached.all()
    Runner(cases).check_all(BATCHES)


def check_memory(machine: EmulatorMachine) -> None:
    drawn = [geometry.case() for geometry in islice(geometries(), 6)]
    Runner([*drawn, *(geometry.case(dtype="float16") for geometry in BY_HAND)], machines=[machine]).check_all(BATCHES)


@needs_emulator
def test_no_access_outside(tmp_path: Path) -> None:
    check_with_sanitizers(__file__, "check_memory", tmp_path)


@needs_emulator
def test_wide_indices() -> None:
    Runner([geometry.case() for geometry in BY_HAND], index="long long").check_all(BATCHES)


@needs_emulator
def test_more_phases_than_a_grid_has_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gemm, "LARGEST_GRID", 3)
    cases = [DOWN.case(), SHORTCUT.case()]
    assert [each.instances[0].defines["EACH_Z"] for each in cases] == ["3", "2"]
    Runner(cases).check_all(BATCHES)


@needs_emulator
def test_terms_too_many_for_reciprocals(monkeypatch: pytest.MonkeyPatch) -> None:
    uneven = [geometry.case() for geometry in (DOWN, GAPS)]
    monkeypatch.setattr(phases, "EXACT", 1)
    divided = [geometry.case() for geometry in (DOWN, GAPS)]
    for one, other in zip(uneven, divided, strict=True):
        assert ">> 31" in one.instances[0].defines["OUTPUT_CHANNEL(z, k)"]
        assert ">> 31" not in other.instances[0].defines["OUTPUT_CHANNEL(z, k)"]
    Runner(divided).check_all(BATCHES)


@pytest.mark.parametrize("divisor", [*range(1, 50), 63, 64, 1023, 1025, 46341])
def test_reciprocals_are_exact(divisor: int) -> None:
    end = min(phases.EXACT // max(1, divisor - 1), 2**31)
    numbers = np.unique(np.concatenate([np.arange(min(end, 5000)), np.arange(max(0, end - 5000), end)]))
    quotients = numbers.astype(np.uint64) * np.uint64(reciprocal(divisor)) >> np.uint64(31)
    np.testing.assert_array_equal(quotients, numbers // divisor)


@pytest.mark.parametrize("stride", range(1, 7))
def test_every_tap_is_of_one_phase(stride: int) -> None:
    for kernel, dilation in product(range(1, 8), range(1, 5)):
        axis = PhasedAxis(30, 10, kernel, stride, dilation, 0)
        taps = [axis.taps(phase) for phase in range(stride)]
        assert sum(taps) == kernel
        assert taps == sorted(taps, reverse=True)


@pytest.mark.parametrize(
    "geometry",
    [
        Geometry(64, 128, (56, 56), (3, 3), (2, 2), ((1, 1), (1, 1))),
        Geometry(64, 128, (56, 56), (1, 1), (2, 2)),
        Geometry(8, 16, (32, 32), (4, 4), (2, 2), ((1, 1), (1, 1))),
    ],
    ids=["3x3", "1x1", "4x4"],
)
def test_the_gradient_takes_as_many_products_as_the_convolution(geometry: Geometry) -> None:
    work = product_of(geometry.case().nodes[0], "float32").work(1)
    places = prod(geometry.positions) * prod(geometry.kernel)
    assert work.batches * work.m * work.n * work.k == places * geometry.outputs * geometry.channels


@for_each_architecture
def test_nvcc_takes_the_kernels(architecture: int, tmp_path: Path) -> None:
    down = Geometry(64, 128, (56, 56), (3, 3), (2, 2), ((1, 1), (1, 1)))
    cases = [geometry.case(dtype=dtype) for geometry in (down, GAPS) for dtype in ("float32", "float64", "float16")]
    cases += [down.case(partial(whole, precision="tf32"), "float32", 2e-2)]
    check_with_nvcc(program(cases)[0], architecture, tmp_path)
