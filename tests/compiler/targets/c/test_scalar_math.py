"""The functions of scalar_math.h and shared_math.h, against NumPy's in double precision."""

from __future__ import annotations

import ctypes
import math
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from compiled_kernels import EXPORT, HEADERS, aligned, call, run_under_sanitizers
from graphnn.compiler.targets.c.build import Compiler
from graphnn.compiler.targets.c.cache import library_key, load_library
from graphnn.compiler.targets.c.target import headers

FLOAT_BITS = 2**32
STEP = 9973  # a prime, so that all patterns of low bits occur


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Compute it from the side that does not overflow."""
    small = np.exp(-np.abs(x))
    return np.where(x < 0, small, 1) / (1 + small)


FUNCTIONS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "exp": (np.exp, 2),
    "expm1": (np.expm1, 3),
    "log": (np.log, 2),
    "log1p": (np.log1p, 3),
    "erf": (np.vectorize(math.erf), 2),
    "tanh": (np.tanh, 4),
    "sinh": (np.sinh, 3),
    "cosh": (np.cosh, 3),
    "asinh": (np.arcsinh, 4),
    "acosh": (np.arccosh, 4),
    "atanh": (np.arctanh, 4),
    "sin": (np.sin, 3),
    "cos": (np.cos, 3),
    "tan": (np.tan, 5),
    "asin": (np.arcsin, 3),
    "acos": (np.arccos, 3),
    "atan": (np.arctan, 3),
    "sigmoid": (sigmoid, 4),
    "softplus": (lambda x: np.logaddexp(x, 0), 4),
}
INF, NAN, HALF_PI = np.inf, np.nan, np.pi / 2
# Pairs, since 0.0 and -0.0 are one key of a dictionary.
SPECIAL: dict[str, list[tuple[float, float]]] = {
    "exp": [
        *((0.0, 1), (-0.0, 1), (INF, INF), (-INF, 0), (NAN, NAN)),
        *((89, INF), (3e38, INF), (-110, 0), (-3e38, 0), (1e-45, 1)),
    ],
    "log": [
        *((0.0, -INF), (-0.0, -INF), (1, 0), (INF, INF), (-INF, NAN), (NAN, NAN)),
        *((-1, NAN), (-1e-45, NAN), (-3e38, NAN)),
    ],
    "tanh": [
        *((0.0, 0.0), (-0.0, -0.0), (INF, 1), (-INF, -1), (NAN, NAN)),
        *((3e38, 1), (-20, -1), (1e-45, 1e-45), (-1e-40, -1e-40)),
    ],
    "expm1": [
        *((0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -1), (NAN, NAN)),
        *((89, INF), (3e38, INF), (-20, -1), (-3e38, -1), (1e-45, 1e-45), (-1e-40, -1e-40)),
    ],
    "log1p": [
        *((0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, NAN), (NAN, NAN)),
        *((-1, -INF), (-1.5, NAN), (-3e38, NAN), (1e-45, 1e-45), (-1e-40, -1e-40)),
    ],
    "erf": [
        *((0.0, 0.0), (-0.0, -0.0), (INF, 1), (-INF, -1), (NAN, NAN)),
        *((3e38, 1), (-4, -1)),
    ],
    "sinh": [
        *((0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -INF), (NAN, NAN)),
        *((90, INF), (-3e38, -INF), (1e-45, 1e-45), (-1e-40, -1e-40)),
    ],
    "cosh": [
        *((0.0, 1), (-0.0, 1), (INF, INF), (-INF, INF), (NAN, NAN)),
        *((90, INF), (-3e38, INF), (1e-45, 1)),
    ],
    "asinh": [
        *((0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -INF), (NAN, NAN)),
        *((1e-45, 1e-45), (-1e-40, -1e-40)),
    ],
    "acosh": [
        *((0.0, NAN), (1, 0.0), (INF, INF), (-INF, NAN), (NAN, NAN)),
        *((-1, NAN), (-3, NAN), (-3e38, NAN)),
    ],
    "atanh": [
        *((0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN), (NAN, NAN)),
        *((1, INF), (-1, -INF), (1.5, NAN), (-3e38, NAN), (1e-45, 1e-45), (-1e-40, -1e-40)),
    ],
    "sin": [
        *((0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN), (NAN, NAN)),
        *((1e-45, 1e-45), (-1e-40, -1e-40)),
    ],
    "cos": [(0.0, 1), (-0.0, 1), (INF, NAN), (-INF, NAN), (NAN, NAN), (1e-45, 1)],
    "tan": [
        *((0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN), (NAN, NAN)),
        *((1e-45, 1e-45), (-1e-40, -1e-40)),
    ],
    "asin": [
        *((0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN), (NAN, NAN)),
        *((1, HALF_PI), (-1, -HALF_PI), (1.5, NAN), (-3e38, NAN), (1e-45, 1e-45), (-1e-40, -1e-40)),
    ],
    "acos": [
        *((0.0, HALF_PI), (-0.0, HALF_PI), (INF, NAN), (-INF, NAN), (NAN, NAN)),
        *((1, 0.0), (-1, 2 * HALF_PI), (1.5, NAN), (-3e38, NAN)),
    ],
    "atan": [
        *((0.0, 0.0), (-0.0, -0.0), (INF, HALF_PI), (-INF, -HALF_PI), (NAN, NAN)),
        *((3e38, HALF_PI), (-3e38, -HALF_PI), (1e-45, 1e-45), (-1e-40, -1e-40)),
    ],
    "softplus": [
        *((INF, INF), (-INF, 0.0), (NAN, NAN)),
        *((3e38, 3e38), (-110, 0.0), (-3e38, 0.0)),
    ],
    "sigmoid": [
        *((0.0, 0.5), (-0.0, 0.5), (INF, 1), (-INF, 0), (NAN, NAN)),
        *((3e38, 1), (-110, 0), (-3e38, 0), (1e-45, 0.5)),
    ],
}

PAIRS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "atan2": np.arctan2,
    "fmod": np.fmod,
    "remainder": np.remainder,
    "floor_divide": np.floor_divide,
}
# Pairs of these: all quadrants, the borders of the ranges, overflow and underflow on the way.
COORDINATES = [0.0, -0.0, 1, -1, 3, -7.5, 0.4, -2.4, 1e-45, -1e-40, 1e30, -3e38, 3.4e38, INF, -INF, NAN]

LOOPS = "\n".join(
    f"""{EXPORT}void apply_{name}{suffix}(const {kind} *restrict x, {kind} *restrict y, int64_t count)
{{
    for (int64_t i = 0; i < count; i++) y[i] = gn_{name}{suffix}(x[i]);
}}"""
    for name in FUNCTIONS
    for suffix, kind in (("f", "float"), ("", "double"))
)
PAIR_LOOPS = "\n".join(
    f"""{EXPORT}void apply_{name}{suffix}(const {kind} *a, const {kind} *b, {kind} *y, int64_t count)
{{
    for (int64_t i = 0; i < count; i++) y[i] = gn_{name}{suffix}(a[i], b[i]);
}}"""
    for name in PAIRS
    for suffix, kind in (("f", "float"), ("", "double"))
)
POWER = f"{EXPORT}int64_t power(int64_t base, int64_t exponent) {{ return gn_integer_power(base, exponent); }}"
DIVISIONS = "\n".join(
    f"{EXPORT}int64_t integer_{name}(int64_t a, int64_t b) {{ return gn_integer_{name}(a, b); }}"
    for name in ("fmod", "remainder", "floor_divide")
)
UNITS = {"math.c": f'#include "scalar_math.h"\n{LOOPS}\n{PAIR_LOOPS}\n{POWER}\n{DIVISIONS}\n'}


@pytest.fixture(scope="module")
def library(compiler: Compiler, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return load_library(UNITS, HEADERS, compiler, folder=tmp_path_factory.mktemp("math"))


def applied(library: ctypes.CDLL, name: str, values: np.ndarray) -> np.ndarray:
    x, y = aligned(values.size, values.dtype), aligned(values.size, values.dtype)
    x[:] = values
    suffix = "f" if values.dtype == np.float32 else ""
    getattr(library, f"apply_{name}{suffix}")(
        ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data), ctypes.c_int64(values.size)
    )
    return y


def applied_to_pairs(library: ctypes.CDLL, name: str, *values: np.ndarray) -> np.ndarray:
    count, dtype = values[0].size, values[0].dtype
    arrays = [aligned(count, dtype) for _ in range(3)]
    for array, given in zip(arrays, values, strict=False):
        array[:] = given
    suffix = "f" if dtype == np.float32 else ""
    call(library, f"apply_{name}{suffix}", *arrays, count)
    return arrays[2]


def worst_error(library: ctypes.CDLL, name: str, values: np.ndarray) -> float:
    """Return the largest error in units in the last place; infinities and NaN have to be right."""
    reference, _ = FUNCTIONS[name]
    with np.errstate(all="ignore"):
        exact = reference(values.astype(np.float64))
        nearest = exact.astype(np.float32)
    result = applied(library, name, values)
    finite = np.isfinite(nearest)
    np.testing.assert_array_equal(result[~finite], nearest[~finite])
    unit = np.spacing(np.abs(nearest[finite])).astype(np.float64)
    errors = np.abs(result[finite] - exact[finite]) / unit
    return float(errors.max(initial=0))


def every(step: int) -> np.ndarray:
    """Return numbers of all exponents and signs, subnormal ones, infinities and NaN among them."""
    return np.arange(0, FLOAT_BITS, step, dtype=np.uint32).view(np.float32)


def check_all(library: ctypes.CDLL) -> None:
    """Check everything once, for a library with sanitizers."""
    for name, (_, bound) in FUNCTIONS.items():
        assert worst_error(library, name, every(STEP * 31)) <= bound
        check_special_values(library, name)
    check_powers(library)
    check_integer_divisions(library)
    for name in PAIRS:
        check_pairs(library, name, np.float32)


def check_special_values(library: ctypes.CDLL, name: str) -> None:
    x, expected = np.array(SPECIAL[name], np.float32).T
    result = applied(library, name, x)
    np.testing.assert_array_equal(result, expected)
    zero = expected == 0
    np.testing.assert_array_equal(np.signbit(result[zero]), np.signbit(expected[zero]))


def check_powers(library: ctypes.CDLL) -> None:
    library.power.restype = ctypes.c_int64
    with np.errstate(over="ignore"):
        for base in (-3, -2, -1, 0, 1, 2, 3, 10, 2**40 + 1):
            for exponent in (0, 1, 2, 3, 5, 31, 63):
                expected = int(np.power(np.int64(base), np.int64(exponent)))
                assert library.power(ctypes.c_int64(base), ctypes.c_int64(exponent)) == expected
    for base, exponent, expected in ((2, -1, 0), (1, -5, 1), (-1, -5, -1), (-1, -4, 1), (0, -1, 0), (-7, -2, 0)):
        assert library.power(ctypes.c_int64(base), ctypes.c_int64(exponent)) == expected


def check_integer_divisions(library: ctypes.CDLL) -> None:
    numbers = np.array([0, 1, -1, 2, -2, 3, -3, 7, -7, 2**62, 2**63 - 1, -(2**63)], np.int64)
    for name in ("fmod", "remainder", "floor_divide"):
        function = getattr(library, f"integer_{name}")
        function.restype = ctypes.c_int64
        for a in numbers:
            for b in numbers:
                with np.errstate(all="ignore"):
                    expected = int(PAIRS[name](a, b))
                assert function(ctypes.c_int64(int(a)), ctypes.c_int64(int(b))) == expected, (name, a, b)


def check_pairs(library: ctypes.CDLL, name: str, dtype: type) -> None:
    """Compare with NumPy: to 4 units in the last place, or all bits of what is exact; the signs of zeros too."""
    generator = np.random.default_rng(0)
    drawn = [generator.standard_normal(20_000) * 10.0 ** generator.integers(-3, 4, 20_000) for _ in range(2)]
    edges = np.array([(a, b) for a in COORDINATES for b in COORDINATES]).T
    values: list[np.ndarray] = [np.concatenate(both).astype(dtype) for both in zip(edges, drawn, strict=True)]
    a, b = values
    with np.errstate(all="ignore"):
        expected = PAIRS[name](a.astype(np.float64), b.astype(np.float64)) if name == "atan2" else PAIRS[name](a, b)
        nearest: np.ndarray = expected.astype(dtype)
    result = applied_to_pairs(library, name, a, b)
    if name == "atan2":
        np.testing.assert_array_equal(np.isnan(result), np.isnan(nearest))
        known = ~np.isnan(nearest)
        assert np.all(np.abs(result - expected)[known] <= 4 * np.spacing(np.abs(nearest[known])))
        np.testing.assert_array_equal(np.signbit(result[known]), np.signbit(nearest[known]))
    else:
        np.testing.assert_array_equal(result, nearest)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", PAIRS)
def test_functions_of_two_numbers(library: ctypes.CDLL, name: str, dtype: type) -> None:
    check_pairs(library, name, dtype)


def test_integer_divisions(library: ctypes.CDLL) -> None:
    check_integer_divisions(library)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_all_exponents(library: ctypes.CDLL, name: str) -> None:
    assert worst_error(library, name, every(STEP)) <= FUNCTIONS[name][1]


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(("low", "high"), [(-1, 1), (-20, 20), (0.5, 2), (-104.5, -86), (86, 90)])
def test_densely_where_it_matters(library: ctypes.CDLL, name: str, low: float, high: float) -> None:
    values = np.linspace(low, high, 400_001, dtype=np.float32)
    assert worst_error(library, name, values) <= FUNCTIONS[name][1]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_values(library: ctypes.CDLL, name: str) -> None:
    check_special_values(library, name)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_double(library: ctypes.CDLL, name: str) -> None:
    x = np.array([*np.linspace(-30, 30, 1001), -800, 800, INF, -INF, NAN, 0.0, -0.0])
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(applied(library, name, x), FUNCTIONS[name][0](x), rtol=1e-14)


def test_integer_powers(library: ctypes.CDLL) -> None:
    check_powers(library)


@pytest.mark.parametrize("name", [*FUNCTIONS, "atan2"])
def test_a_loop_over_lanes_becomes_vector_instructions(compiler: Compiler, tmp_path: Path, name: str) -> None:
    lanes = max(4, compiler.vector_bytes // 4)
    arguments = "x[lane], y[lane]" if name in PAIRS else "x[lane]"
    for header in ("scalar_math.h", "shared_math.h"):
        (tmp_path / header).write_text(HEADERS[header])
    (tmp_path / "loop.c").write_text(
        f"""#include "scalar_math.h"
