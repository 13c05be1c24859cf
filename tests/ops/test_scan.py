"""Running sums and products, and the product over axes, beyond their samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from graphnn.compiler.gradients import gradients
from graphnn.compiler.reference import evaluate
from graphnn.ops import Dim, Graph, Node, cast, constant, placeholder
from graphnn.ops.errors import DTypeError, ShapeError
from graphnn.ops.product import Prod, prod
from graphnn.ops.scan import Cumsum, LinearRecurrence, cumprod, cumsum
from graphnn.ops.spec import TensorSpec
from op_checks import compute, compute_with_gradients

SCANS = (cumsum, cumprod)


@pytest.mark.parametrize("function", SCANS)
@pytest.mark.parametrize(("axis", "message"), [(2, "there is no axis 2"), (0.5, "an axis is 0.5")])
def test_what_is_no_axis_is_refused(function: Callable[..., Node], axis: int, message: str) -> None:
    with Graph():
        x = placeholder("x", (None, 3))
        with pytest.raises(ShapeError, match=f"^{function.__name__}: {message}") as caught:
            function(x, axis)
    assert caught.value.actual == "x float32 (N, 3) ('x')"
    assert "test_scan.py" in caught.value.where


def test_a_scalar_has_no_axis() -> None:
    with Graph():
        x = placeholder("x", ())
        for function in SCANS:
            with pytest.raises(ShapeError, match="there is no axis 0"):
                function(x, 0)
        assert prod(x) is x


@pytest.mark.parametrize("function", [*SCANS, prod])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64"])
def test_integers_become_int64(function: Callable[..., Node], dtype: str) -> None:
    with Graph():
        x = placeholder("x", (None, 3), dtype)
        assert str(function(x, 1).dtype) == "int64"
        assert str(prod(x, ()).dtype) == "int64"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_short_floats_are_accumulated_in_float32(dtype: str) -> None:
    # Added one by one in the short type, the sum stops growing at 2048 or 256.
    sums = compute(lambda x: cumsum(cast(x, dtype), 0), np.ones(4096, np.float32))
    assert sums[-1] == 4096
    factor = 1 + 2**-12  # rounded to 1 in the short types: what is multiplied has to be wide already
    assert compute(lambda x: cast(prod(cast(x, dtype) * 1.5), "float32"), np.full(2, 2.0, np.float32)) == 9
    assert compute(lambda x: prod(x), np.full(4096, factor)) == pytest.approx(factor**4096)


def test_products_of_nothing_are_1_and_sums_0() -> None:
    nothing = np.zeros((2, 0), np.float32)
    np.testing.assert_array_equal(compute(lambda x: prod(x, 1), nothing), [1, 1])
    assert compute(lambda x: cumsum(x, 1), nothing).shape == (2, 0)


def test_methods_are_the_functions() -> None:
    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(compute(lambda x: x.cumsum(-1), x), [[1, 3], [3, 7]])
    np.testing.assert_array_equal(compute(lambda x: x.cumprod(axis=0), x), [[1, 2], [3, 8]])
    np.testing.assert_array_equal(compute(lambda x: x.prod(axis=1, keepdims=True), x), [[2], [12]])
    assert compute(lambda x: x.prod(), x) == 24


def test_the_batch_is_an_axis_like_others() -> None:
    with Graph():
        x = placeholder("x", (None, 2, 3))
        assert cumsum(x, 0).shape == cumprod(x, 0).shape == x.shape
        assert prod(x, 0).shape == (2, 3)
        assert prod(x, (0, -1), keepdims=True).shape == (1, 2, 1)
        assert prod(x, 2).shape == (Dim(1), 2)
        y = cumsum(x, 0, reverse=True)
        (dx,) = gradients(y.sum(), [x])
    for n in (1, 4):
        array = np.arange(6.0 * n, dtype=np.float32).reshape(n, 2, 3)
        value, slope = evaluate([y, dx], {x: array})
        np.testing.assert_array_equal(value, np.cumsum(array[::-1], 0)[::-1])
        np.testing.assert_array_equal(slope[:, 0, 0], np.arange(1, n + 1))


def test_infinity_and_nan_stay_where_they_are() -> None:
    x = np.array([1, np.inf, 2, np.nan, 3], np.float32)
    np.testing.assert_array_equal(compute(lambda x: cumsum(x, 0), x), [1, np.inf, np.inf, np.nan, np.nan])
    np.testing.assert_array_equal(compute(lambda x: cumsum(x, 0, exclusive=True), x), [0, 1, np.inf, np.inf, np.nan])
    np.testing.assert_array_equal(compute(lambda x: cumprod(x, 0), x), [1, np.inf, np.inf, np.nan, np.nan])


def test_the_gradient_of_a_product_with_zeros() -> None:
    for x, expected in (([2.0, 0.0, 3.0], [0, 6, 0]), ([0.0, 0.0, 3.0], [0, 0, 0])):
        _, dx = compute_with_gradients(prod, np.array(x))
        np.testing.assert_array_equal(dx, expected)


def test_the_third_derivative_of_a_product_of_zeros_is_1() -> None:
    with Graph():
        x = constant(np.zeros(3))
        slope = prod(x)
        for position in range(3):
            (dx,) = gradients(slope, [x])
            slope = dx[position]
    assert evaluate([slope], {}) == [1]


def test_flops_are_one_for_each_element() -> None:
    spec = TensorSpec((4, 5), "float32")
    assert Cumsum(1, False).flops(spec, spec) == 20
    assert LinearRecurrence(1, False).flops(spec, spec, spec) == 40
    assert Prod(1, False).flops(TensorSpec((4,), "float32"), spec) == 20


def test_a_recurrence_takes_two_of_a_kind() -> None:
    with Graph() as graph:
        a, b = placeholder("a", (2, 3)), placeholder("b", (2, 1))
        with pytest.raises(ShapeError, match="the inputs differ in shape"):
            graph.add(LinearRecurrence(1, False), (a, b))
        with pytest.raises(DTypeError, match="the inputs differ in element type"):
            graph.add(LinearRecurrence(1, False), (a, placeholder("c", (2, 3), "float64")))
