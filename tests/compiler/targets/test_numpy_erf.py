"""The NumPy target's kernel for erf: the one elementwise kernel that is no ufunc of NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest

import graphnn as gn


def erf(x: np.ndarray) -> np.ndarray:
    with gn.Graph():
        given = gn.placeholder("x", (None,), x.dtype)
        executor = gn.Executor(gn.ops.erf(given), device="numpy", max_batch=len(x))
    value: np.ndarray = executor.run({given: x})
    return value


def test_float32_is_exact_to_8_units_in_the_last_place() -> None:
    near, small = np.linspace(-5, 5, 20_001), 10.0 ** np.linspace(-44, 0, 2_001)
    x = np.concatenate([near, small, -small]).astype(np.float32)
    exact = np.array([math.erf(value) for value in x])
    unit = np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)
    assert np.max(np.abs(erf(x) - exact) / unit) <= 8


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_special_values(dtype: type) -> None:
    y = erf(np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 6e4, -6e4], dtype))
    np.testing.assert_array_equal(y, [0, 0, 1, -1, np.nan, 1, -1])
    assert np.signbit(y[1])
    assert y.dtype == dtype


def test_float64_is_that_of_the_machines_library() -> None:
    x = np.linspace(-6, 6, 1001)
    np.testing.assert_array_equal(erf(x), [math.erf(value) for value in x])
