from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphnn.compiler.gradients import gradients
from graphnn.compiler.reference import evaluate
from graphnn.ops import Dim, Graph, Node, apply, constant, one_hot, placeholder, take
from graphnn.ops.errors import DTypeError, ShapeError
from graphnn.ops.index import OneHot, Take, TakeGradient
from graphnn.ops.spec import TensorSpec

N = Dim(1)


def given(*shape: int | None, dtype: str = "float32") -> Node:
    with Graph():
        return placeholder("x", shape, dtype)


@pytest.mark.parametrize(
    ("shape", "indices", "axis", "expected"),
    [
        ((1000, 64), (None, 20), 0, (N, 20, 64)),
        ((None, 5), (3,), 1, (N, 3)),
        ((None, 5), (3,), 0, (3, 5)),
        ((None, 5), (None,), 0, (N, 5)),
        ((2, 3, 4), (5, 6), -2, (2, 5, 6, 4)),
        ((None, 3), (), -1, (N,)),
        ((4,), (None,), 0, (N,)),
    ],
)
def test_the_shape_of_the_indices_stands_in_place_of_the_axis(
    shape: tuple[int | None, ...], indices: tuple[int | None, ...], axis: int, expected: tuple[int | Dim, ...]
) -> None:
    with Graph():
        x, positions = placeholder("x", shape), placeholder("indices", indices, "int32")
        assert take(x, positions, axis).shape == expected


@pytest.mark.parametrize("dtype", ["bool", "float32"])
def test_indices_must_be_integers(dtype: str) -> None:
    with Graph():
        x, indices = placeholder("x", (3,)), placeholder("indices", (None,), dtype)
        builds: list[Callable[[], Node]] = [
            lambda: take(x, indices),
            lambda: take(x, np.zeros(1, dtype)),
            lambda: one_hot(indices, 3),
        ]
        for build in builds:
            with pytest.raises(DTypeError, match=r"the indices are no integers\n  expected: uint8, int32 or int64"):
                build()
        with pytest.raises(DTypeError, match="the indices are no integers"):
            apply(TakeGradient(0, (3,)), x, indices)


def test_take_refuses_axes_that_do_not_exist() -> None:
    with pytest.raises(ShapeError, match="take: there is no axis 2"):
        take(given(None, 3), 0, axis=2)
    with pytest.raises(ShapeError, match="take: there is no axis 0"):
        take(given(), 0)


@pytest.mark.parametrize("indices", [3, -4, [0, 3], np.array([[1, 2], [0, -4]], np.int32), np.array([200], np.uint8)])
def test_indices_known_beforehand_are_checked_at_once(indices: Any) -> None:
    with pytest.raises(ShapeError, match=r"take: the index (3|-4|200) is outside of an axis of size 3") as caught:
        take(given(None, 3), indices, axis=1)
    assert "test_index.py" in caught.value.where
    assert "x float32 (N, 3) ('x')" in caught.value.actual


def test_indices_known_beforehand_may_reach_all_of_the_axis() -> None:
    with Graph():
        x = placeholder("x", (None, 3))
        nodes = [
            take(x, index, axis=1) for index in (0, 2, -3, [2, -3], np.array([0, 2], np.uint8), np.zeros(0, np.int32))
        ]
    assert [node.shape for node in nodes] == [(N,), (N,), (N,), (N, 2), (N, 2), (N, 0)]


def test_indices_outside_raise_when_they_are_used() -> None:
    with Graph():
        x, indices = placeholder("x", (None, 3)), placeholder("indices", (2,), "int32")
        y = take(x, indices)
    feeds = {x: np.zeros((2, 3), np.float32), indices: np.array([1, 2], np.int32)}
    with pytest.raises(IndexError):
        evaluate([y], feeds)


def test_legal_indices_are_stated_per_input() -> None:
    static, batch = TensorSpec((5, 7), "float32"), TensorSpec((None, 7), "float32")
    indices = TensorSpec((None,), "int32")
    assert Take(1).index_bounds(static, indices) == {1: (-7, 7)}
    assert Take(0).index_bounds(batch, indices) == {1: (-1 * N, N)}
    low, high = Take(0).index_bounds(batch, indices)[1]
    assert isinstance(low, Dim)
    assert isinstance(high, Dim)
    assert (low.bind(4), high.bind(4)) == (-4, 4)
    assert TakeGradient(0, (5, 7)).index_bounds(TensorSpec((None, 7), "float32"), indices) == {1: (-5, 5)}
    assert OneHot(3, static.dtype).index_bounds(indices) == {}


def test_gradient_of_take_adds_where_rows_repeat() -> None:
    with Graph():
        table, words = placeholder("table", (4, 2)), placeholder("words", (None,), "int64")
        (dtable,) = gradients(take(table, words), [table])
    feeds = {table: np.zeros((4, 2), np.float32), words: np.array([1, 3, 1, -3])}
    np.testing.assert_array_equal(evaluate([dtable], feeds)[0], [[0, 0], [3, 3], [0, 0], [1, 1]])
    assert dtable.op == TakeGradient(0, (4, 2))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_short_floats_are_added_in_float32(dtype: str) -> None:
    # Added one by one in the short type, the sum stops growing at 2048 or 256.
    with Graph():
        table = placeholder("table", (1,), dtype)
        (dtable,) = gradients(take(table, np.zeros(4096, np.int32)), [table])
    assert str(dtable.dtype) == dtype
    assert evaluate([dtable], {table: np.zeros(1, dtable.dtype.interface)})[0] == 4096


def test_a_gradient_that_does_not_fit_the_indices_is_refused() -> None:
    with Graph():
        dy, indices = placeholder("dy", (3, 2)), placeholder("indices", (4,), "int32")
        with pytest.raises(ShapeError, match=r"does not fit the indices\n  expected: \(4, 2\)"):
            apply(TakeGradient(0, (5, 2)), dy, indices)


def test_flops_of_the_gradient_are_its_additions() -> None:
    dy, indices = TensorSpec((3, 2), "float32"), TensorSpec((3,), "int32")
    assert TakeGradient(0, (5, 2)).flops(TensorSpec((5, 2), "float32"), dy, indices) == 6


def test_one_hot_of_indices_outside_is_zero() -> None:
    with Graph():
        y = one_hot(constant(np.array([-1, 0, 2, 3, 2**40])), 3)
    np.testing.assert_array_equal(evaluate([y], {})[0], [[0, 0, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]])


def test_one_hot_takes_any_element_type_and_depth() -> None:
    labels = given(None, 2, dtype="uint8")
    assert one_hot(labels, 4, "bool").spec == TensorSpec((None, 2, 4), "bool")
    assert one_hot(labels, 0).shape == (N, 2, 0)
    with pytest.raises(ShapeError, match=r"one_hot 'one_hot.*axis 2 of a shape is -1"):
        one_hot(labels, -1)
    with pytest.raises(DTypeError, match="one_hot: there is no element type 'complex64'"):
        one_hot(labels, 3, "complex64")


def test_one_hot_has_no_gradient() -> None:
    node = one_hot(given(None, dtype="int32"), 3)
    assert node.op.gradient(node, node) == (None,)
