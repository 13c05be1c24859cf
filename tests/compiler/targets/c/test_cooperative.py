"""Matrix products that all threads compute together, compiled and compared with float64."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from compiled_kernels import EXPORT, HEADERS, aligned, blocks_of, call, check_sums, of_one_sign, run_under_sanitizers
from graphnn.compiler.targets.c.build import Compiler
from graphnn.compiler.targets.c.cache import load_library
from graphnn.compiler.targets.c.cooperative import Shares, WeightGradient, print_dense_together, print_weight_gradient
from graphnn.compiler.targets.c.dense import Dense

# Inputs and outputs: those of the models, one of everything, primes, whole and broken tiles and vectors.
FEW = ((1, 1), (7, 2), (37, 11))
MANY = ((784, 100), (84, 10), *FEW, (1, 7), (13, 24), (31, 47), (3, 300))
SIZES = {4: FEW, 8: MANY, 16: FEW}  # by lanes
CASES = [(lanes, inputs, outputs) for lanes, sizes in SIZES.items() for inputs, outputs in sizes]
THREADS = (1, 3)
BATCHES = (1, 7, 8, 100, 128, 129, 300)  # with parts of blocks, and more than are turned at a time

CALLS = """
{export}void {name}_forward(const char *x, int64_t x_step, const float *w, char *y, int64_t y_step, int64_t n)
{{
    _Pragma("omp parallel num_threads({threads})") k_{name}_forward(x, x_step, w, y, y_step, n);
}}
{export}void {name}_data(const char *x, int64_t x_step, const float *w, char *y, int64_t y_step, int64_t n)
{{
    _Pragma("omp parallel num_threads({threads})") k_{name}_data(x, x_step, w, y, y_step, n);
}}
{export}void {name}_weight(const char *a, int64_t a_step, const char *b, int64_t b_step, float *y, int64_t n)
{{
    _Pragma("omp parallel num_threads({threads})") k_{name}_weight(a, a_step, b, b_step, y, n);
}}
{export}void {name}_turned(const char *a, int64_t a_step, const char *b, int64_t b_step, float *y, int64_t n)
{{
    _Pragma("omp parallel num_threads({threads})") k_{name}_turned(a, a_step, b, b_step, y, n);
}}
"""


def print_unit(lanes: int, sizes: Iterable[tuple[int, int]]) -> str:
    """All kernels of all sizes and numbers of threads, and functions that call them from outside."""
    parts = [f"#define LANES {lanes}", '#include "support.h"']
    for inputs, outputs in sizes:
        for threads in THREADS:
            name = f"l{lanes}_{inputs}_{outputs}_{threads}"
            parts += [
                print_dense_together(Dense(inputs, outputs, inputs, 1), f"k_{name}_forward", lanes, threads),
                print_dense_together(Dense(outputs, inputs, 1, inputs), f"k_{name}_data", lanes, threads),
                print_weight_gradient(outputs, inputs, f"k_{name}_weight", lanes, threads),
                print_weight_gradient(inputs, outputs, f"k_{name}_turned", lanes, threads),
                CALLS.format(export=EXPORT, name=name, threads=threads),
            ]
    return "\n".join(parts)


UNITS = {f"together{lanes}.c": print_unit(lanes, sizes) for lanes, sizes in SIZES.items()}
SMALL_UNITS = {f"together{lanes}.c": print_unit(lanes, FEW) for lanes in (4, 8)}


@pytest.fixture(scope="module")
def library(compiler: Compiler, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return load_library(UNITS, HEADERS, compiler, folder=tmp_path_factory.mktemp("together"))


def examples_of(blocks: np.ndarray, batch: int) -> np.ndarray:
    return blocks.transpose(0, 2, 1).reshape(-1, blocks.shape[1])[:batch]


def step(blocks: np.ndarray) -> int:
    return blocks.strides[0]


def check(library: ctypes.CDLL, lanes: int, inputs: int, outputs: int, batches: Iterable[int]) -> None:
    """Check all products for all numbers of threads: close to float64, and the same bits again."""
    weight = aligned((outputs, inputs))
    weight[:] = of_one_sign(outputs, inputs)
    for batch in batches:
        x, dy = of_one_sign(batch, inputs), of_one_sign(batch, outputs)
        exact_x, exact_dy, exact_weight = (array.astype(np.float64) for array in (x, dy, weight))
        a, b = blocks_of(dy, lanes), blocks_of(x, lanes)
        for threads in THREADS:
            name = f"l{lanes}_{inputs}_{outputs}_{threads}"
            y, dx = aligned(a.shape, fill=7), aligned(b.shape, fill=7)
            call(library, f"{name}_forward", b, step(b), weight, y, step(y), batch)
            call(library, f"{name}_data", a, step(a), weight, dx, step(dx), batch)
            dw, turned = aligned((outputs, inputs), fill=7), aligned((inputs, outputs), fill=7)
            call(library, f"{name}_weight", a, step(a), b, step(b), dw, batch)
            call(library, f"{name}_turned", b, step(b), a, step(a), turned, batch)
            check_sums(examples_of(y, batch), exact_x @ exact_weight.T)
            check_sums(examples_of(dx, batch), exact_dy @ exact_weight)
            check_sums(dw, exact_dy.T @ exact_x)
            check_sums(turned, exact_x.T @ exact_dy)
            again = aligned((outputs, inputs))
            call(library, f"{name}_weight", a, step(a), b, step(b), again, batch)
            assert again.tobytes() == dw.tobytes()


def check_few(library: ctypes.CDLL) -> None:
    """Check the library with sanitizers."""
    for lanes in (4, 8):
        for size in FEW:
            check(library, lanes, *size, batches=(1, 13, 131))


@pytest.mark.parametrize(("lanes", "inputs", "outputs"), CASES)
def test_products(library: ctypes.CDLL, lanes: int, inputs: int, outputs: int) -> None:
    check(library, lanes, inputs, outputs, BATCHES if inputs * outputs < 20000 else (100, 131))


def test_nan_of_an_example_reaches_its_row_of_the_gradient_alone(library: ctypes.CDLL) -> None:
    x, dy = of_one_sign(20, 37), of_one_sign(20, 11)
    dy[14, 6] = np.nan
    a, b, dw = blocks_of(dy, 8), blocks_of(x, 8), aligned((11, 37))
    call(library, "l8_37_11_3_weight", a, step(a), b, step(b), dw, 20)
    np.testing.assert_array_equal(np.isnan(dw), np.isin(np.arange(11), 6)[:, None].repeat(37, axis=1))


def test_nan_and_infinity_stay_in_their_example(library: ctypes.CDLL) -> None:
    x, weight = of_one_sign(20, 37), aligned((11, 37), fill=1)
    x[2, 3], x[15, 36] = np.nan, np.inf
    b, y = blocks_of(x, 8), aligned((3, 11, 8))
    call(library, "l8_37_11_3_forward", b, step(b), weight, y, step(y), 20)
    result = examples_of(y, 20)
    assert np.isnan(result[2]).all()
    assert np.isposinf(result[15]).all()
    assert np.isfinite(np.delete(result, (2, 15), axis=0)).all()


def test_tiles_cover_each_share() -> None:
    for count in range(1, 40):
        for threads in (1, 2, 3, 7):
            shares = Shares(count, threads, at_most=4)
            assert max(shares.sizes) <= 4
            assert shares.largest == max(
                count * (thread + 1) // threads - count * thread // threads for thread in range(threads)
            )


def test_the_busiest_thread_decides_how_a_gradient_is_shared() -> None:
    assert WeightGradient.of(120, 400, lanes=8, threads=2) == WeightGradient(120, 400, 8, 2, False, True)
    assert WeightGradient.of(400, 3, lanes=8, threads=2).swapped  # of eight columns, three would be used
    wide = WeightGradient.of(1000, 8, lanes=8, threads=4)
    assert not wide.by_columns or wide.swapped  # one vector of columns can't be shared


def test_bodies_stay_small() -> None:
    """A compiler's time grows with them."""
    for _, inputs, outputs in CASES:
        forward = print_dense_together(Dense(inputs, outputs, inputs, 1), "k", 16, 2)
        assert len(forward.splitlines()) < 500
        assert len(print_weight_gradient(outputs, inputs, "g", 16, 2).splitlines()) < 700


def test_nothing_is_read_or_written_out_of_bounds(compiler: Compiler, tmp_path: Path) -> None:
    run_under_sanitizers(compiler, SMALL_UNITS, tmp_path, __file__, "check_few")