void loop(const float *restrict x, float *restrict y, int64_t count)
{{
    for (int64_t block = 0; block < count; block += {lanes})
        for (int64_t lane = block; lane < block + {lanes}; lane++) y[lane] = gn_{name}f({arguments});
}}
"""
    )
    command = [*compiler.command, *compiler.flags, "-S", "-o", "-", "loop.c"]
    text = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    if "x86" not in compiler.cpu or compiler.vector_bytes < 32:
        pytest.skip("the names of other machines' instructions are not known here")
    assert not re.search(r"\tv?(?:mul|add|sub|div|fn?m\w+|cvt\w+2)ss\t", text)
    assert re.search(r"\tvf\w+ps\t", text)
    assert not re.search(r"\t(?:call|jmp)\t\*?[a-z_]", text)


@pytest.mark.parametrize("name", HEADERS)
def test_libraries_are_kept_by_the_text_of_each_header(compiler: Compiler, name: str) -> None:
    key = library_key(UNITS, headers(), compiler)
    assert library_key(UNITS, {**headers(), name: f"{headers()[name]}/* changed */"}, compiler) != key


def test_nothing_is_undefined(compiler: Compiler, tmp_path: Path) -> None:
    run_under_sanitizers(compiler, UNITS, tmp_path, __file__, "check_all")
