"""The kernels of pooling, on the emulator against the ops' values, and compiled by nvcc."""

from __future__ import annotations

from collections.abc import Iterator
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
from graphnn.compiler.targets.cuda.instance import Instance
from graphnn.compiler.targets.cuda.rules.pooling import RULES, gradient_by_one_thread, values_and_positions
from graphnn.ops.avg_pool import AvgPool2d, AvgPool2dGradient
from graphnn.ops.max_pool import MaxPool2d, MaxPool2dGather, MaxPool2dGradient, MaxPool2dIndices
from graphnn.ops.node import Node
from graphnn.ops.op import Op
from samples.pool import CASES as SAMPLED
from samples.pool import MAX_CASES as SAMPLED_WITH_DILATION
from samples.pool import Case as Pooling

BATCH = 3
INF, NAN = np.inf, np.nan
PLAIN = Pooling("2 × 2 as in the models", (None, 3, 14, 14), (2, 2), (2, 2))
PADDED = Pooling("3 × 3, stride 2, padding", (None, 2, 9, 8), (3, 3), (2, 2), ((1, 1), (1, 1)))
MORE = [
    PLAIN,
    PADDED,
    Pooling("kernel 5 × 4, padding", (None, 1, 9, 8), (5, 4), (2, 3), ((2, 1), (2, 2))),
    Pooling("a last window that just fits in ceil_mode", (None, 2, 5, 5), (2, 2), (2, 2), ceil_mode=True),
    Pooling("one element", (None, 1, 1, 1), (1, 1), (1, 1)),
]
WITH_DILATION = [
    Pooling("windows between the elements", (None, 1, 2, 2), (2, 2), (1, 1), ((1, 1), (1, 1)), dilation=(3, 3)),
    Pooling("dilation and stride with a common factor", (None, 2, 9, 8), (2, 2), (4, 4), dilation=(2, 2)),
]


