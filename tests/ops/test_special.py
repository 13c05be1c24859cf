"""erf, expm1, log1p, softplus's op, fixed powers and finiteness beyond their samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphnn.compiler.gradients import gradients
from graphnn.compiler.reference import evaluate
from graphnn.ops import Graph, constant, dtypes, placeholder
from graphnn.ops.errors import GraphError
from graphnn.ops.finiteness import isfinite, isinf, isnan
from graphnn.ops.powers import reciprocal, rsqrt, square
from graphnn.ops.special import erf, expm1, log1p
from op_checks import compute, compute_with_gradients

INF, NAN = math.inf, math.nan


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    ("function", "pairs"),
    [
        (erf, [(0.0, 0.0), (-0.0, -0.0), (INF, 1), (-INF, -1), (NAN, NAN), (30, 1)]),
        (expm1, [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -1), (NAN, NAN), (-50, -1)]),
        (log1p, [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-1, -INF), (-2, NAN), (NAN, NAN)]),
        (square, [(-0.0, 0.0), (-INF, INF), (NAN, NAN), (-3, 9)]),
        (reciprocal, [(0.0, INF), (-0.0, -INF), (INF, 0.0), (-INF, -0.0), (NAN, NAN), (4, 0.25)]),
        (rsqrt, [(0.0, INF), (INF, 0.0), (-1, NAN), (NAN, NAN), (4, 0.5)]),
    ],
)
def test_special_values(function: Callable[..., Any], pairs: list[tuple[float, float]], dtype: type) -> None:
    x, expected = np.array(pairs, dtype).T
    actual = compute(function, x)
    np.testing.assert_array_equal(actual, expected)
    np.testing.assert_array_equal(np.signbit(actual[actual == 0]), np.signbit(expected[actual == 0]))


def test_erf_is_exact_in_float64() -> None:
    x = np.linspace(-6, 6, 501)
    np.testing.assert_array_equal(compute(erf, x), [math.erf(value) for value in x])


def test_small_numbers_keep_their_digits() -> None:
    x = np.array([1e-20, -1e-12, 1e-7], np.float32)
    np.testing.assert_allclose(compute(expm1, x), x, rtol=1e-6)
    np.testing.assert_allclose(compute(log1p, x), x, rtol=1e-6)


def test_gradients_of_large_numbers_are_0_or_infinite() -> None:
    (_, slope) = compute_with_gradients(erf, np.array([-1e30, 1e30], np.float32))
    np.testing.assert_array_equal(slope, [0, 0])
    (_, slope) = compute_with_gradients(log1p, np.array([-1.0, np.inf], np.float32))
    np.testing.assert_array_equal(slope, [np.inf, 0])


@pytest.mark.parametrize("function", [erf, expm1, log1p, reciprocal, rsqrt])
def test_integers_become_float32(function: Callable[..., Any]) -> None:
    with Graph():
        assert function(placeholder("x", (2,), "int64")).dtype is dtypes.float32


@pytest.mark.parametrize("function", [erf, isnan, isinf, isfinite])
def test_a_number_is_no_node(function: Callable[..., Any]) -> None:
    with Graph(), pytest.raises(GraphError, match="has no node among its inputs"):
        function(1.0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_finiteness(dtype: str) -> None:
    with Graph():
        x = constant(np.array([NAN, INF, -INF, 0.0, -2.5], np.float64)).astype(dtype)
        kinds = evaluate([isnan(x), isinf(x), isfinite(x)], {})
    np.testing.assert_array_equal(kinds, [[1, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 1, 1]])


def test_a_gradient_may_pass_a_choice_by_finiteness() -> None:
    with Graph():
        x = constant([1.0, 4.0])
        kept = x * isfinite(x).astype("float32")
        (dx,) = gradients(kept.sum(), [x])
    np.testing.assert_array_equal(evaluate([dx], {}), [[1, 1]])
