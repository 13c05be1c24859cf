from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from error_form import refused
from graphnn.compiler.gradients import gradients
from graphnn.compiler.reference import evaluate
from graphnn.ops import Dim, Graph, Node, argsort, placeholder, sort, topk
from graphnn.ops.errors import ShapeError
from graphnn.ops.sort import Argsort, TopkIndices
from graphnn.ops.spec import TensorSpec
from op_checks import compute

N = Dim(1)


def given(*shape: int | None, dtype: str = "float32") -> Node:
    with Graph():
        return placeholder("x", shape, dtype)


def test_shapes_and_types() -> None:
    x = given(None, 5, dtype="float16")
    assert sort(x).spec == x.spec
    assert argsort(x, 0).spec == x.spec.with_dtype("int64")
    values, indices = topk(x, 2)
    assert values.spec == TensorSpec((None, 2), "float16")
    assert indices.spec == TensorSpec((None, 2), "int64")


@pytest.mark.parametrize("order", [sort, argsort])
def test_axes_that_do_not_exist(order: Any) -> None:
    with pytest.raises(ShapeError, match=rf"{order.__name__}: there is no axis 2"):
        order(given(None, 3), axis=2)
    with pytest.raises(ShapeError, match=rf"{order.__name__}: there is no axis -1"):
        order(given())


@pytest.mark.parametrize("k", [0, 4, -1, 1.0, True])
def test_k_is_within_the_axis(k: Any) -> None:
    x = given(None, 3)
    with refused(ShapeError, f"k is {k}", at="topk(x, k)", expected="an integer from 1 to 3, the size of axis 1"):
        topk(x, k)


def test_topk_needs_an_axis_of_fixed_size() -> None:
    x = given(None, 3)
    with refused(ShapeError, "axis 0 is the batch", at="topk(x, 1, axis=0)", hint="ops.sort"):
        topk(x, 1, axis=0)


@pytest.mark.parametrize("descending", [False, True])
def test_nan_is_above_infinity(descending: bool) -> None:
    x = np.array([np.nan, 1.0, np.inf, -np.inf, np.nan])
    ascending = [3, 1, 2, 0, 4]
    expected = [0, 4, 2, 1, 3] if descending else ascending
    assert compute(lambda node: argsort(node, descending=descending), x).tolist() == expected


def test_topk_agrees_with_max_where_there_is_nan() -> None:
    x = np.array([[1.0, np.nan, 2.0], [3.0, 1.0, 3.0]], np.float32)
    values = compute(lambda node: topk(node, 1)[0][:, 0], x)
    np.testing.assert_array_equal(values, compute(lambda node: node.max(1), x))
    indices = compute(lambda node: topk(node, 1)[1][:, 0], x)
    np.testing.assert_array_equal(indices, compute(lambda node: node.argmax(1), x))


@pytest.mark.parametrize("dtype", ["uint8", "int64"])
def test_descending_order_of_the_ends_of_a_type(dtype: str) -> None:
    limits = np.iinfo(dtype)
    x = np.array([limits.min, limits.max, 0, limits.min], dtype)
    actual = compute(lambda node: sort(node, descending=True), x)
    assert actual.tolist() == sorted(x.tolist(), reverse=True)


def test_zeros_of_both_signs_are_equal() -> None:
    x = np.array([0.0, -0.0, 0.0])
    assert compute(argsort, x).tolist() == [0, 1, 2]
    assert compute(lambda node: argsort(node, descending=True), x).tolist() == [0, 1, 2]


def test_the_gradient_goes_back_to_where_values_stood() -> None:
    x = given(4)
    values, _ = topk(x, 2)
    (dx,) = gradients(values, [x])
    assert evaluate([dx], {x: np.array([1, 5, 3, 5], np.float32)})[0].tolist() == [0, 1, 0, 1]


def test_positions_have_no_gradient() -> None:
    x = given(None, 3)
    for node in (argsort(x), topk(x, 2)[1]):
        assert node.op.gradient(node, node) == (None,)


def test_flops_grow_a_little_faster_than_the_axis() -> None:
    x = TensorSpec((3, 8), "float32")
    assert Argsort(1, descending=False).flops(x, x) == 3 * 8 * 4
    assert TopkIndices(1, 2, largest=True).flops(x, x) == 3 * 8 * 4
