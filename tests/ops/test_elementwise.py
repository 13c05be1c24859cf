"""Elementwise ops beyond their samples: errors, element types, gradients at kinks and poles."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphnn.compiler.gradients import gradients
from graphnn.compiler.reference import evaluate
from graphnn.ops import Graph, Node, dtypes, elementwise, placeholder
from graphnn.ops.broadcasting import Cast, broadcast_shapes, cast
from graphnn.ops.comparison import less, where
from graphnn.ops.elementwise import Add, Clip, Exp, clip, divide, exp, maximum, minimum, relu, sqrt
from graphnn.ops.errors import DTypeError, GraphError, ShapeError
from graphnn.ops.spec import Dim, TensorSpec
from graphnn.ops.state import constant
from op_checks import compute, compute_with_gradients

# Shapes.


def test_the_batch_broadcasts_only_with_itself_and_one() -> None:
    assert broadcast_shapes((Dim(1), 3), (1, 3)) == (Dim(1), 3)
    assert broadcast_shapes((Dim(1), 3), (Dim(1), 1)) == (Dim(1), 3)
    for other in (4, Dim(2)):
        with pytest.raises(ShapeError, match=f"axis -2 has sizes N and {other}"):
            broadcast_shapes((Dim(1), 3), (other, 3))


def test_size_zero_broadcasts_with_one_but_not_with_two() -> None:
    assert broadcast_shapes((0, 3), (1, 3)) == (0, 3)
    with pytest.raises(ShapeError, match="axis -2 has sizes 0 and 2"):
        broadcast_shapes((0, 3), (2, 3))


def test_error_names_op_inputs_and_line() -> None:
    with Graph():
        a, b = placeholder("a", (None, 3)), placeholder("b", (4,))
        with pytest.raises(ShapeError) as caught:
            a + b
    text = str(caught.value)
    assert "add 'add': the shapes do not broadcast: axis -1 has sizes 3 and 4" in text
    assert "a float32 (N, 3) ('a'), b float32 (4,) ('b')" in text
    assert "test_elementwise.py" in text
    assert "a + b" in text
    assert "try:" in text


# Element types.


@pytest.mark.parametrize("a", dtypes.ALL, ids=str)
@pytest.mark.parametrize("b", dtypes.ALL, ids=str)
def test_promotion_is_that_of_torch(a: dtypes.DType, b: dtypes.DType) -> None:
    torch = pytest.importorskip("torch")
    with Graph():
        total = placeholder("a", (2,), a) + placeholder("b", (2,), b)
    expected = torch.result_type(
        torch.ones(2, dtype=getattr(torch, a.name)), torch.ones(2, dtype=getattr(torch, b.name))
    )
    assert f"torch.{total.dtype}" == str(expected)


@pytest.mark.parametrize(
    "number", [True, 3, 0.5, np.bool_(True), np.int64(3), np.float64(0.5), np.float32(0.5)], ids=repr
)
@pytest.mark.parametrize("dtype", dtypes.ALL, ids=str)
def test_numbers_are_as_weak_as_in_torch(dtype: dtypes.DType, number: Any) -> None:
    torch = pytest.importorskip("torch")
    with Graph():
        x = placeholder("x", (2,), dtype)
        right, left = x * number, number * x
    plain = number.item() if isinstance(number, np.generic) else number
    expected = torch.result_type(torch.ones(2, dtype=getattr(torch, dtype.name)), plain)
    assert f"torch.{right.dtype}" == f"torch.{left.dtype}" == str(expected)


def test_arrays_and_lists_are_not_weak() -> None:
    with Graph():
        x = placeholder("x", (2,), "float16")
        assert (x + np.ones(2)).dtype is dtypes.float64
        assert maximum(x, [1.0, 2.0]).dtype is dtypes.float32
        assert maximum(placeholder("i", (2,), "int32"), [1, 2]).dtype is dtypes.int64


@pytest.mark.parametrize("dtype", [dtypes.bool, dtypes.uint8, dtypes.int32, dtypes.int64], ids=str)
def test_division_and_functions_of_real_numbers_turn_integers_into_float32(dtype: dtypes.DType) -> None:
    with Graph():
        x = placeholder("x", (2,), dtype)
        for y in (x / x, x / 2, exp(x), sqrt(x), elementwise.tanh(x), elementwise.log(x), elementwise.sigmoid(x)):
            assert y.dtype is dtypes.float32


@pytest.mark.parametrize(
    "build",
    [
        lambda x: x - x,
        lambda x: x**x,
        lambda x: -x,
        abs,
        relu,
        elementwise.sign,
        lambda x: clip(x, 0, 1),
    ],
)
def test_bool_is_refused_where_it_has_no_meaning(build: Callable[[Node], Node]) -> None:
    with Graph():
        x = placeholder("x", (2,), "bool")
        with pytest.raises(DTypeError, match="has no meaning for bool"):
            build(x)


def test_an_op_itself_takes_one_element_type() -> None:
    with Graph() as graph:
        a, b = placeholder("a", (2,)), placeholder("b", (2,), "int32")
        with pytest.raises(DTypeError, match="the inputs differ in element type"):
            graph.add(Add(), (a, b))
        with pytest.raises(DTypeError, match="not of a floating type"):
            graph.add(Exp(), (b,))


@pytest.mark.parametrize("value", [300, -1, 2**70])
def test_a_number_that_the_type_cannot_hold_is_refused(value: int) -> None:
    with Graph():
        x = placeholder("x", (2,), "uint8")
        combinations: list[Callable[[], Node]] = [
            lambda: x + value,
            lambda: x < value,
            lambda: maximum(value, x),
            lambda: where(x > 0, x, value),
        ]
        for combine in combinations:
            with pytest.raises(DTypeError, match="does not fit uint8"):
                combine()


@pytest.mark.parametrize("value", [None, "1", 1j, {}, [None], np.array(["a"])], ids=repr)
def test_what_is_no_number_is_refused(value: object) -> None:
    with Graph():
        x = placeholder("x", (2,))
        with pytest.raises(DTypeError):
            x + value


def test_a_huge_integer_may_join_real_numbers() -> None:
    assert compute(lambda x: x * 2**70, np.ones(1, np.float32)) == [2.0**70]


@pytest.mark.parametrize(
    "call",
    [
        lambda: exp(2.0),  # type: ignore[arg-type]  # the mistake tested
        lambda: maximum(1, 2),
        lambda: less(np.ones(2), 0),
    ],
)
def test_no_node_among_the_inputs(call: Callable[[], Node]) -> None:
    with Graph(), pytest.raises(GraphError, match="has no node among its inputs") as caught:
        call()
    assert "gn.constant" in str(caught.value)


# Integers.


def test_integers_wrap_around() -> None:
    top = np.array([2**31 - 1], np.int32)
    assert compute(lambda x: x + 1, top) == [-(2**31)]
    assert compute(lambda x: -x, np.array([-(2**31)], np.int32)) == [-(2**31)]
    assert compute(abs, np.array([-(2**31)], np.int32)) == [-(2**31)]
    assert compute(lambda x: x**2, np.array([16], np.uint8)) == [0]


def test_integers_to_negative_powers_round_towards_zero() -> None:
    bases = np.array([-3, -2, -1, -1, 0, 1, 2, 3], np.int64)
    exponents = np.array([-1, -2, -3, -2, -1, -5, -1, -2], np.int64)
    np.testing.assert_array_equal(compute(lambda a, b: a**b, bases, exponents), [0, 0, -1, 1, 0, 1, 0, 0])


def test_division_of_integers_by_zero_follows_real_numbers() -> None:
    actual = compute(divide, np.array([1, -1, 0], np.int32), np.zeros(3, np.int32))
    np.testing.assert_array_equal(actual, [np.inf, -np.inf, np.nan])


# Clip.


def test_clip_takes_limits_of_every_kind() -> None:
    x = np.array([-2, 0, 9], np.int32)
    np.testing.assert_array_equal(compute(lambda n: clip(n, 0), x), [0, 0, 9])
    np.testing.assert_array_equal(compute(lambda n: clip(n, np.int64(0), np.int64(5)), x), [0, 0, 5])
    fractional = compute(lambda n: clip(n, high=np.float32(0.5)), x)
    assert fractional.dtype == np.float32
    np.testing.assert_array_equal(fractional, [-2, 0, 0.5])


def test_clip_keeps_nan_and_limits_infinities() -> None:
    actual = compute(lambda x: clip(x, -1, 1), np.array([np.nan, np.inf, -np.inf], np.float32))
    np.testing.assert_array_equal(actual, [np.nan, 1, -1])


def test_clip_refuses_a_limit_that_the_type_cannot_hold() -> None:
    with Graph():
        x = placeholder("x", (2,), "uint8")
        with pytest.raises(DTypeError, match="the limit -1 is no uint8"):
            clip(x, -1, 3)


def test_clips_are_equal_when_their_limits_are() -> None:
    assert Clip(0.0, 1.0) == Clip(0.0, 1.0)
    assert Clip(0.0, None) != Clip(0.0, 1.0)


# Gradients where the textbook formula has a hole.


@pytest.mark.parametrize(
    ("build", "at", "slope"),
    [
        (relu, [-0.0, 0.0], [0, 0]),
        (abs, [-0.0, 0.0], [0, 0]),
        (elementwise.sign, [-2.0, 0.0], [0, 0]),
        (lambda x: clip(x, -1, 1), [-1.0, 1.0, 1.5, -1.5], [1, 1, 0, 0]),
        (lambda x: clip(x, 1, -1), [-2.0, -1.0, 0.0, 1.0], [0, 0, 0, 0]),
        (sqrt, [0.0], [np.inf]),
        (elementwise.log, [0.0, -0.0], [np.inf, -np.inf]),
        (elementwise.tanh, [-np.inf, 1000.0, np.inf], [0, 0, 0]),
        (elementwise.sigmoid, [-np.inf, -1000.0, 1000.0, np.inf], [0, 0, 0, 0]),
        (exp, [-np.inf, -1000.0], [0, 0]),
        (lambda x: x**2, [0.0, -3.0], [0, -6]),
        (lambda x: x**1, [0.0, -3.0], [1, 1]),
        (lambda x: x**0, [0.0, -3.0], [0, 0]),
        (lambda x: x**0.5, [0.0], [np.inf]),
        (lambda x: x**-1, [0.0, -2.0], [-np.inf, -0.25]),
        (lambda x: 0**x, [1.0, 2.0, 0.0], [0, 0, 0]),
        (lambda x: (-2) ** x, [1.0, 2.0, -1.0], [0, 0, 0]),
        (lambda x: maximum(x, 0), [-1.0, 0.0, 1.0], [0, 0.5, 1]),
        (lambda x: minimum(0, x), [-1.0, 0.0, 1.0], [1, 0.5, 0]),
        (lambda x: maximum(x, x), [0.0, 1.0], [1, 1]),
    ],
)
def test_gradient_at_kinks_and_poles(build: Callable[[Node], Node], at: list[float], slope: list[float]) -> None:
    _, grad = compute_with_gradients(build, np.array(at, np.float32))
    np.testing.assert_array_equal(grad, slope)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3])
def test_whole_powers_are_differentiable_at_zero_as_often_as_one_likes(exponent: int) -> None:
    with Graph():
        x = placeholder("x", (), "float64")
        derivatives = [x**exponent]
        while len(derivatives) < 6:
            derivatives.extend(gradients(derivatives[-1], [x], allow_unused=True))
    values = evaluate(derivatives, {x: np.zeros(())})
    assert [float(value) for value in values] == [math.factorial(exponent) if n == exponent else 0 for n in range(6)]


def test_ties_share_the_gradient() -> None:
    a, b = np.array([1.0, 2.0, 3.0], np.float32), np.array([2.0, 2.0, 2.0], np.float32)
    _, da, db = compute_with_gradients(maximum, a, b, wanted=(0, 1))
    np.testing.assert_array_equal(da, [0, 0.5, 1])
    np.testing.assert_array_equal(db, [1, 0.5, 0])


def test_gradient_keeps_the_element_type_of_each_input() -> None:
    a, b = np.ones((2, 3), np.float16), np.ones(3, np.float64)
    value, da, db = compute_with_gradients(lambda a, b: a * b, a, b, wanted=(0, 1))
    assert [array.dtype.name for array in (value, da, db)] == ["float64", "float16", "float64"]
    assert (da.shape, db.shape) == (a.shape, b.shape)


def test_no_gradient_passes_through_integers_and_comparisons() -> None:
    with Graph():
        x = placeholder("x", (3,))
        for cut in (cast(cast(x, "int32"), "float32"), cast(x > 0, "float32")):
            with pytest.raises(GraphError, match="does not depend on 'x'"):
                gradients(cut, [x])


# Cast and where.


def test_cast_to_the_same_type_adds_nothing() -> None:
    with Graph() as graph:
        x = placeholder("x", (2,))
        assert cast(x, "float32") is x
        assert x.astype(np.float32) is x
        assert len(graph.nodes) == 1


def test_cast_refuses_an_unknown_type() -> None:
    with Graph():
        x = placeholder("x", (2,))
        with pytest.raises(DTypeError, match="no element type 'float8'"):
            cast(x, "float8")


def test_cast_to_bool_and_integer() -> None:
    x = np.array([np.nan, 0.5, 0.0, -0.0, -np.inf], np.float32)
    np.testing.assert_array_equal(compute(lambda x: x.astype("bool"), x), [True, True, False, False, True])
    np.testing.assert_array_equal(compute(lambda x: x.astype("int64"), np.array([-1.9, 1.9], np.float32)), [-1, 1])


@pytest.mark.parametrize("pair", list(itertools.permutations(("float16", "bfloat16", "float32", "float64"), 2)))
def test_cast_is_differentiated_by_casting_back(pair: tuple[str, str]) -> None:
    with Graph():
        x = placeholder("x", (2,), pair[0])
        (dx,) = gradients(cast(x, pair[1]) * [3.0, -2.0], [x])
    assert isinstance(dx.op, Cast)
    assert dx.dtype is x.dtype
    assert evaluate([dx], {x: np.ones(2, x.dtype.interface)})[0].tolist() == [3, -2]


def test_where_needs_a_bool() -> None:
    with Graph():
        x = placeholder("x", (2,))
        with pytest.raises(DTypeError, match="the condition is not bool"):
            where(x, x, 0)


def test_where_shows_the_shapes_that_do_not_broadcast() -> None:
    with Graph():
        condition, a = placeholder("condition", (3,), "bool"), placeholder("a", (2,))
        with pytest.raises(ShapeError, match="axis -1 has sizes 3 and 2"):
            where(condition, a, 0)


@pytest.mark.parametrize(
    ("a", "b", "dtype"),
    [(1, 2, "int64"), (1, 0.5, "float32"), (True, 2, "int64"), (True, False, "bool"), (1.0, 2, "float32"),
     (0.5, np.ones(2, np.float16), "float16"), (np.ones(2, np.float16), 0.5, "float16")],
)  # fmt: skip
def test_where_between_values_without_a_node(a: Any, b: Any, dtype: str) -> None:
    with Graph():
        assert str(where(placeholder("c", (2,), "bool"), a, b).dtype) == dtype


def test_where_takes_arrays_alone_when_a_graph_is_open() -> None:
    with Graph():
        chosen = where(np.array([True, False]), 1.0, np.zeros(2, np.float32))
    assert chosen.spec == TensorSpec((2,), "float32")


# Cost.


def test_flops_count_the_elements_of_the_result() -> None:
    result, row = TensorSpec((5, 3), "float32"), TensorSpec((3,), "float32")
    assert Add().flops(result, result, row) == 15


def test_constants_of_numbers_are_scalars() -> None:
    with Graph() as graph:
        placeholder("x", (1000,)) * 2
        (number,) = (node for node in graph.nodes if node.op.label == "constant")
    assert number.shape == ()
    assert number.op == constant_op(2.0)


def constant_op(value: float) -> object:
    with Graph():
        return constant(value).op
