"""The kernels of softmax and of losses of class numbers, on the emulator against the ops' values, and by nvcc."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest

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
from graphnn.compiler.targets.cuda.rules.rows import RULES, losses_and_softmax
from graphnn.ops.loss import CrossEntropy, NegativeLogLikelihood
from graphnn.ops.norm import LogSoftmax, Softmax
from graphnn.ops.op import Op
from graphnn.ops.spec import Dim

BATCH = 9
INF, NAN = np.inf, np.nan
TOLERANCES = {"float16": 2e-3, "bfloat16": 1.6e-2, "float32": 2e-6, "float64": 1e-14}
Shape = tuple[int | Dim | None, ...]


def logits(shape: Shape, axis: int, seed: int = 0) -> np.ndarray:
    """Return lines of all kinds: ordinary, large, equal, with NaN, with infinities of both signs, with -inf alone."""
    size = [each.bind(BATCH) if isinstance(each, Dim) else each or BATCH for each in shape]
    x = (3 * np.random.default_rng(seed).standard_normal(size)).astype(np.float32)
    lines = np.moveaxis(x, axis, -1)
    for number, place in enumerate(np.ndindex(lines.shape[:-1])):
        match number % 9:
            case 1:
                lines[place] *= 1000
            case 2:
                lines[place] = 5
            case 3:
                lines[place][-1] = NAN
            case 4:
                lines[place][-1] = INF
            case 5:
                lines[place] = -INF
            case 6:
                lines[place][: lines.shape[-1] // 2] = -INF
            case 7:
                lines[place][0] = -INF
    return x


def softmax_case(op: Op, shape: Shape, axis: int, dtype: str = "float32") -> Case:
    given = [(shape, dtype, logits(shape, axis))]
    name = f"{op.label}, {shape}, axis {axis}, {dtype}"
    return case(name, op, given, RULES[type(op)], BATCH, TOLERANCES[dtype])


def loss_case(op: Op, shape: Shape, dtype: str, labels: str, both: bool = False) -> Case:
    x = logits(shape, -1)
    wanted = np.random.default_rng(1).integers(0, min(x.shape[-1], 256), x.shape[:-1])
    given = [(shape, dtype, x), (shape[:-1], labels, wanted)]
    name = f"{op.label}{' and softmax' if both else ''}, {shape}, {dtype}, {labels} labels"
    rule = losses_and_softmax if both else RULES[type(op)]
    return case(name, op, given, rule, BATCH, TOLERANCES[dtype], second=Softmax(-1) if both else None)


def softmax_cases() -> Iterator[Case]:
    for op, (shape, axis) in product(
        (Softmax, LogSoftmax),
        (
            *(((None, 10), 1), ((None, 1), -1), ((None, 33), -1), ((None, 100), 1), ((7,), 0)),
            *(((None, 4, 3, 5), axis) for axis in range(4)),
            *(((None, 40, 3), 1), ((3, None), 0), ((3, None), 1)),
        ),
    ):
        given = tuple(Dim(1) if size is None else size for size in shape)
        yield softmax_case(op(axis), given, axis)
    for op, dtype in product((Softmax, LogSoftmax), FLOATING):
        if dtype != "float32":
            yield softmax_case(op(1), (None, 10), 1, dtype)


def long_cases() -> Iterator[Case]:
    """Lines for a block, kept in registers or not, and for a thread of their own."""
    for op in (Softmax, LogSoftmax):
        yield softmax_case(op(1), (None, 1500), 1)
        yield softmax_case(op(1), (2, 9000), 1)
        yield softmax_case(op(1), (9, 17_000), 1)
        yield softmax_case(op(0), (40, 2100), 0)  # strided, a thread each, not kept
    yield softmax_case(Softmax(1), (2, 9000), 1, "float64")
    yield softmax_case(Softmax(1), (2, 17_000), 1, "float16")
    yield loss_case(CrossEntropy(), (2, 50_000), "float32", "int64", both=True)


def loss_cases() -> Iterator[Case]:
    for labels, shape in product(("uint8", "int32", "int64"), ((None, 10), (None, 3, 4), (None, 1), (None, 300))):
        yield loss_case(CrossEntropy(), shape, "float32", labels)
        yield loss_case(CrossEntropy(), shape, "float32", labels, both=True)
        yield loss_case(NegativeLogLikelihood(), shape, "float32", labels)
    for dtype in FLOATING:
        if dtype != "float32":
            yield loss_case(CrossEntropy(), (None, 10), dtype, "int32")
            yield loss_case(CrossEntropy(), (None, 10), dtype, "int32", both=True)
            yield loss_case(NegativeLogLikelihood(), (None, 10), dtype, "int32")


SHORT = [*softmax_cases(), *loss_cases()]
LONG = list(long_cases())


runner = runner_of([*SHORT, *LONG])


@for_each_case(SHORT)
def test_value(runner: Runner, number: int) -> None:
    runner.check(number, (1, 4, BATCH))


@for_each_case(LONG)
def test_long_lines(runner: Runner, number: int) -> None:
    runner.check(len(SHORT) + number, (BATCH,))


def test_the_long_lines_are_of_all_kinds() -> None:
    kinds = {(each.instances[0].defines["TEAM"], each.instances[0].defines["HELD"] != "0") for each in LONG}
    assert kinds >= {("256", True), ("1024", True), ("1024", False), ("1", False)}


@needs_emulator
def test_a_certain_and_right_prediction_costs_zero_without_a_sign() -> None:
    x = np.zeros((BATCH, 10), np.float32)
    x[:, 3] = 1000
    given = [((None, 10), "float32", x), ((None,), "int32", np.full(BATCH, 3))]
    certain = Runner([case("certain", CrossEntropy(), given, RULES[CrossEntropy], BATCH)])
    (loss,) = certain.run(0, BATCH, certain.machines[0])
    np.testing.assert_array_equal(loss, np.zeros(BATCH))
    assert not np.signbit(loss).any()


@needs_emulator
@pytest.mark.parametrize("op", [CrossEntropy(), NegativeLogLikelihood()])
def test_a_label_that_is_no_class_gives_nan(op: Op) -> None:
    labels = np.array([0, 1, -1, 10, 2**40, -(2**40), 9, -10, 2**32])
    given = [((None, 10), "float32", np.zeros((BATCH, 10))), ((None,), "int64", labels)]
    wrong = Runner([case("wrong labels", op, given, RULES[type(op)], BATCH)])
    (loss,) = wrong.run(0, BATCH, wrong.machines[0])
    np.testing.assert_array_equal(np.isnan(loss), [False, False, True, True, True, True, False, True, True])


def check_some(machine: EmulatorMachine) -> None:
    Runner([*SHORT[::5], LONG[0]], machines=[machine]).check_all((1, BATCH))


@needs_emulator
def test_nothing_is_read_or_written_out_of_bounds(tmp_path: Path) -> None:
    check_with_sanitizers(__file__, "check_some", tmp_path)


@for_each_architecture
def test_nvcc_compiles_the_kernels(architecture: int, tmp_path: Path) -> None:
    check_with_nvcc(program([*SHORT[::5], *LONG])[0], architecture, tmp_path)
