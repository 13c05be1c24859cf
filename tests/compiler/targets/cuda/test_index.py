"""The kernels of ops that pick, place, add by positions and go along axes, against the ops' values, and by nvcc."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import numpy as np

from cuda_kernels import (
    FLOATING,
    Case,
    Runner,
    case,
    check_with_nvcc,
    check_with_sanitizers,
    for_each_architecture,
    for_each_case,
    needs_emulator,
    program,
    runner_of,
)
from graphnn.compiler.targets.cuda.emulator.machine import EmulatorMachine
from graphnn.compiler.targets.cuda.rules.index import RULES
from graphnn.ops import dtypes
from graphnn.ops.context import apply
from graphnn.ops.gather import Gather, ScatterAdd
from graphnn.ops.graph import Graph
from graphnn.ops.index import OneHot, Take, TakeGradient
from graphnn.ops.op import Op
from graphnn.ops.product import Prod
from graphnn.ops.reduce import Argmax
from graphnn.ops.scan import Cumprod, Cumsum, LinearRecurrence
from graphnn.ops.slicing import Pad, Slice, SliceGradient
from graphnn.ops.spec import Dim, as_shape
from graphnn.ops.state import placeholder

BATCH = 5
N = Dim(1)
INF, NAN = np.inf, np.nan
ALL_TYPES = ("bool", "uint8", "int32", "int64", *FLOATING)
Shape = tuple[int | Dim | None, ...]
Given = tuple[Shape, str, np.ndarray]


def full(shape: Shape) -> tuple[int, ...]:
    return tuple(size.bind(BATCH) if isinstance(size, Dim) else BATCH if size is None else size for size in shape)


def numbers(shape: Shape, dtype: str = "float32", seed: int = 0) -> Given:
    drawn = np.random.default_rng(seed).standard_normal(full(shape))
    whole = dtype in ("bool", "uint8", "int32", "int64")
    return shape, dtype, np.round(3 * np.abs(drawn)) % (2 if dtype == "bool" else 100) if whole else drawn


def indices(shape: Shape, low: int, high: int, dtype: str = "int64", seed: int = 1) -> Given:
    return shape, dtype, np.random.default_rng(seed).integers(low, high, full(shape))


def index_case(name: str, op: Op, *given: Given, tolerance: float | None = None) -> Case:
    return case(f"{op.label}, {name}", op, given, RULES[type(op)], BATCH, tolerance)


# Whole entries of an axis.


def entry_cases() -> Iterator[Case]:
    for dtype, result in product(("uint8", "int32", "int64"), ALL_TYPES):
        yield index_case(f"{dtype} to {result}", OneHot(5, dtypes.as_dtype(result)), indices((None, 3), 0, 7, dtype))
    yield index_case("negative and large ones", OneHot(4, dtypes.float32), indices((N, 40), -300, 300))
    for dtype in ALL_TYPES:
        yield index_case(f"rows, {dtype}", Take(0), numbers((7, 3), dtype), indices((None, 2), -7, 7))
    yield index_case("a middle axis", Take(1), numbers((None, 4, 3)), indices((2, 3), 0, 4, "uint8"))
    yield index_case("the last axis", Take(2), numbers((2, 3, 5)), indices((None,), -5, 5, "int32"))
    yield index_case("examples", Take(0), numbers((None, 3)), indices((4,), -1, 1))
    yield index_case("one place", Take(1), numbers((None, 4)), indices((), 0, 4))
    yield index_case("before the batch", Take(0), numbers((3, N)), indices((2,), 0, 3))


def gradient_case(name: str, shape: Shape, axis: int, dy: Given, given: Given, tolerance: float | None = None) -> Case:
    return index_case(name, TakeGradient(axis, as_shape(shape)), dy, given, tolerance=tolerance)


def take_gradient_cases() -> Iterator[Case]:
    # In NumPy's order, so all bits are right; 16-bit floats are summed in float32 there, too.
    for dtype in ("int32", "int64", *FLOATING):
        yield gradient_case(f"rows, {dtype}", (7, 3), 0, numbers((None, 9, 3), dtype), indices((None, 9), -7, 7))
    yield gradient_case("a table", (600, 64), 0, numbers((None, 20, 64)), indices((None, 20), 0, 600, "int32"))
    yield gradient_case("many of one", (40, 33), 0, numbers((None, 50, 33)), indices((None, 50), 0, 2))
    yield gradient_case("wide entries", (20, 200), 0, numbers((None, 200)), indices((None,), 0, 20))
    yield gradient_case("columns", (None, 4), 1, numbers((None, 2, 3)), indices((2, 3), 0, 4, "uint8"))
    yield gradient_case("a middle axis", (None, 70, 5), 1, numbers((None, 40, 5)), indices((40,), -70, 70))
    yield gradient_case("examples", (None, 2), 0, numbers((8, 2)), indices((8,), -1, 1))
    yield gradient_case("single numbers", (3000,), 0, numbers((None, 30)), indices((None, 30), 0, 3000))
    yield gradient_case("many of one number", (30,), 0, numbers((None, 70)), indices((None, 70), 28, 30))
    yield gradient_case("before the batch", (3, N), 0, numbers((4, N)), indices((4,), 0, 3))


# Element by element.


def element_cases() -> Iterator[Case]:
    for dtype in ALL_TYPES:
        yield index_case(f"in rows, {dtype}", Gather(1), numbers((None, 5), dtype), indices((None, 7), -5, 5))
        if dtype != "bool":
            given = numbers((None, 5), dtype), indices((None, 7), -5, 5), numbers((None, 7), dtype, seed=2)
            yield index_case(f"in rows, {dtype}", ScatterAdd(1), *given)
    for name, axis, shape, index in (
        ("a number of each row", 1, (None, 5), (None, 1)),
        ("a middle axis", 1, (None, 4, 2), (None, 3, 2)),
        ("fewer places on other axes", 1, (None, 4, 5), (None, 2, 3)),
        ("fewer examples", 2, (Dim(2), 3, 4), (N, 2, 4)),
        ("the first axis", 0, (4, 3), (2, 2)),
        ("a batch from the first axis", 0, (4, 3), (None, 3)),
        ("examples", 0, (None, 3), (2, 3)),
        ("a vector", 0, (5,), (None,)),
        ("long lines", 1, (None, 90), (None, 70)),
        ("a long vector", 0, (2500,), (N,)),
        ("a long middle axis", 1, (2, 90, 3), (2, 70, 3)),
    ):
        high = full(shape)[axis] if not isinstance(as_shape(shape)[axis], Dim) else 1
        places = indices(index, -high, high, "int32")
        yield index_case(name, Gather(axis), numbers(shape), places)
        yield index_case(name, ScatterAdd(axis), numbers(shape), places, numbers(index, seed=2))
    given = numbers((2, 6000)), indices((2, N), 0, 6000), numbers((2, N))
    yield index_case("lines of several tiles", ScatterAdd(1), *given)


# Parts of a larger value.


def place_cases() -> Iterator[Case]:
    for dtype in ALL_TYPES:
        value = 1 if dtype in ("bool", "uint8") else -3 if dtype.startswith("int") else 0.1
        yield index_case(f"rows, {dtype}", Pad(((0, 0), (2, 1)), value), numbers((None, 3), dtype))
    yield index_case("images", Pad(((0, 0), (0, 0), (2, 2), (1, 0)), -INF), numbers((None, 2, 4, 5)))
    yield index_case("into something wider than 64 bits hold", Pad(((1, 2),), 2**53 + 1), numbers((4,), "int64"))
    yield index_case("a vector", Pad(((1, 2),), NAN), numbers((4,)))
    for name, starts, stops, steps, shape in (
        ("steps", (0, 1), (N, 5), (1, 3), (None, 6)),
        ("backwards", (0, 3), (5, 0), (2, -2), (5, 4)),
        ("all of it backwards", (3,), (-1,), (-1,), (4,)),
        ("three axes", (0, 2, 1), (N, 9, 8), (1, 4, 3), (None, 10, 9)),
    ):
        forward = Slice(starts, stops, steps)
        with Graph():
            dy = apply(forward, placeholder("x", as_shape(shape)))
        yield index_case(name, SliceGradient(forward, as_shape(shape)), numbers(dy.shape))


# Along an axis.

SHAPES: tuple[tuple[Shape, int], ...] = (
    *(((None, 5), 1), ((None, 3), 0), ((2, 4, 3), -2), ((6,), 0), ((None, 1), 1), ((None, 40), 1), ((None, 100, 3), 1)),
    *(((None, 1500), 1), ((3, N), 1), ((3, N), 0)),
)


def line_cases() -> Iterator[Case]:
    for shape, axis in SHAPES:
        sizes = as_shape(shape)
        for keepdims in (False, True):
            yield index_case(f"{shape}, {axis}, {keepdims}", Argmax(axis % len(shape), keepdims), messy(sizes, axis))
        yield index_case(f"{shape}, {axis}", Prod(axis % len(shape), False), near_one(sizes), tolerance=1e-5)
        yield index_case(f"{shape}, {axis}, int32", Prod(axis % len(shape), True), numbers(sizes, "int32"))
    for dtype in ALL_TYPES:
        yield index_case(dtype, Argmax(1, False), numbers((None, 50), dtype))
        tolerance = 5e-3 if dtype == "float16" else 4e-2 if dtype == "bfloat16" else 1e-5
        yield index_case(dtype, Prod(1, False), near_one((N, 20), dtype), tolerance=tolerance)


def scan_cases() -> Iterator[Case]:
    for (shape, axis), reverse in product(SHAPES, (False, True)):
        sizes, along = as_shape(shape), axis % len(shape)
        name = f"{shape}, {axis}{', reverse' if reverse else ''}"
        for exclusive in (False, True):
            yield index_case(f"{name}, {exclusive}", Cumsum(along, reverse, exclusive), numbers(sizes), tolerance=2e-4)
            whole = numbers(sizes, "int32")
            yield index_case(f"{name}, {exclusive}, int32", Cumsum(along, reverse, exclusive), whole)
        # One after the other as in NumPy, so all bits are right.
        yield index_case(name, Cumprod(along, reverse), near_one(sizes))
        yield index_case(name, LinearRecurrence(along, reverse), numbers(sizes), numbers(sizes, seed=3), tolerance=1e-4)
    for dtype in ALL_TYPES:
        tolerance = None if dtype not in FLOATING else {2: 2e-2, 4: 1e-5, 8: 1e-13}[dtypes.as_dtype(dtype).itemsize]
        yield index_case(dtype, Cumsum(1, False), numbers((None, 33), dtype), tolerance=tolerance)
        yield index_case(dtype, Cumprod(1, False), near_one((N, 9), dtype), tolerance=tolerance)
        if dtype in FLOATING:
            given = near_one((N, 9), dtype), numbers((N, 9), dtype)
            yield index_case(dtype, LinearRecurrence(1, True), *given, tolerance=tolerance)
    infinite = np.ones((BATCH, 40))
    infinite[1, 5], infinite[2, 7], infinite[3, 3], infinite[3, 30] = INF, NAN, INF, -INF
    yield index_case("NaN and infinities", Cumsum(1, False), ((None, 40), "float32", infinite))


def near_one(shape: Shape, dtype: str = "float32") -> Given:
    """Return numbers whose products stay finite, zeros of lines among them."""
    sizes = full(shape)
    if dtype not in FLOATING:
        return (
            shape,
            dtype,
            np.random.default_rng(4).integers(0, 2 if dtype == "bool" else 4, sizes) + (dtype != "bool"),
        )
    drawn = np.random.default_rng(4).uniform(0.9, 1.1, sizes) * np.random.default_rng(5).choice([-1, 1], sizes)
    drawn.reshape(-1)[::37] = 0
    return shape, dtype, drawn


def messy(shape: Shape, axis: int) -> Given:
    """Return lines with ties, NaN, infinities, and of minus infinity alone."""
    x = np.random.default_rng(6).integers(-3, 4, full(shape)).astype(np.float32)
    lines = np.moveaxis(x, axis, -1)
    for number, place in enumerate(np.ndindex(lines.shape[:-1])):
        if number % 5 == 1:
            lines[place][lines.shape[-1] // 2 :: 2] = NAN
        if number % 5 == 2:
            lines[place] = -INF
        if number % 5 == 3:
            lines[place][-1] = INF
    return shape, "float32", x


CASES: Sequence[Case] = [
    *(*entry_cases(), *take_gradient_cases(), *element_cases(), *place_cases(), *line_cases(), *scan_cases())
]


runner = runner_of(CASES)


@for_each_case(CASES)
def test_value(runner: Runner, number: int) -> None:
    runner.check(number, (1, BATCH))


@needs_emulator
def test_long_indices() -> None:
    Runner(CASES[::7], index="long long").check_all([BATCH])


def test_all_ways_to_share_a_line_occur() -> None:
    teams = {
        (type(each.nodes[0].op), each.instances[0].defines["TEAM"])
        for each in CASES
        if "TEAM" in each.instances[0].defines
    }
    assert teams >= set(product((Argmax, Prod), ("1", "32", "256"))) | set(product((Cumsum,), ("1", "32", "256")))
    files = {each.instances[0].file for each in CASES if isinstance(each.nodes[0].op, ScatterAdd)}
    assert files == {"index_add.cu", "scatter_add.cu"}


@needs_emulator
def test_places_that_there_are_not_give_nothing() -> None:
    x = np.arange(1, 13, dtype=np.float32).reshape(4, 3)
    wrong = np.array([4, -5, 2**40, 0])
    entries = index_case("outside", Take(0), ((4, 3), "float32", x), ((4,), "int64", wrong))
    elements = index_case("outside", Gather(1), ((4, 3), "float32", x), ((4, 1), "int64", wrong[:, None]))
    added = index_case("outside", TakeGradient(0, (4, 3)), ((4, 3), "float32", x), ((4,), "int64", wrong))
    runner = Runner([entries, elements, added])
    (taken,), (gathered,), (gradient,) = (runner.run(number, 1, runner.machines[0]) for number in range(3))
    np.testing.assert_array_equal(taken, [[0, 0, 0]] * 3 + [[1, 2, 3]])
    np.testing.assert_array_equal(gathered[:, 0], [0, 0, 0, 10])
    np.testing.assert_array_equal(gradient, [[10, 11, 12]] + [[0, 0, 0]] * 3)


def check_some(machine: EmulatorMachine) -> None:
    Runner(CASES[::6], machines=[machine]).check_all((1, BATCH))


@needs_emulator
def test_nothing_is_read_or_written_out_of_bounds(tmp_path: Path) -> None:
    check_with_sanitizers(__file__, "check_some", tmp_path)


@for_each_architecture
def test_nvcc_compiles_the_kernels(architecture: int, tmp_path: Path) -> None:
    check_with_nvcc(program(CASES[::6])[0], architecture, tmp_path)
