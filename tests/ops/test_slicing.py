from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import strategies

from graphnn.compiler.gradients import gradients
from graphnn.compiler.reference import evaluate
from graphnn.ops import Dim, Graph, Node, apply, concat, constant, pad, placeholder, slice
from graphnn.ops.errors import DTypeError, GraphError, ShapeError
from graphnn.ops.slicing import Pad, Slice, SliceGradient
from graphnn.ops.spans import slice_span

N = Dim(1)


def given(*shape: int | None, dtype: str = "float32") -> Node:
    with Graph():
        return placeholder("x", shape, dtype)


# Indexing.

bounds = strategies.none() | strategies.integers(-9, 9)
slices = strategies.builds(builtins.slice, bounds, bounds, bounds.filter(lambda step: step != 0))


@drawn(strategies.integers(0, 7), slices)
def test_a_slice_takes_what_python_takes(size: int, index: builtins.slice) -> None:
    start, stop, step = slice_span(size, index)
    assert isinstance(stop, int)
    assert list(range(start, stop, step)) == list(range(size)[index])


@drawn(strategies.integers(0, 7), slices, slices)
def test_slices_of_the_same_positions_are_equal(size: int, one: builtins.slice, other: builtins.slice) -> None:
    same = list(range(size)[one]) == list(range(size)[other])
    assert (slice_span(size, one) == slice_span(size, other)) == same


items = strategies.one_of(strategies.none(), strategies.just(...), strategies.integers(-2, 1), slices)


@drawn(strategies.lists(items, max_size=5).map(tuple))
def test_indexing_is_that_of_numpy(index: tuple[Any, ...]) -> None:
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    try:
        expected = array[index]
    except IndexError:  # too many indices, or two ellipses
        with pytest.raises(ShapeError, match="too many indices"):
            given(2, 3, 4)[index]
        return
    with Graph():
        x = placeholder("x", (2, 3, 4))
        y = x[index]
        (dx,) = gradients(y, [x])
    value, gradient = evaluate([y, dx], {x: array})
    np.testing.assert_array_equal(value, expected)
    taken = np.zeros_like(array)
    taken[index] = 1
    np.testing.assert_array_equal(gradient, taken)


@pytest.mark.parametrize(
    ("take", "shape"),
    [
        (lambda x: x[:, 0], (N, 4)),
        (lambda x: x[..., 0], (N, 3)),
        (lambda x: x[:, None], (N, 1, 3, 4)),
        (lambda x: x[None], (1, N, 3, 4)),
        (lambda x: x[0:, 1:], (N, 2, 4)),
        (lambda x: x[: x.shape[0], ::2], (N, 2, 4)),
        (lambda x: x[::1, np.int64(2)], (N, 4)),
        (lambda x: slice(x, [0, 1], [2**63 - 1, 2]), (N, 1, 4)),
    ],
)
def test_the_batch_axis_is_taken_whole(take: Callable[[Node], Node], shape: tuple[int | Dim, ...]) -> None:
    assert take(given(None, 3, 4)).shape == shape


@pytest.mark.parametrize(
    "take",
    [
        lambda x: x[1:],
        lambda x: x[:-1],
        lambda x: x[:3],
        lambda x: x[::2],
        lambda x: x[::-1],
        lambda x: x[: 2 * N],
        lambda x: slice(x, [0], [5]),
    ],
)
def test_the_batch_axis_cannot_be_sliced(take: Callable[[Node], Node]) -> None:
    with pytest.raises(ShapeError, match=r"batch axis of size N can't be sliced") as caught:
        take(given(None, 3))
    assert "ops.take(x, indices) picks examples" in caught.value.hint
    assert caught.value.actual == "x float32 (N, 3) ('x')"
    assert "test_slicing.py" in caught.value.where


@pytest.mark.parametrize("index", [0, -1, (0, 0)])
def test_the_batch_axis_cannot_be_indexed(index: int | tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"getitem: the batch axis of size N can't be indexed by") as caught:
        given(None, 3)[index]
    assert "ops.take(x, index) picks an example" in caught.value.hint


