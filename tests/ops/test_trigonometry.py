"""Circular and hyperbolic functions beyond their samples: special values, borders, element types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphnn.ops import Graph, dtypes, placeholder, trigonometry
from graphnn.ops.errors import GraphError
from graphnn.ops.trigonometry import acos, acosh, asin, atan2, atanh, cos, sin
from op_checks import compute, compute_with_gradients

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_values_are_those_of_numpy(name: str, dtype: type) -> None:
    x: np.ndarray = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, 2.0, -3.0], dtype)
    with np.errstate(all="ignore"):
        expected = FUNCTIONS[name](x.astype(np.float64)).astype(dtype)
    actual = compute(getattr(trigonometry, name), x)
    assert actual.dtype == dtype
    np.testing.assert_allclose(actual, expected, rtol=1e-3 if dtype == np.float16 else 1e-6)
    np.testing.assert_array_equal(np.signbit(actual[3:5]), np.signbit(expected[3:5]))


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64"])
def test_integers_become_float32(dtype: str) -> None:
    with Graph():
        x = placeholder("x", (2,), dtype)
        for name in FUNCTIONS:
            assert getattr(trigonometry, name)(x).dtype is dtypes.float32
        assert atan2(x, x).dtype is dtypes.float32
        assert atan2(x, placeholder("y", (2,), "float64")).dtype is dtypes.float64


def test_a_number_is_no_angle_of_a_graph() -> None:
    with Graph():
        with pytest.raises(GraphError, match="has no node among its inputs"):
            sin(0.5)  # type: ignore[arg-type]  # the mistake tested
        with pytest.raises(GraphError, match="has no node among its inputs"):
            atan2(1.0, 2.0)


def test_atan2_knows_all_quadrants_and_signs_of_zero() -> None:
    values = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan])
    y, x = (grid.ravel() for grid in np.meshgrid(values, values))
    actual = compute(atan2, y, x)
    expected = np.arctan2(y, x)
    np.testing.assert_array_equal(actual, expected)
    np.testing.assert_array_equal(np.signbit(actual[expected == 0]), np.signbit(expected[expected == 0]))


@pytest.mark.parametrize(
    ("function", "x", "slope"),
    [
        (asin, 1 - 1e-12, 1 / np.sqrt(2e-12)),
        (acos, -1 + 1e-12, -1 / np.sqrt(2e-12)),
        (acosh, 1 + 1e-12, 1 / np.sqrt(2e-12)),
        (atanh, -1 + 1e-12, 1 / 2e-12),
        (asin, 1.0, np.inf),
        (acosh, 1.0, np.inf),
    ],
)
def test_slopes_near_the_border(function: Callable[..., Any], x: float, slope: float) -> None:
    _, dx = compute_with_gradients(function, np.array([x]))
    np.testing.assert_allclose(dx, [slope], rtol=2e-4)


def test_a_circle_stays_one() -> None:
    x = np.linspace(-1e4, 1e4, 1001, dtype=np.float32)
    np.testing.assert_allclose(compute(lambda x: sin(x) * sin(x) + cos(x) * cos(x), x), 1, rtol=1e-6)