def messy(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return few different numbers, NaN, infinities and zeros of both signs among them; an example of -inf alone."""
    values = [NAN, INF, -INF, 0.0, -0.0, 1, 2, 3, -1.5, -2]
    weights = np.array([1, 1, 4, 2, 2, 3, 3, 3, 3, 3])
    chosen = np.random.default_rng(seed).choice(values, shape, p=weights / weights.sum())
    chosen[0] = -INF
    return chosen.astype(np.float32)


def numbers(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def places(p: Pooling, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, p.kernel[0] * p.kernel[1], full(p.y))


def full(shape: tuple[int | None, ...]) -> tuple[int, ...]:
    return tuple(BATCH if size is None else size for size in shape)


def index_type(p: Pooling) -> str:
    return "uint8" if p.kernel[0] * p.kernel[1] <= 256 else "int32"


def pool_case(p: Pooling, op: Op, *given: tuple[tuple[int | None, ...], str, np.ndarray], **more: object) -> Case:
    return case(f"{p.name}, {op.label}, {given[0][1]}", op, given, RULES[type(op)], BATCH, **more)  # type: ignore[arg-type]


def max_pool_cases(p: Pooling, dtype: str, seed: int = 0) -> Iterator[Case]:
    images, attributes = (p.x, dtype, messy(seed, full(p.x))), p.max_attributes
    indices = (p.y, index_type(p), places(p, seed))
    yield pool_case(p, MaxPool2d(*attributes), images)
    yield pool_case(p, MaxPool2dIndices(*attributes), images)
    yield case(
        f"{p.name}, both, {dtype}",
        MaxPool2d(*attributes),
        [images],
        values_and_positions,
        BATCH,
        second=MaxPool2dIndices(*attributes),
    )
    yield pool_case(p, MaxPool2dGradient(*attributes, p.size), (p.y, dtype, numbers(seed, full(p.y))), indices)
    yield pool_case(p, MaxPool2dGather(*attributes), images, indices)


def avg_pool_cases(p: Pooling, dtype: str, tolerance: float) -> Iterator[Case]:
    for counted in (True, False):
        attributes = p.kernel, p.stride, p.padding, p.ceil_mode, counted
        images, dy = (p.x, dtype, numbers(1, full(p.x))), (p.y, dtype, numbers(2, full(p.y)))
        yield pool_case(p, AvgPool2d(*attributes), images, tolerance=tolerance)
        # A gradient is added up in NumPy's order.
        is_exact = dtype in ("float32", "float64")
        yield pool_case(p, AvgPool2dGradient(*attributes, p.size), dy, tolerance=None if is_exact else tolerance)


def integer_cases() -> Iterator[Case]:
    for dtype in ("uint8", "int32", "int64"):
        limits = np.iinfo(dtype)
        generator = np.random.default_rng(3)
        low = generator.integers(limits.min, limits.min + 2, full(PADDED.x), dtype)
        high = generator.integers(limits.max - 5, limits.max, full(PADDED.x), dtype)
        images = (PADDED.x, dtype, np.where(generator.random(full(PADDED.x)) < 0.5, low, high))
        yield pool_case(PADDED, MaxPool2d(*PADDED.max_attributes), images)
        yield pool_case(PADDED, MaxPool2dIndices(*PADDED.max_attributes), images)
        indices = (PADDED.y, "uint8", places(PADDED, 4))
        yield pool_case(PADDED, MaxPool2dGather(*PADDED.max_attributes), images, indices)


def one_thread(node: Node, _batch: int) -> list[Instance]:
    return [gradient_by_one_thread(node)]


def loop_cases() -> Iterator[Case]:
    for p in (PLAIN, PADDED, *WITH_DILATION):
        given = [(p.y, "float32", numbers(5, full(p.y))), (p.y, "uint8", places(p, 6))]
        op = MaxPool2dGradient(*p.max_attributes, p.size)
        # The sums of an element's terms come in the windows' order here, not in that of their positions.
        yield case(f"{p.name}, one thread", op, given, one_thread, BATCH, tolerance=1e-6)


TOLERANCES = {"float16": 1e-3, "bfloat16": 8e-3, "float32": 1e-6, "float64": 1e-14}
CASES = [
    *(each for p in (*SAMPLED_WITH_DILATION, *MORE, *WITH_DILATION) for each in max_pool_cases(p, "float32")),
    *(
        each
        for p, dtype in product((PLAIN, PADDED), FLOATING)
        if dtype != "float32"
        for each in max_pool_cases(p, dtype)
    ),
    *(each for p in (*SAMPLED, *MORE) for each in avg_pool_cases(p, "float32", TOLERANCES["float32"])),
    *(each for dtype in FLOATING if dtype != "float32" for each in avg_pool_cases(PADDED, dtype, TOLERANCES[dtype])),
    *integer_cases(),
    *loop_cases(),
]
SOME = [*max_pool_cases(PADDED, "float32"), *avg_pool_cases(PADDED, "float32", 1e-6), *max_pool_cases(PLAIN, "float16")]


runner = runner_of(CASES)


@for_each_case(CASES)
def test_value(runner: Runner, number: int) -> None:
    runner.check(number, (1, BATCH))


@needs_emulator
def test_long_indices() -> None:
    Runner(SOME, index="long long").check_all([BATCH])


def check_some(machine: EmulatorMachine) -> None:
    Runner([*SOME[:9], *max_pool_cases(WITH_DILATION[0], "float32")], machines=[machine]).check_all((1, BATCH))


@needs_emulator
def test_nothing_is_read_or_written_out_of_bounds(tmp_path: Path) -> None:
    check_with_sanitizers(__file__, "check_some", tmp_path)


@for_each_architecture
def test_nvcc_compiles_the_kernels(architecture: int, tmp_path: Path) -> None:
    check_with_nvcc(program([*SOME, *CASES[::9], *loop_cases()])[0], architecture, tmp_path)
