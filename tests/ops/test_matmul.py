from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphnn.compiler.gradients import gradients
from graphnn.compiler.reference import evaluate
from graphnn.ops.context import apply
from graphnn.ops.errors import DTypeError, ShapeError
from graphnn.ops.graph import Graph
from graphnn.ops.matmul import MatMul, matmul
from graphnn.ops.node import Node
from graphnn.ops.shape import Transpose
from graphnn.ops.spec import Dim, Extent
from graphnn.ops.state import constant, placeholder

N = Dim(1)
Shape = tuple[int | None, ...]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((None, 4), (4, 3), (N, 3)),
        ((None,), (None,), ()),
        ((None,), (None, 3), (3,)),
        ((None, 4), (4,), (N,)),
        ((None, 2, 3), (None, 3, 4), (N, 2, 4)),
        ((None, 2, 3), (3, 4), (N, 2, 4)),
        ((2, 3), (None, 3, 4), (N, 2, 4)),
        ((None, 1, 2, 3), (5, 3, 4), (N, 5, 2, 4)),
        ((1, 2, 3), (None, 3, 4), (N, 2, 4)),
        ((0, 3), (3, 2), (0, 2)),
    ],
)
def test_shapes(a: Shape, b: Shape, expected: tuple[Extent, ...]) -> None:
    with Graph():
        y = placeholder("a", a) @ placeholder("b", b)

    assert y.shape == expected


def test_the_batch_may_be_on_any_axis_and_be_summed_over() -> None:
    with Graph():
        x, dy = placeholder("x", (None, 4)), placeholder("dy", (None, 3))

        assert (x.T @ dy).shape == (4, 3)
        assert (dy.T @ x).shape == (3, 4)
        assert (x @ x.T).shape == (N, N)
        assert (x.reshape((-1, 2)) @ np.ones((2, 5), np.float32)).shape == (Dim(2), 5)


def test_operands_that_are_no_nodes() -> None:
    array = np.array([[1, 2], [3, 4]], np.float32)
    with Graph():
        x = placeholder("x", (2, 2))
        products = [matmul(a, b) for a, b in ((array, x), (x, array), ([[1, 2], [3, 4]], x), ([1.0, 2.0], x))]
        reflected: Any = array @ x  # NumPy's stubs take this for an array
        assert isinstance(reflected, Node)
        products.append(reflected)

    values = evaluate(products, {x: array})

    np.testing.assert_array_equal(values[0], [[7, 10], [15, 22]])
    np.testing.assert_array_equal(values[1], values[0])
    np.testing.assert_array_equal(values[2], values[0])
    np.testing.assert_array_equal(values[3], [7, 10])
    np.testing.assert_array_equal(values[4], values[0])


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ((2, 3), (4, 2), "the sizes to be summed over differ: 3 in a, 4 in b"),
        ((None, 3), (None, 3), "the sizes to be summed over differ: 3 in a, N in b"),
        ((3,), (4, 2), "the sizes to be summed over differ: 3 in a, 4 in b"),
        ((2, 3), (2,), "the sizes to be summed over differ: 3 in a, 2 in b"),
        ((3,), (2,), "the sizes to be summed over differ: 3 in a, 2 in b"),
        ((3,), (5, 2, 4), "the sizes to be summed over differ: 3 in a, 2 in b"),
        ((), (3, 2), "an input is a scalar"),
        ((2, 3), (), "an input is a scalar"),
        ((2, 2, 3), (3, 3, 4), "the shapes do not broadcast: axis -1 has sizes 2 and 3"),
        ((None, 2, 3), (2, 3, 4), "the shapes do not broadcast: axis -1 has sizes N and 2"),
    ],
)
def test_shapes_that_do_not_fit(a: Shape, b: Shape, message: str) -> None:
    with Graph():
        left, right = placeholder("left", a), placeholder("right", b)

        with pytest.raises(ShapeError, match=message) as caught:
            left @ right

    assert caught.value.message.startswith("matmul")
    assert "'left'" in caught.value.actual
    assert "'right'" in caught.value.actual
    assert "test_matmul.py" in caught.value.where
    assert caught.value.expected
    assert caught.value.hint


