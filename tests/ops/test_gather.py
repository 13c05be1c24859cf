from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from error_form import refused
from graphnn.compiler.gradients import gradients
from graphnn.compiler.reference import evaluate
from graphnn.ops import Dim, Graph, Node, apply, gather, placeholder, scatter_add
from graphnn.ops.errors import DTypeError, ShapeError
from graphnn.ops.gather import Gather, ScatterAdd
from graphnn.ops.spec import TensorSpec

N = Dim(1)


def given(*shape: int | None, dtype: str = "float32") -> Node:
    with Graph():
        return placeholder("x", shape, dtype)


def indices_for(x: Node, *shape: int | None, dtype: str = "int64") -> Node:
    with x.graph:
        return placeholder("index", shape, dtype)


@pytest.mark.parametrize(
    ("shape", "index", "axis"),
    [
        ((None, 5), (None, 9), 1),
        ((None, 5), (2, 5), 0),
        ((4, 5), (None, 5), 0),
        ((None, 5, 3), (None, 1, 2), 1),
        ((4,), (None,), -1),
    ],
)
def test_the_result_has_the_shape_of_the_indices(shape: Any, index: Any, axis: int) -> None:
    x = given(*shape)
    places = indices_for(x, *index)
    assert gather(x, axis, places).spec == places.spec.with_dtype("float32")
    with x.graph:
        src = placeholder("src", index)
    assert scatter_add(x, axis, places, src).spec == x.spec


@pytest.mark.parametrize(
    ("index", "axis"),
    [((None,), 1), ((None, 1, 1), 1), ((None, 6), 0), ((2, 2), 1), ((None, 5, 1), 0)],
)
def test_indices_that_do_not_fit(index: Any, axis: int) -> None:
    x = given(None, 5)
    places = indices_for(x, *index)
    with refused(ShapeError, "do not fit x (N, 5)", at="gather(x, axis, places)", hint="ops.take"):
        gather(x, axis, places)
    with x.graph:
        src = placeholder("src", index)
    with refused(ShapeError, "do not fit x (N, 5)", at="scatter_add(x, axis, places, src)"):
        scatter_add(x, axis, places, src)


@pytest.mark.parametrize("dtype", ["bool", "float32"])
def test_indices_are_integers(dtype: str) -> None:
    x = given(None, 5)
    places = indices_for(x, None, 5, dtype=dtype)
    with pytest.raises(DTypeError, match=r"gather.*: the indices are no integers"):
        gather(x, 1, places)
    with pytest.raises(DTypeError, match=r"scatter_add.*: the indices are no integers"):
        scatter_add(x, 1, places, x)


def test_indices_known_beforehand_are_checked_at_once() -> None:
    x = given(2, 3)
    for index in (3, -4):
        with pytest.raises(ShapeError, match=rf"gather: the index {index} is outside of an axis of size 3"):
            gather(x, 1, [[index], [0]])
        with pytest.raises(ShapeError, match=rf"scatter_add: the index {index} is outside of an axis of size 3"):
            scatter_add(x, 1, [[index], [0]], [[1.0], [1.0]])


def test_axes_that_do_not_exist() -> None:
    with pytest.raises(ShapeError, match="gather: there is no axis 2"):
        gather(given(2, 3), 2, [[0]])
    with pytest.raises(ShapeError, match="scatter_add: there is no axis 0"):
        scatter_add(given(), 0, 0, 1.0)


def test_src_has_an_element_for_each_index() -> None:
    x = given(None, 5)
    places = indices_for(x, None, 2)
    with refused(ShapeError, "src does not have an element", at="scatter_add(x, 1, places, x)", expected="src (N, 2)"):
        scatter_add(x, 1, places, x)


def test_bool_is_not_added_up() -> None:
    x = given(2, 3, dtype="bool")
    with refused(DTypeError, "bool values can't be added up", at="scatter_add(x, 1, [[0]", hint="astype"):
        scatter_add(x, 1, [[0], [1]], np.array([[True], [False]]))


def test_hand_made_ops_want_one_type() -> None:
    x = given(2, 3)
    places = indices_for(x, 2, 3)
    with pytest.raises(DTypeError, match="differ in element type"):
        apply(ScatterAdd(1), x, places, x.astype("float64"))


def test_indices_outside_raise_when_they_are_used() -> None:
    x = given(2, 3)
    places = indices_for(x, 2, 1)
    feeds = {x: np.zeros((2, 3), np.float32), places: np.array([[0], [3]])}
    for node in (gather(x, 1, places), scatter_add(x, 1, places, x[:, :1])):
        with pytest.raises(IndexError):
            evaluate([node], feeds)


def test_legal_indices_are_stated() -> None:
    x, batch = TensorSpec((4, 7), "float32"), TensorSpec((None, 7), "float32")
    index = TensorSpec((4, 2), "int32")
    assert Gather(1).index_bounds(x, index) == {1: (-7, 7)}
    assert Gather(0).index_bounds(batch, index) == {1: (-1 * N, N)}
    assert ScatterAdd(1).index_bounds(x, index, TensorSpec((4, 2), "float32")) == {1: (-7, 7)}


def test_gradients_are_made_of_the_other_op() -> None:
    x = given(None, 5)
    places = indices_for(x, None, 2)
    (dx,) = gradients(gather(x, 1, places), [x])
    assert dx.op == ScatterAdd(1)
    with x.graph:
        src = placeholder("src", (None, 2))
        _, dsrc = gradients(scatter_add(x, 1, places, src), [x, src])
    assert dsrc.op == Gather(1)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_short_floats_are_added_in_float32(dtype: str) -> None:
    # Added one by one in the short type, the sum stops growing at 2048 or 256.
    x = given(1, dtype=dtype)
    (dx,) = gradients(gather(x, 0, np.zeros(4096, np.int32)), [x])
    assert str(dx.dtype) == dtype
    assert evaluate([dx], {x: np.zeros(1, dx.dtype.interface)})[0] == 4096


def test_scatter_add_leaves_its_input_alone() -> None:
    x = given(3)
    values = np.ones(3, np.float32)
    (actual,) = evaluate([scatter_add(x, 0, [0, 0], [1.0, 2.0])], {x: values})
    assert actual.tolist() == [4, 1, 1]
    assert values.tolist() == [1, 1, 1]


def test_flops_are_the_additions() -> None:
    x, index = TensorSpec((4, 7), "float32"), TensorSpec((4, 2), "int32")
    assert Gather(1).flops(x, x, index) == 0
    assert ScatterAdd(1).flops(x, x, index, TensorSpec((4, 2), "float32")) == 8
