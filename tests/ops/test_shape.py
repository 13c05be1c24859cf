from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from graphnn.compiler.gradients import gradients
from graphnn.compiler.reference import evaluate
from graphnn.ops import (
    Dim,
    Graph,
    Node,
    apply,
    broadcast_to,
    expand_dims,
    flatten,
    placeholder,
    reshape,
    squeeze,
    transpose,
)
from graphnn.ops.errors import ShapeError
from graphnn.ops.shape import BroadcastTo, Reshape, Transpose, normalize_axes, normalize_axis
from graphnn.ops.spec import Extent

N = Dim(1)


def given(*shape: Extent | None, dtype: str = "float32") -> Node:
    with Graph():
        return placeholder("x", shape, dtype)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ((None, 1, 28, 28), (-1, 784), (N, 784)),
        ((None, 1, 28, 28), (None, -1), (N, 784)),
        ((None, 1, 28, 28), (N, 784), (N, 784)),
        ((None, 1, 28, 28), -1, (784 * N,)),
        ((None, 1, 28, 28), 784 * N, (784 * N,)),
        ((None, 6), (-1, 3), (2 * N, 3)),
        ((6 * N,), (None, -1), (N, 6)),
        ((6 * N,), (2, -1), (2, 3 * N)),
        ((2 * N, 3), (3 * N, -1), (3 * N, 2)),
        ((2, 3, 4), (-1,), (24,)),
        ((), (-1, 1), (1, 1)),
        ((0, 3), (-1, 5), (0, 5)),
        ((None, 0), (None, -1), (N, 0)),
        ((None, 0), (7, 0), (7, 0)),
        ((None, 3), [np.int64(-1), np.int32(1), 3], (N, 1, 3)),
    ],
)
def test_reshape_resolves_the_shape(
    old: tuple[Extent | None, ...], new: Extent | tuple[Extent | None, ...], expected: tuple[Extent, ...]
) -> None:
    assert reshape(given(*old), new).shape == expected


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((2, 3), (4,)),
        ((2, 3), (4, -1)),
        ((None, 3), (3,)),
        ((None, 3), (None, 2)),
        ((None, 3), (2, -1)),
        ((6,), (None, -1)),
        ((None, 2), (N, N, -1)),
        ((2, 3), (-1, -1)),
        ((0, 3), (-1, 0)),
    ],
)
def test_reshape_refuses_another_number_of_elements(old: tuple[int | None, ...], new: tuple[int | None, ...]) -> None:
    with pytest.raises(ShapeError, match=r"^reshape.* can't be reshaped to .*\n.*same number of elements"):
        reshape(given(*old), new)


