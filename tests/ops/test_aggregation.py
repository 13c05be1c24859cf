"""std, logsumexp, norm, any and all beyond their samples: gradients where they have no value, errors, short types."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from graphnn.compiler.gradients import gradients
from graphnn.compiler.reference import evaluate
from graphnn.ops import Dim, Graph, Node, constant, placeholder
from graphnn.ops.aggregation import all, any, logsumexp, std
from graphnn.ops.errors import DTypeError, GraphError, ShapeError
from graphnn.ops.vector_norm import norm
from op_checks import compute, compute_with_gradients

ORDERS = (0.5, 1, 1.5, 2, 3, math.inf, -math.inf)


def test_norm_is_the_function_not_the_module() -> None:
    assert gn.ops.norm is norm


@pytest.mark.parametrize("function", [std, norm, logsumexp, any, all])
@pytest.mark.parametrize(("axes", "message"), [(3, "there is no axis 3"), ((1, -2), "an axis occurs twice")])
def test_what_is_no_axis_is_refused(function: Callable[..., Node], axes: Any, message: str) -> None:
    with Graph():
        x = placeholder("x", (None, 2, 3))
        with pytest.raises(ShapeError, match=message) as caught:
            function(x, axes=axes)
    assert "test_aggregation.py" in caught.value.where


@pytest.mark.parametrize("function", [std, norm, logsumexp])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64"])
def test_integers_are_refused(function: Callable[..., Node], dtype: str) -> None:
    with Graph():
        x = placeholder("x", (3,), dtype)
        with pytest.raises(DTypeError, match=f"^{function.__name__}: the input is not of a floating type"):
            function(x)


@pytest.mark.parametrize("function", [std, norm, logsumexp, any, all])
def test_the_batch_is_an_axis_like_others(function: Callable[..., Node]) -> None:
    with Graph():
        x = placeholder("x", (None, 2, 3))
        assert function(x, axes=0).shape == (2, 3)
        assert function(x, axes=(0, -1), keepdims=True).shape == (1, 2, 1)
        assert function(x, axes=1).shape == (Dim(1), 3)
        assert function(x).shape == ()


def test_methods_are_the_functions() -> None:
    x = np.array([[1.0, 3.0], [0.0, 2.0]])
    np.testing.assert_array_equal(compute(lambda x: x.std(1), x), [1, 1])
    np.testing.assert_array_equal(compute(lambda x: x.any(axis=1, keepdims=True), x), [[True], [True]])
    np.testing.assert_array_equal(compute(lambda x: (x > 0).all(1), x), [True, False])


# Where a gradient has no value.


@pytest.mark.parametrize("ord", ORDERS)
def test_the_gradient_of_a_norm_at_0_is_0(ord: float) -> None:  # noqa: A002 - NumPy's name
    with Graph():
        x = constant(np.zeros((2, 3)))
        y = norm(x, ord, axes=1)
        (dx,) = gradients(y, [x])
        (ddx,) = gradients(dx, [x], allow_unused=True)
    value, slope, curvature = evaluate([y, dx, ddx], {})
    np.testing.assert_array_equal(value, 0)
    np.testing.assert_array_equal(slope, 0)
    assert np.isfinite(curvature).all()


@pytest.mark.parametrize("ord", [0.5, 1, 1.5, 2, 3, math.inf])
def test_a_zero_among_others_has_the_gradient_0(ord: float) -> None:  # noqa: A002 - NumPy's name
    y, dx = compute_with_gradients(lambda x: norm(x, ord), np.array([0.0, -4.0, 0.0]))
    np.testing.assert_allclose(y, 4)
    np.testing.assert_allclose(dx, [0, -1, 0], atol=1e-15)


def test_the_gradient_of_std_at_0_is_0() -> None:
    y, dx = compute_with_gradients(std, np.full(4, 2.5))
    assert y == 0
    np.testing.assert_array_equal(dx, 0)


def test_the_gradient_of_logsumexp_is_the_softmax_where_exponentials_overflow() -> None:
    _, dx = compute_with_gradients(logsumexp, np.array([1e4, 1e4, -1e4], np.float32))
    np.testing.assert_array_equal(dx, [0.5, 0.5, 0])


def test_logsumexp_of_nothing_is_refused() -> None:
    with Graph():
        x = placeholder("x", (3, 0))
        with pytest.raises(ShapeError, match="of nothing"):
            logsumexp(x, axes=1)
        assert logsumexp(x, axes=0).shape == (0,)


def test_logsumexp_over_no_axes_is_the_input() -> None:
    x = np.array([-3.0, 1000.0, -np.inf])
    np.testing.assert_array_equal(compute(lambda x: logsumexp(x, ()), x), x)


# Element types and numbers of all sizes.


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("function", [std, norm, logsumexp])
def test_short_floats_are_computed_in_float32(function: Callable[..., Node], dtype: str) -> None:
    # The squares of 300 are above all of float16; 4096 equal terms stop growing in both types.
    x = np.where(np.arange(4096) % 2, 300.0, -300.0).astype(np.float32)
    expected = {std: 300.0, norm: 300.0 * 64, logsumexp: 300.0 + math.log(2048)}[function]
    y = compute(lambda x: function(x.astype(dtype)).astype("float32"), x)
    np.testing.assert_allclose(y, expected, rtol=5e-3)


@pytest.mark.parametrize("ord", [0, -1, math.nan])
def test_other_orders_are_refused(ord: float) -> None:  # noqa: A002 - NumPy's name
    with Graph():
        x = placeholder("x", (3,))
        with pytest.raises(GraphError, match=f"norm: there is no order {ord}") as caught:
            norm(x, ord)
    assert "test_aggregation.py" in caught.value.where


@pytest.mark.parametrize("ord", ORDERS)
def test_nan_and_infinity_in_a_norm(ord: float) -> None:  # noqa: A002 - NumPy's name
    assert np.isnan(compute(lambda x: norm(x, ord), np.array([1.0, np.nan])))
    expected = 1 if ord == -math.inf else np.inf
    assert compute(lambda x: norm(x, ord), np.array([1.0, -np.inf])) == expected


# Any and all.


def test_any_and_all_of_nothing() -> None:
    nothing = np.zeros((2, 0), np.bool_)
    np.testing.assert_array_equal(compute(lambda x: any(x, 1), nothing), [False, False])
    np.testing.assert_array_equal(compute(lambda x: all(x, 1), nothing), [True, True])


def test_what_is_not_0_holds() -> None:
    x = np.array([[0.0, -0.0, 0.0], [0.0, np.nan, 0.0], [1e-45, -1.0, np.inf]], np.float32)
    np.testing.assert_array_equal(compute(lambda x: any(x, 1), x), [False, True, True])
    np.testing.assert_array_equal(compute(lambda x: all(x, 1), x), [False, False, True])


def test_any_of_many_does_not_wrap_around() -> None:
    many = np.ones(2**16, np.bool_)  # as many as would make a byte or a short integer 0 again
    assert compute(any, many)
    assert compute(all, many)
    assert not compute(all, np.zeros(256, np.bool_))