@pytest.mark.parametrize(
    ("index", "kind"),
    [
        (np.array([0, 1]), "ndarray"),
        (np.array(1), "ndarray"),
        ([0, 1], "list"),
        (True, "bool"),
        ((0, np.True_), "bool"),
        (1.0, "float"),
        ("a", "str"),
        (builtins.slice(0, 1.5), r"slice\(0, 1.5, None\)"),
        (builtins.slice(None, N), r"slice\(None, N, None\)"),
        (builtins.slice(True, None), r"slice\(True, None, None\)"),
        (builtins.slice(np.array([1, 2]), None), r"slice\(array"),
    ],
)
def test_other_indices_are_refused(index: Any, kind: str) -> None:
    with pytest.raises(GraphError, match=f"getitem: a node can't be indexed by {kind}") as caught:
        given(2, 3)[index]
    assert "ops.take(x, indices, axis)" in caught.value.hint
    assert "ops.where" in caught.value.hint


def test_a_node_is_no_index() -> None:
    with Graph():
        x, positions = placeholder("x", (None, 3)), placeholder("positions", (2,), "int32")
        for index in (positions, x > 0, (builtins.slice(None), positions), builtins.slice(positions, None)):
            with pytest.raises(GraphError, match="a node can't be indexed by"):
                x[index]


def test_integers_outside_and_step_0_are_refused() -> None:
    x = given(2, 3)
    with pytest.raises(ShapeError, match="getitem: the index 3 is outside of an axis of size 3"):
        x[:, 3]
    with pytest.raises(ShapeError, match="the index -3 is outside of an axis of size 2"):
        x[-3]
    with pytest.raises(ShapeError, match="a slice has step 0"):
        x[:, ::0]


def test_indices_that_take_all_add_no_node() -> None:
    x = given(None, 3, 2)
    for same in (x[:], x[...], x[:, 0:3], x[:, -3:, :], x[()], slice(x, [0, -5], [3, 9], axes=[1, -1])):
        assert same is x
    assert len(x.graph.nodes) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0], [1, 2]), "there are 1 starts, 2 stops, 1 steps and 1 axes"),
        (([0], [1], [1, 1]), "there are 1 starts, 1 stops, 2 steps and 1 axes"),
        (([0, 0], [1, 1], None, [0]), "2 starts, 2 stops, 2 steps and 1 axes"),
        (([0, 0], [1, 1], None, [1, -1]), "an axis occurs twice"),
        (([0], [1], None, [2]), "there is no axis 2"),
        (([0, 0, 0], [1, 1, 1]), "there is no axis 2"),
        (([0], [1], [0]), "a slice has step 0"),
    ],
)
def test_slice_refuses_arguments_that_do_not_fit(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ShapeError, match=f"slice: .*{message}"):
        slice(given(2, 3), *arguments)


def test_gradient_of_a_slice_is_a_pad_unless_it_has_steps() -> None:
    with Graph():
        x = placeholder("x", (None, 6))
        (of_part,) = gradients(x[:, 1:4], [x])
        (of_steps,) = gradients(x[:, ::2], [x])
        (of_one,) = gradients(x[:, 5::3], [x])
    assert of_part.op == Pad(((0, 0), (1, 2)))
    assert of_steps.op == SliceGradient(Slice((0, 0), (N, 5), (1, 2)), (N, 6))
    assert of_one.op == Pad(((0, 0), (5, 0)))


def test_hand_made_slices_are_checked() -> None:
    with pytest.raises(ShapeError, match=r"slice 'slice': the slice 0:4:1 is outside of an axis of size 3"):
        apply(Slice((0,), (4,), (1,)), given(3))
    with pytest.raises(ShapeError, match="1 axes are sliced"):
        apply(Slice((0,), (2,), (1,)), given(3, 3))
    with pytest.raises(ShapeError, match="the batch axis of size N can't be sliced"):
        apply(Slice((0,), (2,), (1,)), given(None))
    with pytest.raises(ShapeError, match=r"the input does not fit the slice\n  expected: \(2,\)"):
        apply(SliceGradient(Slice((0,), (3,), (2,)), (4,)), given(3))


def test_slices_are_views() -> None:
    assert Slice((0,), (1,), (1,)).is_view


# Pad.


def test_gradient_of_a_pad_is_a_slice() -> None:
    with Graph():
        x = placeholder("x", (None, 4))
        (dx,) = gradients(pad(x, ((0, 0), (1, 2)), value=5.0), [x])
    assert dx.op == Slice((0, 1), (N, 5), (1, 1))


def test_a_pad_of_no_width_adds_no_node() -> None:
    x = given(None, 3)
    assert pad(x, 0) is x
    assert pad(x, ((0, 0), (0, 0))) is x
    scalar = given()
    assert pad(scalar, 2) is scalar


