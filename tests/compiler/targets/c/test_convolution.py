"""The printed convolutions, compiled and compared with what the ops evaluate in float64."""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from compiled_kernels import aligned, blocks_of
from graphnn.compiler.targets.c import convolution
from graphnn.compiler.targets.c.convolution import print_conv2d, print_conv2d_data_gradient
from graphnn.compiler.targets.c.convolution_geometry import Axis, Conv2dGeometry
from graphnn.compiler.targets.c.convolution_weight_gradient import (
    print_conv2d_weight_gradient,
    weight_gradient_accumulator_size,
)
from graphnn.compiler.targets.c.register_tiles import Parts
from graphnn.ops import dtypes
from graphnn.ops.conv import Conv2d, Conv2dDataGradient, Conv2dWeightGradient
from graphnn.ops.errors import ShapeError
from graphnn.ops.max_pool import MaxPool2d, MaxPool2dIndices
from graphnn.ops.spec import TensorSpec
from graphnn.ops.window import Padding, Pair

HEADER = Path(convolution.__file__).with_name("lanes.h")
FLAGS = ("-std=gnu11", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi")
COMPILER = next((path for name in (os.environ.get("CC", "cc"), "gcc", "clang") if (path := shutil.which(name))), "")
TOLERANCE = 1e-6

needs_compiler = pytest.mark.skipif(not COMPILER, reason="no C compiler")


def spec(shape: tuple[int, ...]) -> TensorSpec:
    return TensorSpec(shape, dtypes.float64)


def geometry_of(
    channels: int,
    size: int | Pair,
    outputs: int,
    kernel: int | Pair,
    padding: int | Padding = 0,
    stride: int | Pair = 1,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Conv2dGeometry:
    def pair(value: int | Pair) -> Pair:
        return (value, value) if isinstance(value, int) else value

    pads = ((padding, padding), (padding, padding)) if isinstance(padding, int) else padding
    op = Conv2d(pair(stride), pads, pair(dilation), groups)
    weight = spec((outputs, channels // groups, *pair(kernel)))
    return Conv2dGeometry.of(op, spec((1, channels, *pair(size))), weight)


CHOSEN = {
    "lenet conv1": geometry_of(1, 28, 6, 5, padding=2),
    "lenet conv2": geometry_of(6, 14, 16, 5),
    "mnist_cnn conv1": geometry_of(1, 28, 4, 3, padding=1),
    "mnist_cnn conv2": geometry_of(4, 14, 8, 3, padding=1),
    "simple_conv conv1": geometry_of(1, 28, 8, 5, padding=2),
    "stride 2": geometry_of(3, 9, 7, 3, padding=1, stride=2),
    "dilation": geometry_of(2, 11, 5, 3, padding=2, dilation=2),
    "stride and dilation with a common factor": geometry_of(2, 12, 3, 3, padding=3, stride=4, dilation=2),
    "groups": geometry_of(6, 7, 9, 3, padding=1, groups=3),
    "depthwise": geometry_of(5, 8, 5, 3, padding=1, groups=5),
    "depthwise with two outputs each": geometry_of(3, (6, 9), 6, (3, 1), groups=3),
    "1x1": geometry_of(7, 5, 11, 1),
    "one of everything": geometry_of(1, 1, 1, 1),
    "kernel as large as the image": geometry_of(3, (5, 7), 4, (5, 7)),
    "asymmetric padding": geometry_of(2, (6, 5), 3, (4, 2), padding=((3, 0), (0, 1))),
    "stride larger than the kernel": geometry_of(2, 11, 3, 2, stride=4),
    "columns that no kernel reaches": geometry_of(2, (8, 9), 3, 3, stride=(1, 4)),
    "windows in the padding alone": geometry_of(2, 3, 3, 2, padding=4),
    "dilation larger than the image": geometry_of(1, 4, 2, 3, padding=6, dilation=5),
    "one row": geometry_of(3, (1, 17), 5, (1, 4), padding=((0, 0), (2, 1))),
    "one column": geometry_of(3, (17, 1), 5, (4, 1), padding=((2, 1), (0, 0))),
    "kernel too wide to be resolved": geometry_of(1, (2, 64), 3, (1, 63), padding=((0, 0), (31, 31))),
    "strided kernel too wide to be resolved": geometry_of(
        2, (3, 180), 4, (2, 80), padding=((1, 0), (37, 41)), stride=(1, 2), dilation=(1, 3), groups=2
    ),
}


def random_geometries(count: int) -> Iterator[Conv2dGeometry]:
    """Sizes that nobody chose."""
    draw = random.Random(1)

    def pair(low: int, high: int) -> Pair:
        return draw.randint(low, high), draw.randint(low, high)

    while count:
        groups = draw.choice((1, 1, 1, 2, 3))
        try:
            geometry = geometry_of(
                groups * draw.randint(1, 4),
                pair(1, 10),
                groups * draw.randint(1, 5),
                pair(1, 4),
                (pair(0, 3), pair(0, 3)),
                pair(1, 3),
                pair(1, 3),
                groups,
            )
        except ShapeError:
            continue
        count -= 1
        yield geometry


GEOMETRIES = {**CHOSEN, **{str(geometry): geometry for geometry in random_geometries(22)}}
POOLS = ((2, 2), (1, 2), (3, 2), (2, 1))  # in turn
ACCUMULATED = """
void {name}(const float *x, const float *dy, float *sums, float *dw, int blocks, int valid)
{{
    memset(sums, 0, {sums} * sizeof *sums);
    for (int block = 0; block < blocks; block++)
        {name}_dw(x + block * {x}, dy + block * {y}, sums, block + 1 < blocks ? LANES : valid);
    {name}_dw_finish(sums, dw);
}}
"""


def compiled_with(lanes: int) -> list[int]:
    """The geometries that are compiled with so many lanes: all with 8, some with 4 and 16."""
    return [number for number in range(len(GEOMETRIES)) if lanes == 8 or number % 3 == 0]


def unit(lanes: int, numbers: Iterable[int]) -> str:
    """All kernels of some geometries, and functions that call them from outside."""
    parts = [f"#define LANES {lanes}", "#include <string.h>", HEADER.read_text()]
    for number in numbers:
        g = list(GEOMETRIES.values())[number]
        name, x, y = f"k{number}", np.prod((g.channels, *g.size)), np.prod((g.outputs, *g.positions))
        pool = POOLS[number % len(POOLS)]
        act = f"{name}_relu(x, w, b, 0, y)"
        parts += [
            print_conv2d(f"{name}_pooled", g, lanes, bias=True, pool=pool),
            f"void {name}_pool(const float *x, const float *w, const float *b, uint8_t *indices, float *y)",
            f"{{ {name}_pooled(x, w, b, indices, y); }}",
            print_conv2d(f"{name}_plain", g, lanes),
            print_conv2d(f"{name}_relu", g, lanes, bias=True, relu=True),
            print_conv2d_data_gradient(f"{name}_dx", g, lanes),
            print_conv2d_weight_gradient(f"{name}_dw", g, lanes),
            f"void {name}_y(const float *x, const float *w, float *y) {{ {name}_plain(x, w, 0, 0, y); }}",
            f"void {name}_act(const float *x, const float *w, const float *b, float *y) {{ {act}; }}",
            f"void {name}_back(const float *dy, const float *w, float *dx) {{ {name}_dx(dy, w, dx); }}",
            ACCUMULATED.format(name=name, x=x * lanes, y=y * lanes, sums=weight_gradient_accumulator_size(g, lanes)),
        ]
    return "\n".join(parts)


def compile_unit(source: str, folder: Path, *flags: str) -> Path:
    (folder / "unit.c").write_text(source)
    command = [COMPILER, *FLAGS, *flags, "-Wall", "-Wno-unused", "-Werror", "unit.c", "-lm", "-o", "built"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "built"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], ctypes.CDLL]:
    """Compiled kernels by their number of lanes."""

    @cache
    def compiled(lanes: int) -> ctypes.CDLL:
        flags = ("-O3" if lanes == 8 else "-O0", "-shared", "-fPIC")
        return ctypes.CDLL(
            str(compile_unit(unit(lanes, compiled_with(lanes)), tmp_path_factory.mktemp(f"lanes{lanes}"), *flags))
        )

    return compiled


def unwritten(count: int) -> np.ndarray:
    return aligned(count, fill=np.nan)


def from_lanes(values: np.ndarray, shape: tuple[int, ...], lanes: int) -> np.ndarray:
    return np.moveaxis(values.reshape(*shape, lanes), -1, 0)


def call(function: Callable[..., None], *arguments: np.ndarray | int) -> None:
    function(*(ctypes.c_long(a) if isinstance(a, int) else ctypes.c_void_p(a.ctypes.data) for a in arguments))


@dataclass
class Case:
    """Numbers for one geometry, exact in float32, and what the ops make of them in float64."""

    geometry: Conv2dGeometry
    examples: int

    def __post_init__(self) -> None:
        g, rng = self.geometry, np.random.default_rng(self.examples)
        self.x, self.dy, self.weight, self.bias = (
            rng.standard_normal(shape).astype(np.float32)
            for shape in (
                (self.examples, g.channels, *g.size),
                (self.examples, g.outputs, *g.positions),
                (g.outputs, g.group_channels, *g.kernel),
                (g.outputs,),
            )
        )
        self.attributes = g.stride, g.padding, g.dilation, g.groups

    def y(self) -> np.ndarray:
        op = Conv2d(*self.attributes)
        return op.evaluate(spec(self.dy.shape), self.x.astype(float), self.weight.astype(float))

    def dx(self) -> np.ndarray:
        op = Conv2dDataGradient(*self.attributes, self.geometry.size)
        return op.evaluate(spec(self.x.shape), self.dy.astype(float), self.weight.astype(float))

    def dw(self) -> np.ndarray:
        op = Conv2dWeightGradient(*self.attributes, self.geometry.kernel)
        return op.evaluate(spec(self.weight.shape), self.x.astype(float), self.dy.astype(float))


def check(actual: np.ndarray, expected: np.ndarray) -> None:
    error = np.sqrt(np.mean((actual - expected) ** 2))  # NaN where something wasn't written
    # Summands have variance 1: a result that is smaller on the whole has lost its digits to cancellation.
    assert error <= TOLERANCE * max(1, np.sqrt(np.mean(expected**2)))


each_geometry = pytest.mark.parametrize(
    ("lanes", "number"),
    [
        pytest.param(lanes, number, id=f"{lanes} lanes, {list(GEOMETRIES)[number]}")
        for lanes in (4, 8, 16)
        for number in compiled_with(lanes)
    ],
)


@needs_compiler
@each_geometry
def test_forward(library: Callable[[int], ctypes.CDLL], lanes: int, number: int) -> None:
    geometry = list(GEOMETRIES.values())[number]
    case = Case(geometry, lanes)
    x, y = blocks_of(case.x, lanes), unwritten(case.dy.size)
    call(getattr(library(lanes), f"k{number}_y"), x, case.weight, y)
    shape, expected = case.dy.shape[1:], case.y()
    check(from_lanes(y, shape, lanes), expected)
    call(getattr(library(lanes), f"k{number}_act"), x, case.weight, case.bias, y)
    check(from_lanes(y, shape, lanes), np.maximum(expected + case.bias.reshape(-1, 1, 1), 0))


@needs_compiler
@each_geometry
def test_pooled(library: Callable[[int], ctypes.CDLL], lanes: int, number: int) -> None:
    case, pool = Case(list(GEOMETRIES.values())[number], lanes), POOLS[number % len(POOLS)]
    op = MaxPool2d(pool, pool, ((0, 0), (0, 0)), False, (1, 1))
    case.bias[0] = np.nan
    case.x[0, 0, -1, -1] = np.nan  # in one example; a bias is in all
    with np.errstate(invalid="ignore"):
        image = case.y() + case.bias.reshape(-1, 1, 1).astype(float)
    if min(whole // part for whole, part in zip(image.shape[2:], pool, strict=True)) == 0:
        return
    pooled = op.infer(spec(image.shape))
    expected = op.evaluate(pooled, image)
    positions = MaxPool2dIndices(*op.attributes).evaluate(pooled.with_dtype(dtypes.uint8), image)
    y, indices = unwritten(expected.size), np.zeros(expected.size, np.uint8)
    x = blocks_of(case.x, lanes)
    call(getattr(library(lanes), f"k{number}_pool"), x, case.weight, case.bias, indices, y)
    found = from_lanes(y, expected.shape[1:], lanes)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    check(np.nan_to_num(found), np.nan_to_num(expected))
    np.testing.assert_array_equal(from_lanes(indices, expected.shape[1:], lanes), positions)
    without = unwritten(expected.size)
    call(getattr(library(lanes), f"k{number}_pool"), x, case.weight, case.bias, 0, without)
    np.testing.assert_array_equal(without, y)


@needs_compiler
@each_geometry
def test_data_gradient(library: Callable[[int], ctypes.CDLL], lanes: int, number: int) -> None:
    case = Case(list(GEOMETRIES.values())[number], lanes)
    dx = unwritten(case.x.size)
    call(getattr(library(lanes), f"k{number}_back"), blocks_of(case.dy, lanes), case.weight, dx)
    check(from_lanes(dx, case.x.shape[1:], lanes), case.dx())


@needs_compiler
@each_geometry
def test_weight_gradient(library: Callable[[int], ctypes.CDLL], lanes: int, number: int) -> None:
    geometry = list(GEOMETRIES.values())[number]
    for valid in range(1, lanes + 1):
        case = Case(geometry, lanes + valid)
        sums, dw = unwritten(weight_gradient_accumulator_size(geometry, lanes)), unwritten(case.weight.size)
        x, dy = blocks_of(case.x, lanes), blocks_of(case.dy, lanes)
        call(getattr(library(lanes), f"k{number}"), x, dy, sums, dw, 2, valid)
        check(dw.reshape(case.weight.shape), case.dw())
        again = unwritten(case.weight.size)
        call(getattr(library(lanes), f"k{number}"), x, dy, sums, again, 2, valid)
        np.testing.assert_array_equal(again, dw)


@needs_compiler
@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_relu_propagates_nan_and_infinity(library: Callable[[int], ctypes.CDLL], lanes: int) -> None:
    number = list(GEOMETRIES).index("one of everything")
    values = np.array([np.nan, np.inf, -np.inf, -1.0] * (lanes // 4), np.float32)
    y = unwritten(lanes)
    one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
    call(getattr(library(lanes), f"k{number}_act"), blocks_of(values.reshape(-1, 1), lanes), one, zero, y)
    np.testing.assert_array_equal(y, np.array([np.nan, np.inf, 0, 0] * (lanes // 4), np.float32))


MAIN = """
#include <stdlib.h>
static float *numbers(long count)
{
    void *memory;
    if (posix_memalign(&memory, 64, count * 4)) abort();
    float *p = memory;
    for (long i = 0; i < count; i++) p[i] = i % 7 - 3;
    return p;
}
"""


@needs_compiler
def test_nothing_is_read_or_written_out_of_bounds(tmp_path: Path) -> None:
    lanes, calls = 4, []
    for number, g in enumerate(CHOSEN.values()):
        sizes = {
            "x": np.prod((g.channels, *g.size)) * lanes,
            "y": np.prod((g.outputs, *g.positions)) * lanes,
            "w": g.outputs * g.group_channels * np.prod(g.kernel),
            "b": g.outputs,
            "sums": weight_gradient_accumulator_size(g, lanes),
        }
        calls += [
            "{",
            *(f"    float *{name} = numbers({size});" for name, size in sizes.items()),
            f"    uint8_t *indices = malloc({sizes['y']});",
            f"    k{number}_y(x, w, y); k{number}_act(x, w, b, y);",
            f"    k{number}_pool(x, w, b, indices, y);",
            f"    k{number}_back(y, w, x); k{number}(x, y, sums, w, 1, 3);",
            *(f"    free({name});" for name in (*sizes, "indices")),
            "}",
        ]
    source = "\n".join([unit(lanes, range(len(CHOSEN))), MAIN, "int main(void)", "{", *calls, "    return 0;", "}"])
    flags = ("-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    try:
        program = compile_unit(source, tmp_path, *flags)
    except AssertionError as error:
        if "cannot find" in str(error):
            pytest.skip("the compiler has no sanitizers")
        raise
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_geometry_of_an_op() -> None:
    op = Conv2dDataGradient((2, 1), ((1, 0), (0, 2)), (1, 2), 2, (9, 8))
    geometry = Conv2dGeometry.of(op, spec((5, 4, 9, 8)), spec((6, 2, 3, 3)))
    assert geometry == Conv2dGeometry(4, (9, 8), 6, (3, 3), (2, 1), ((1, 0), (0, 2)), (1, 2), 2, (4, 6))


def test_both_directions_describe_the_same_products() -> None:
    axis = Axis(size=7, kernel=3, stride=2, before=2, dilation=3, positions=3)
    forward = {(tap, i, o) for o, reads in enumerate(axis.forward().places) for tap, i in reads}
    backward = {(tap, i, o) for i, reads in enumerate(axis.backward().places) for tap, o in reads}
    every = {(k, 2 * o + 3 * k - 2, o) for k in range(3) for o in range(3) if 0 <= 2 * o + 3 * k - 2 < 7}
    assert forward == backward == every


@pytest.mark.parametrize("count", range(1, 30))
@pytest.mark.parametrize("at_most", range(1, 8))
def test_parts_cover_a_count_once(count: int, at_most: int) -> None:
    parts = Parts.of(count, at_most)
    assert [place for part in parts for place in part] == list(range(count))
    assert max(map(len, parts)) <= at_most
    assert sum(size * number for size, number in parts.sizes) == count


def test_functions_are_short_and_say_what_they_compute() -> None:
    text = print_conv2d("conv2", CHOSEN["lenet conv2"], 8, bias=True, relu=True)
    assert text.startswith("/* kernel: conv2d + bias + relu conv2: 6x14x14 to 16x10x10, kernel 5x5")
    assert len(text.splitlines()) < 200