def test_reshape_error_names_input_shapes_and_line() -> None:
    x = given(None, 3)
    with pytest.raises(ShapeError) as caught:
        reshape(x, (-1, 2))
    assert str(caught.value).splitlines()[0] == "reshape: (N, 3) can't be reshaped to (-1, 2)"
    assert "x float32 (N, 3) ('x')" in str(caught.value)
    assert "reshape(x, (-1, 2))" in str(caught.value)
    assert "-1 stands for one size" in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, None), "axis 1 of a shape is None"),
        ((-2, 3), "axis 0 of a shape is -2"),
        ((1.5, 2), "axis 0 of a shape is 1.5"),
    ],
)
def test_reshape_refuses_what_is_no_size(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        reshape(given(2, 3), shape)


def test_squares_of_the_batch_size_can_be_reshaped_as_long_as_both_axes_stay() -> None:
    with Graph():
        x = placeholder("x", (None, 2))
        pairs = x.reshape((None, 1, 2)) * x
        similarity = pairs.sum(-1)
        assert expand_dims(similarity, 1).shape == (N, 1, N)
        with pytest.raises(ShapeError, match="can't be reshaped"):
            similarity.reshape((-1,))
    value = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
    np.testing.assert_array_equal(evaluate([expand_dims(similarity, 1)], {x: value})[0][:, 0], value @ value.T)


@pytest.mark.parametrize(
    "unchanged",
    [
        lambda x: reshape(x, (None, 1, 3)),
        lambda x: reshape(x, (-1, 1, 3)),
        lambda x: x.reshape(None, 1, 3),
        lambda x: transpose(x, (0, 1, -1)),
        lambda x: broadcast_to(x, (None, 1, 3)),
        lambda x: flatten(x, 1, 1),
        lambda x: squeeze(x, ()),
        lambda x: squeeze(x, -1) if x.shape[-1] == 1 else x,
        lambda x: expand_dims(x, ()),
    ],
)
def test_what_changes_nothing_adds_no_node(unchanged: Callable[[Node], Node]) -> None:
    x = given(None, 1, 3)
    assert unchanged(x) is x
    assert len(x.graph.nodes) == 1


def test_a_scalar_or_vector_is_its_own_transpose() -> None:
    vector, scalar = given(4), given()
    assert vector.T is vector
    assert scalar.T is scalar


@pytest.mark.parametrize("op", [Reshape((3,)), Transpose((0,)), BroadcastTo((3,))])
def test_the_results_can_be_views(op: Reshape | Transpose | BroadcastTo) -> None:
    assert op.is_view


@pytest.mark.parametrize("axes", [(0, 1), (0, 1, 1), (0, 1, 2, 2), (0, 1, -3)])
def test_transpose_refuses_what_is_no_order_of_the_axes(axes: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="no order of the input's axes"):
        transpose(given(None, 2, 3), axes)


def test_transpose_refuses_an_axis_that_does_not_exist() -> None:
    with pytest.raises(ShapeError, match=r"transpose: there is no axis 3\n  expected: an axis from -3 to 2"):
        transpose(given(None, 2, 3), (0, 1, 3))


def test_gradient_of_a_transpose_is_the_way_back() -> None:
    with Graph():
        x = placeholder("x", (2, 3, 4))
        (dx,) = gradients(transpose(x, (2, 0, 1)), [x])
    assert dx.op == Transpose((1, 2, 0))


@pytest.mark.parametrize(
    ("old", "new"),
    [((2, 3), (2, 4)), ((2, 3), (3,)), ((3, 1), (1, 3)), ((None, 3), (5, 3)), ((3,), (None, 4)), ((2, 3), ())],
)
def test_broadcast_to_refuses_a_shape_that_does_not_follow(
    old: tuple[int | None, ...], new: tuple[int | None, ...]
) -> None:
    with pytest.raises(ShapeError, match="broadcast"):
        broadcast_to(given(*old), new)


def test_a_size_of_1_broadcasts_to_the_batch_but_the_batch_not_to_1() -> None:
    assert broadcast_to(given(1, 3), (None, 3)).shape == (N, 3)
    assert broadcast_to(given(3), (None, 2, 3)).shape == (N, 2, 3)
    with pytest.raises(ShapeError, match=r"\(N, 3\) does not broadcast to \(1, 3\)"):
        broadcast_to(given(None, 3), (1, 3))


def test_flatten_joins_axes() -> None:
    x = given(None, 2, 3, 4)
    assert flatten(x).shape == (24 * N,)
    assert flatten(x, start_axis=1).shape == (N, 24)
    assert x.flatten(1, -2).shape == (N, 6, 4)
    assert flatten(given()).shape == (1,)


def test_flatten_refuses_axes_in_the_wrong_order_or_outside() -> None:
    with pytest.raises(ShapeError, match="flatten: start_axis 2 comes after end_axis 1"):
        flatten(given(2, 3, 4), 2, 1)
    with pytest.raises(ShapeError, match="flatten: there is no axis 3"):
        flatten(given(2, 3, 4), 3)
    with pytest.raises(ShapeError, match=r"flatten: .*batch size squared"):
        flatten(broadcast_to(given(None, 1), (N, N)))


def test_expand_dims_refuses_doubles_and_axes_outside() -> None:
    with pytest.raises(ShapeError, match=r"expand_dims: an axis occurs twice in \(0, -4\)"):
        expand_dims(given(2, 3), (0, -4))
    with pytest.raises(ShapeError, match="expand_dims: there is no axis 3"):
        expand_dims(given(2, 3), 3)


def test_squeeze_keeps_the_batch_even_where_it_is_one_example() -> None:
    with Graph():
        x = placeholder("x", (None, 1))
        y = squeeze(x)
    assert y.shape == (N,)
    assert evaluate([y], {x: np.ones((1, 1), np.float32)})[0].shape == (1,)


@pytest.mark.parametrize("axes", [0, 2, (1, 2)])
def test_squeeze_refuses_axes_of_another_size(axes: int | tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"squeeze: axes .* can't be dropped\n  expected: size 1 on each"):
        squeeze(given(None, 1, 3), axes)


def test_hand_made_ops_are_checked() -> None:
    with pytest.raises(ShapeError, match=r"reshape 'reshape': .* can't be reshaped"):
        apply(Reshape((5,)), given(2, 3))
    with pytest.raises(ShapeError, match=r"transpose 'transpose': .* no order"):
        apply(Transpose((0, 0)), given(2, 3))


def test_axes_are_put_in_order_and_counted_from_the_first() -> None:
    assert normalize_axes((2, -3), 3) == (0, 2)
    assert normalize_axes(np.array([2, 0]), 3) == (0, 2)
    assert normalize_axes((), 3) == ()
    assert normalize_axes(None, 0) == ()
    assert normalize_axis(-1, 3) == 2


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (3, "there is no axis 3\n  expected: an axis from -3 to 2"),
        (-4, "there is no axis -4"),
        ((0, -3), r"an axis occurs twice in \(0, -3\)"),
        (1.0, "an axis is 1.0\n  expected: an integer"),
    ],
)
def test_what_is_no_axis_is_refused(axes: int | tuple[int, ...], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        normalize_axes(axes, 3)


def test_a_scalar_has_no_axis() -> None:
    with pytest.raises(ShapeError, match="expected: no axis, since the value is a scalar"):
        normalize_axis(0, 0)
