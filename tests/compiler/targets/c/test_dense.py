"""The printed matrix products, compiled and compared with float64."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from compiled_kernels import (
    EXPORT,
    HEADERS,
    aligned,
    call,
    check_sums,
    from_lanes,
    of_one_sign,
    run_under_sanitizers,
    to_lanes,
)
from graphnn.compiler.targets.c.build import Compiler
from graphnn.compiler.targets.c.cache import load_library
from graphnn.compiler.targets.c.dense import Dense, print_dense

# Inputs and outputs: those of the models, one of everything, primes, whole and broken tiles, a stride of whole pages.
FEW = ((1, 1), (7, 2), (17, 11), (37, 5))
MANY = (
    *((784, 100), (400, 120), (120, 84), (84, 10), (1568, 100), *FEW),
    *((1, 7), (5, 3), (13, 24), (16, 12), (31, 47), (97, 6), (1024, 14), (3, 1100), (2051, 3)),
)
SIZES = {4: FEW, 8: MANY, 16: FEW}  # by lanes
CASES = [(lanes, inputs, outputs) for lanes, sizes in SIZES.items() for inputs, outputs in sizes]


def print_unit(lanes: int, sizes: Iterable[tuple[int, int]]) -> str:
    """All kernels of all sizes, and functions that call them from outside.

    A weight is stored by outputs and then inputs; `turned` is for one stored the other way.
    """
    parts = [f"#define LANES {lanes}", '#include "support.h"']
    arguments = "const float *x, const float *w, float *y"
    for inputs, outputs in sizes:
        name = f"l{lanes}_{inputs}_{outputs}"
        layers = {
            "forward": Dense(inputs, outputs, inputs, 1),
            "forward_turned": Dense(inputs, outputs, 1, outputs),
            "data": Dense(outputs, inputs, 1, inputs),
            "data_turned": Dense(outputs, inputs, outputs, 1),
        }
        for use, layer in layers.items():
            parts.append(print_dense(layer, f"k_{name}_{use}"))
            parts.append(f"{EXPORT}void {name}_{use}({arguments}) {{ k_{name}_{use}(x, w, y); }}")
    return "\n".join(parts)


UNITS = {f"dense{lanes}.c": print_unit(lanes, sizes) for lanes, sizes in SIZES.items()}
SMALL_UNITS = {f"dense{lanes}.c": print_unit(lanes, FEW) for lanes in (4, 8)}


@pytest.fixture(scope="module")
def library(compiler: Compiler, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return load_library(UNITS, HEADERS, compiler, folder=tmp_path_factory.mktemp("dense"))


def exact(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64)


def check_layer(library: ctypes.CDLL, lanes: int, inputs: int, outputs: int) -> None:
    """Check both products by the weight; NaN in the lanes beyond stays there."""
    valid = lanes - 1
    weight, x, dy = aligned((outputs, inputs)), of_one_sign(valid, inputs), of_one_sign(valid, outputs)
    weight[:] = of_one_sign(outputs, inputs)
    turned = aligned((inputs, outputs))
    turned[:] = weight.T
    for name, given, expected in (
        ("forward", x, exact(x) @ exact(weight).T),
        ("data", dy, exact(dy) @ exact(weight)),
    ):
        for use, stored in ((name, weight), (f"{name}_turned", turned)):
            result = aligned((expected.shape[1], lanes), fill=7)
            call(library, f"l{lanes}_{inputs}_{outputs}_{use}", to_lanes(given, lanes, np.nan), stored, result)
            check_sums(from_lanes(result, valid), expected)


def check_few(library: ctypes.CDLL) -> None:
    """Check the library with sanitizers."""
    for lanes in (4, 8):
        for size in FEW:
            check_layer(library, lanes, *size)


@pytest.mark.parametrize(("lanes", "inputs", "outputs"), CASES)
def test_layer(library: ctypes.CDLL, lanes: int, inputs: int, outputs: int) -> None:
    check_layer(library, lanes, inputs, outputs)


def test_nan_and_infinity_stay_in_their_example(library: ctypes.CDLL) -> None:
    x, weight = of_one_sign(8, 17), aligned((11, 17), fill=1)
    x[2, 3], x[5, 16] = np.nan, np.inf
    result = aligned((11, 8))
    call(library, "l8_17_11_forward", to_lanes(x, 8), weight, result)
    assert np.isnan(result[:, 2]).all()
    assert np.isposinf(result[:, 5]).all()
    assert np.isfinite(np.delete(result, (2, 5), axis=1)).all()


def test_bodies_stay_small() -> None:
    """A compiler's time grows with them."""
    for _, inputs, outputs in CASES:
        text = print_dense(Dense(inputs, outputs, inputs, 1), "k")
        assert len(text.splitlines()) < 600


def test_nothing_is_read_or_written_out_of_bounds(compiler: Compiler, tmp_path: Path) -> None:
    run_under_sanitizers(compiler, SMALL_UNITS, tmp_path, __file__, "check_few")
