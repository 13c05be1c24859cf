"""Activations beyond their samples: gradients at kinks, large numbers, short types, errors."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from graphnn.compiler.gradients import gradients
from graphnn.compiler.reference import evaluate
from graphnn.ops import Dim, Graph, Node, constant, dtypes, placeholder
from graphnn.ops.activation import elu, gelu, hardtanh, leaky_relu, relu6, silu, softplus
from graphnn.ops.errors import GraphError
from op_checks import compute, compute_with_gradients

Activation = Callable[[Node], Node]
ALL: tuple[Activation, ...] = (
    gelu,
    lambda x: gelu(x, "tanh"),
    silu,
    softplus,
    lambda x: softplus(x, 2.0),
    leaky_relu,
    elu,
    hardtanh,
    relu6,
)


@pytest.mark.parametrize(
    ("function", "x", "slope"),
    [
        (gelu, 0, 0.5),
        (lambda x: gelu(x, "tanh"), 0, 0.5),
        (silu, 0, 0.5),
        (softplus, 0, 0.5),
        (lambda x: softplus(x, 3.0), 0, 0.5),
        (leaky_relu, 0, 0.01),
        (elu, 0, 1),
        (lambda x: elu(x, 0.5), 0, 0.5),
        (hardtanh, 0, 1),
        (hardtanh, 1, 0),
        (hardtanh, -1, 0),
        (relu6, 0, 0),
        (relu6, 6, 0),
    ],
)
def test_slope_at_the_kinks(function: Activation, x: float, slope: float) -> None:
    _, dx = compute_with_gradients(function, np.array([x], np.float64))
    np.testing.assert_allclose(dx, [slope], rtol=1e-15)


@pytest.mark.parametrize(
    ("function", "curvature"),
    [
        (gelu, 2 / math.sqrt(2 * math.pi)),
        (silu, 0.5),
        (softplus, 0.25),
        (lambda x: softplus(x, 2.0), 0.5),
        (leaky_relu, 0),
        (elu, 1),
    ],
)
def test_curvature_at_0(function: Activation, curvature: float) -> None:
    with Graph():
        x = constant(np.zeros(1))
        (dx,) = gradients(function(x), [x])
        (ddx,) = gradients(dx, [x], allow_unused=True)  # a constant slope has none
    np.testing.assert_allclose(evaluate([ddx], {}), [[curvature]], rtol=1e-15)


@pytest.mark.parametrize("function", ALL)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_large_numbers_overflow_neither_value_nor_gradient(function: Activation, dtype: type) -> None:
    x: np.ndarray = np.array([-6e4, -300, 300, 6e4], dtype)
    y, dx = compute_with_gradients(function, x)
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()


@pytest.mark.parametrize("function", ALL)
def test_nan_stays(function: Activation) -> None:
    assert np.isnan(compute(function, np.array([np.nan], np.float32))).all()


@pytest.mark.parametrize("function", ALL)
def test_shape_and_type_stay_and_integers_become_float32(function: Activation) -> None:
    with Graph():
        for number, dtype in enumerate(("float16", "bfloat16", "float32", "float64")):
            y = function(placeholder(f"x{number}", (None, 3), dtype))
            assert y.shape == (Dim(1), 3)
            assert str(y.dtype) == dtype
        for dtype in ("bool", "uint8", "int64"):
            assert function(placeholder(f"x_{dtype}", (2,), dtype)).dtype is dtypes.float32


def test_the_limits_of_leaky_slopes() -> None:
    x = np.array([-2.0, 0.0, 3.0])
    np.testing.assert_array_equal(compute(lambda x: leaky_relu(x, 0.0), x), [0, 0, 3])
    np.testing.assert_array_equal(compute(lambda x: leaky_relu(x, -1.0), x), [2, 0, 3])


@pytest.mark.parametrize(
    ("function", "message", "hint"),
    [
        (
            lambda x: gelu(x, "sigmoid"),  # type: ignore[arg-type]  # the mistake tested
            "gelu: there is no approximation 'sigmoid'",
            "'none' or 'tanh'",
        ),
        (lambda x: softplus(x, 0), "softplus: beta is 0", "above 0"),
        (lambda x: softplus(x, math.nan), "softplus: beta is nan", "above 0"),
        (lambda x: hardtanh(x, 1, 1), "hardtanh: the limits are 1 and 1", "below the second"),
        (lambda x: hardtanh(x, math.nan, 1), "hardtanh: the limits are nan and 1", "below the second"),
    ],
)
def test_arguments_are_checked(function: Activation, message: str, hint: str) -> None:
    with Graph():
        x = placeholder("x", (2,))
        with pytest.raises(GraphError, match=message) as caught:
            function(x)
    assert hint in str(caught.value)
    assert "test_activation.py" in caught.value.where
