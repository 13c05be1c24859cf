"""Elementwise ops of NaN, infinities and zeros of both signs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphnn.ops import Node, elementwise
from graphnn.ops.comparison import equal, greater, greater_equal, less, less_equal, not_equal, where
from op_checks import compute, compute_with_gradients

SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, -2.0, 3.0], np.float32)
UNARY: dict[str, Callable[..., Any]] = {
    "negative": np.negative,
    "abs": np.abs,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "relu": lambda x: np.maximum(x, 0),
    "sign": np.sign,
}
BINARY: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "power": np.power,
    "maximum": np.maximum,
    "minimum": np.minimum,
}
COMPARISONS: dict[Callable[..., Node], Callable[..., Any]] = {
    equal: np.equal,
    not_equal: np.not_equal,
    less: np.less,
    less_equal: np.less_equal,
    greater: np.greater,
    greater_equal: np.greater_equal,
}
TORCH_NAMES = {"negative": "neg", "subtract": "sub", "multiply": "mul", "divide": "div", "power": "pow"}


def torch_function(name: str) -> Callable[..., Any]:
    torch = pytest.importorskip("torch")
    found: Callable[..., Any] = getattr(torch, TORCH_NAMES.get(name, name))
    return found


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", UNARY)
def test_special_values_of_one_input(name: str, dtype: type[np.floating[Any]]) -> None:
    x = SPECIAL.astype(dtype)
    with np.errstate(all="ignore"):
        expected = UNARY[name](x.astype(np.float64))
    np.testing.assert_allclose(compute(getattr(elementwise, name), x), expected, rtol=1e-3)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", BINARY)
def test_special_values_of_two_inputs(name: str, dtype: type[np.floating[Any]]) -> None:
    a, b = (values.ravel().astype(dtype) for values in np.meshgrid(SPECIAL, SPECIAL))
    with np.errstate(all="ignore"):
        expected = BINARY[name](a.astype(np.float64), b.astype(np.float64))
    np.testing.assert_allclose(compute(getattr(elementwise, name), a, b), expected, rtol=1e-3)


@pytest.mark.parametrize("name", [name for name in (*UNARY, *BINARY) if name != "sign"])  # torch.sign(nan) is 0
def test_special_values_are_those_of_torch(name: str) -> None:
    function = torch_function(name)
    torch = pytest.importorskip("torch")
    inputs = [SPECIAL] if name in UNARY else [grid.ravel() for grid in np.meshgrid(SPECIAL, SPECIAL)]
    actual = compute(getattr(elementwise, name), *inputs)
    np.testing.assert_allclose(actual, function(*map(torch.tensor, inputs)).numpy(), rtol=1e-6)


@pytest.mark.parametrize("comparison", COMPARISONS, ids=lambda function: function.__name__)
def test_nothing_but_not_equal_holds_for_nan(comparison: Callable[..., Node]) -> None:
    a, b = (values.ravel() for values in np.meshgrid(SPECIAL, SPECIAL))
    np.testing.assert_array_equal(compute(comparison, a, b), COMPARISONS[comparison](a, b))
    nan = np.full(3, np.nan, np.float32)
    assert (compute(comparison, nan, np.array([np.nan, 0, np.inf], np.float32)) == (comparison is not_equal)).all()


def test_where_does_not_look_at_what_it_leaves() -> None:
    x = np.array([np.nan, 2.0, -np.inf], np.float32)
    value, grad = compute_with_gradients(lambda x: where(np.array([False, True, False]), x, 0), x)
    np.testing.assert_array_equal(value, [0, 2, 0])
    np.testing.assert_array_equal(grad, [0, 1, 0])


def test_sigmoid_neither_overflows_nor_loses_small_results() -> None:
    x = np.array([-1000, -80, 80, 1000], np.float32)
    np.testing.assert_allclose(compute(elementwise.sigmoid, x), [0, np.exp(-80.0), 1, 1], rtol=1e-5)