@pytest.mark.parametrize(
    ("padding", "message"),
    [
        (((1, 1),), "does not fit 2 axes"),
        (((1, 1), (1, 1), (1, 1)), "does not fit 2 axes"),
        ((1, 1, 1), "does not fit 2 axes"),
        (((1, 1), (1,)), "does not fit 2 axes"),
        (((1, 1), 1), "does not fit 2 axes"),
        (1.5, "does not fit 2 axes"),
        (((0, 0), (-1, 0)), "negative width"),
        (-1, "negative width"),
    ],
)
def test_padding_that_does_not_fit_is_refused(padding: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=f"pad.*{message}"):
        pad(given(2, 3), padding)


@pytest.mark.parametrize("padding", [1, (0, 1), ((1, 0), (0, 0))])
def test_the_batch_axis_cannot_be_padded(padding: Any) -> None:
    with pytest.raises(ShapeError, match=r"the batch axis of size N can't be padded") as caught:
        pad(given(None, 3), padding)
    assert "a pair (before, after) for each axis" in caught.value.hint


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("uint8", -1),
        ("uint8", 256),
        ("int32", 0.5),
        ("int64", np.inf),
        ("int32", np.nan),
        ("bool", 2),
        ("int32", 2**31),
    ],
)
def test_a_border_that_the_type_does_not_have_is_refused(dtype: str, value: float) -> None:
    with pytest.raises(DTypeError, match=f"{value} is no value of {dtype}"):
        pad(given(2, dtype=dtype), 1, value)


def test_large_integers_keep_their_value_in_a_border() -> None:
    with Graph():
        y = pad(constant(np.array([1], np.int64)), 1, 2**62 + 1)
    np.testing.assert_array_equal(evaluate([y], {})[0], [2**62 + 1, 1, 2**62 + 1])


def test_a_border_of_nan() -> None:
    with Graph():
        y = pad(constant([1.0]), 1, np.nan)
    np.testing.assert_array_equal(evaluate([y], {})[0], [np.nan, 1, np.nan])


# Concat.


def test_batches_add_up() -> None:
    with Graph():
        x, y = placeholder("x", (None, 4)), placeholder("y", (2 * N, 4))
        assert concat([x, y, x]).shape == (4 * N, 4)
        assert concat([x, constant(np.zeros((0, 4), np.float32))]).shape == (N, 4)


def test_a_batch_does_not_join_with_a_number_of_rows() -> None:
    with Graph():
        x, y = placeholder("x", (None, 4)), placeholder("y", (3, 4))
        for parts in ([x, y], [y, x]):
            with pytest.raises(ShapeError, match=r"concat 'concat.*is not representable") as caught:
                concat(parts)
            assert "concatenate along another axis" in caught.value.hint


def test_gradients_of_joined_batches_are_their_parts() -> None:
    with Graph():
        x, y = placeholder("x", (None, 2)), placeholder("y", (2 * N, 2))
        weight = placeholder("weight", (3 * N, 2))
        dx, dy = gradients(concat([x, y]), [x, y], grad_ys=weight)
    values = np.arange(12, dtype=np.float32).reshape(6, 2)
    feeds = {x: np.zeros((2, 2), np.float32), y: np.zeros((4, 2), np.float32), weight: values}
    for actual, expected in zip(evaluate([dx, dy], feeds), (values[:2], values[2:]), strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_inputs_that_do_not_fit_together_are_refused() -> None:
    with Graph():
        x = placeholder("x", (2, 3))
        for other in (
            placeholder("y", (2, 4)),
            placeholder("z", (3,)),
            placeholder("s", ()),
            placeholder("b", (2, 3, 1)),
        ):
            with pytest.raises(
                ShapeError, match=r"do not fit together\n  expected: equal sizes on every axis but axis 0"
            ):
                concat([x, other])
        with pytest.raises(ShapeError, match="do not fit together"):
            concat([x[0], x[0, 0]])
        with pytest.raises(ShapeError, match="concat: there is no axis 2"):
            concat([x, x], axis=2)
        with pytest.raises(ShapeError, match="concat: there is no axis 0"):
            concat([placeholder("t", ()), placeholder("u", ())])
        with pytest.raises(GraphError, match="concat has no node among its inputs"):
            concat([])
        with pytest.raises(TypeError, match="iteration"):
            concat(x)


def test_one_input_is_its_own_concatenation() -> None:
    x = given(None, 3)
    assert concat([x], axis=1) is x


def test_element_types_are_promoted() -> None:
    with Graph():
        x, y = placeholder("x", (2,), "int32"), placeholder("y", (2,), "float16")
        assert str(concat([x, y]).dtype) == "float16"
