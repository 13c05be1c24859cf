"""The kernels of random numbers, on the emulator against the ops' values, and compiled by nvcc."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np

from cuda_kernels import FLOATING, Case, Runner, case, check_with_nvcc, for_each_architecture, needs_emulator, program
from graphnn.compiler.targets.cuda.rules.random import RULES
from graphnn.ops import dtypes
from graphnn.ops.random import Random, RandomNormal, RandomUniform
from graphnn.ops.spec import as_shape

BATCH = 5
ULPS = 8
SEED, STREAM = 2**32 - 2, 0xC0FFEE42


def random_cases(kind: type[Random]) -> Iterator[Case]:
    shapes = ((None, 300), (7,), ())
    for dtype, shape, step in product(FLOATING, shapes, (0, 3, 2**33 + 5, -1)):
        op = kind(as_shape(shape), dtypes.as_dtype(dtype), SEED, STREAM)
        given = [((), "int64", np.array(step))]
        yield case(f"{op.label}, {shape}, {dtype}, step {step}", op, given, RULES[kind], BATCH)


UNIFORM, NORMAL = list(random_cases(RandomUniform)), list(random_cases(RandomNormal))


@needs_emulator
def test_uniform_numbers_have_the_same_bits() -> None:
    Runner(UNIFORM).check_all((1, BATCH))


@needs_emulator
def test_normal_numbers_are_within_their_ulps() -> None:
    runner = Runner(NORMAL)
    for number, each in enumerate(NORMAL):
        (expected,) = each.expected(BATCH)
        (result,) = runner.run(number, BATCH, runner.machines[0])
        assert result.dtype == expected.dtype
        # A bfloat16 is shown as float32; its own spacing is 2**16 as wide.
        spacing = np.spacing(np.abs(expected)) * (2**16 if each.nodes[0].dtype is dtypes.bfloat16 else 1)
        assert (np.abs(result - expected) <= ULPS * spacing).all(), each.name


@needs_emulator
def test_the_numbers_of_an_example_do_not_depend_on_the_batch() -> None:
    runner = Runner([NORMAL[0], UNIFORM[0]])
    for number in range(2):
        (small,), (large,) = (runner.run(number, batch, runner.machines[0]) for batch in (2, BATCH))
        np.testing.assert_array_equal(small, large[:2])


@for_each_architecture
def test_nvcc_compiles_the_kernels(architecture: int, tmp_path: Path) -> None:
    check_with_nvcc(program([*UNIFORM[::5], *NORMAL[::5]])[0], architecture, tmp_path)