def test_the_op_itself_takes_matrices_of_one_type() -> None:
    with Graph():
        vector, matrix = placeholder("vector", (3,)), placeholder("matrix", (3, 2))
        doubles = placeholder("doubles", (2, 2), "float64")

        with pytest.raises(ShapeError, match="an input is no matrix"):
            apply(MatMul(), vector, matrix)
        with pytest.raises(ShapeError, match="an input is no matrix"):
            apply(MatMul(), matrix, vector)
        with pytest.raises(DTypeError, match="the inputs differ in element type"):
            apply(MatMul(), matrix, doubles)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("float32", "float64", "float64"),
        ("float16", "bfloat16", "float32"),
        ("int32", "float16", "float16"),
        ("uint8", "int32", "int32"),
        ("bool", "uint8", "uint8"),
    ],
)
def test_types_are_promoted(a: str, b: str, expected: str) -> None:
    with Graph():
        y = placeholder("a", (2, 3), a) @ placeholder("b", (3, 2), b)

    assert y.dtype.name == expected


def test_bool_is_refused() -> None:
    with Graph():
        x = placeholder("x", (2, 2), "bool")

        with pytest.raises(DTypeError, match="bool values can't be summed") as caught:
            x @ x

    assert "astype('int32')" in caught.value.hint


def test_integers_are_exact() -> None:
    large = 2**53 + 1  # float64 has no such number
    with Graph():
        y = constant([[large, 1]]) @ constant([[1], [-1]])

    assert evaluate([y], {})[0].tolist() == [[large - 1]]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_are_summed_in_float32(dtype: str) -> None:
    with Graph():  # a sum of ones stops at 2048 in float16 and at 256 in bfloat16
        ones = constant(np.ones(8192, np.float32), dtype)
        y = ones @ ones

    assert y.dtype.name == dtype
    assert evaluate([y], {})[0] == 8192


def test_a_sum_of_nothing_is_zero() -> None:
    with Graph():
        a, b = placeholder("a", (2, 0)), placeholder("b", (0, 3))
        y = a @ b
        da, db = gradients(y, [a, b])

    values = evaluate([y, da, db], {a: np.zeros((2, 0), np.float32), b: np.zeros((0, 3), np.float32)})

    np.testing.assert_array_equal(values[0], np.zeros((2, 3)))
    assert [value.shape for value in values[1:]] == [(2, 0), (0, 3)]


def test_nan_and_infinity_stay_in_their_row() -> None:
    with Graph():
        y = constant([[np.nan, 1.0], [np.inf, 1.0], [np.inf, -np.inf], [2.0, 3.0]]) @ constant([1.0, 1.0])

    np.testing.assert_array_equal(evaluate([y], {})[0], [np.nan, np.inf, np.nan, 5.0])


def test_the_gradient_of_one_matrix_under_a_stack_is_one_product() -> None:
    with Graph():
        x, w = placeholder("x", (None, 5, 3)), placeholder("w", (3, 2))
        (dw,) = gradients(x @ w, [w])

    assert isinstance(dw.op, MatMul)
    assert [given.shape for given in dw.inputs] == [(3, Dim(5)), (Dim(5), 2)]


def test_the_gradient_under_a_stack_of_batch_size_squared() -> None:
    with Graph():
        x, w = placeholder("x", (None, 2)), placeholder("w", (2, 3))
        pairs = x.reshape((None, 1, 2)) * x
        y = pairs @ w
        (dw,) = gradients(y, [w])

    values = np.array([[1.0, 2.0], [3.0, 5.0], [7.0, 11.0]], np.float32)
    assert y.shape == (N, N, 3)
    total = sum(left * right for left in values for right in values)
    np.testing.assert_array_equal(
        evaluate([dw], {x: values, w: np.zeros((2, 3), np.float32)})[0], np.outer(total, np.ones(3))
    )


def test_gradients_read_transposed_views() -> None:
    with Graph():
        x, w = placeholder("x", (None, 4)), placeholder("w", (4, 3))
        dx, dw = gradients(x @ w, [x, w])

    assert isinstance(dx.inputs[1].op, Transpose)
    assert dx.inputs[1].inputs == (w,)
    assert isinstance(dw.inputs[0].op, Transpose)
    assert dw.inputs[0].inputs == (x,)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((None, 4), (4, 3), 2 * 7 * 4 * 3),
        ((None, 2, 4), (4, 3), 2 * 7 * 2 * 4 * 3),
        ((None, 1, 2, 4), (5, 4, 3), 2 * 7 * 5 * 2 * 4 * 3),
    ],
)
def test_flops(a: Shape, b: Shape, expected: int) -> None:
    with Graph():
        left, right = placeholder("a", a), placeholder("b", b)
        y = left @ right

    assert y.op.flops(y.spec.bind(7), left.spec.bind(7), right.spec.bind(7)) == expected
