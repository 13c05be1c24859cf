"""Rounding and division with a remainder beyond their samples: zeros, infinities, integers, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphnn.ops import Graph, Node, dtypes, placeholder
from graphnn.ops.errors import DTypeError
from graphnn.ops.rounding import ceil, floor, floor_divide, fmod, remainder, round, trunc
from op_checks import compute, compute_with_gradients

ROUNDINGS: dict[Callable[[Node], Node], Callable[..., Any]] = {
    floor: np.floor,
    ceil: np.ceil,
    round: np.rint,
    trunc: np.trunc,
}
DIVISIONS: dict[Callable[..., Node], Callable[..., Any]] = {
    floor_divide: np.floor_divide,
    remainder: np.remainder,
    fmod: np.fmod,
}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("function", ROUNDINGS)
def test_special_values(function: Callable[[Node], Node], dtype: type) -> None:
    x: np.ndarray = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, -0.25, 0.5, 1.5, 2.5, -0.5, -1.5, 6e4], dtype)
    actual, expected = compute(function, x), ROUNDINGS[function](x)
    np.testing.assert_array_equal(actual, expected)
    np.testing.assert_array_equal(np.signbit(actual[1:]), np.signbit(expected[1:]))


@pytest.mark.parametrize("function", ROUNDINGS)
def test_integers_are_round(function: Callable[[Node], Node]) -> None:
    with Graph():
        for dtype in ("uint8", "int32", "int64"):
            x = placeholder(f"x_{dtype}", (2,), dtype)
            assert function(x) is x
        with pytest.raises(DTypeError, match="not of a floating type"):
            function(placeholder("b", (2,), "bool"))


@pytest.mark.parametrize("function", ROUNDINGS)
def test_the_gradient_of_a_step_is_0(function: Callable[[Node], Node]) -> None:
    _, dx = compute_with_gradients(lambda x: function(x) * x, np.array([1.25, -0.5]))
    np.testing.assert_array_equal(dx, compute(function, np.array([1.25, -0.5])))


def test_operators_are_the_functions() -> None:
    a = np.array([7, -7, 8], np.int32)
    np.testing.assert_array_equal(compute(lambda x: x // 3, a), [2, -3, 2])
    np.testing.assert_array_equal(compute(lambda x: x % 3, a), [1, 2, 2])
    np.testing.assert_array_equal(compute(lambda x: 20 // x, a), [2, -3, 2])
    np.testing.assert_array_equal(compute(lambda x: 20 % x, a), [6, -1, 4])
    with Graph():
        x = placeholder("x", (2,), "int32")
        assert (x // 2).dtype is dtypes.int32
        assert (x % 0.5).dtype is dtypes.float32


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
@pytest.mark.parametrize("function", DIVISIONS)
def test_integers_divided_by_0_give_0(function: Callable[..., Node], dtype: str) -> None:
    np.testing.assert_array_equal(compute(function, np.array([5, 0], dtype), np.zeros(2, dtype)), [0, 0])


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_the_lowest_integer_divided_by_minus_1_wraps(dtype: type) -> None:
    lowest: np.ndarray = np.array([np.iinfo(dtype).min], dtype)
    minus: np.ndarray = np.array([-1], dtype)
    np.testing.assert_array_equal(compute(floor_divide, lowest, minus), lowest)
    np.testing.assert_array_equal(compute(remainder, lowest, minus), [0])


@pytest.mark.parametrize("function", DIVISIONS)
def test_real_numbers_divided_by_0_and_infinity(function: Callable[..., Node]) -> None:
    values = np.array([0.0, 1.0, -1.0, 7.5, np.inf, -np.inf, np.nan])
    a, b = (grid.ravel() for grid in np.meshgrid(values, values))
    with np.errstate(all="ignore"):
        expected = DIVISIONS[function](a, b)
    np.testing.assert_array_equal(compute(function, a, b), expected)


@pytest.mark.parametrize("function", DIVISIONS)
def test_bool_is_no_dividend(function: Callable[..., Node]) -> None:
    with Graph():
        x = placeholder("x", (2,), "bool")
        with pytest.raises(DTypeError, match="has no meaning for bool"):
            function(x, x)


@pytest.mark.parametrize("function", [remainder, fmod])
def test_the_quotient_counts_as_a_constant(function: Callable[..., Node]) -> None:
    a, b = np.array([7.5, -7.5, 6.0]), np.array([2.0, 2.0, -4.0])
    rest, da, db = compute_with_gradients(function, a, b, wanted=(0, 1))
    np.testing.assert_array_equal(da, [1, 1, 1])
    np.testing.assert_allclose(db, -(a - rest) / b)
