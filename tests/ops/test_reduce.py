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
    argmax,
    cast,
    constant,
    max,
    mean,
    min,
    placeholder,
    size,
    sum,
    sum_to_size,
    variance,
)
from graphnn.ops.errors import DTypeError, ShapeError
from graphnn.ops.reduce import Argmax, Max, Size, Sum
from graphnn.ops.spec import Extent, TensorSpec
from graphnn.ops.state import Constant

N = Dim(1)
REDUCTIONS = (sum, max, min, mean, variance)


def given(*shape: Extent | None, dtype: str = "float32") -> Node:
    with Graph():
        return placeholder("x", shape, dtype)


def value_of(build: Callable[[Node], Node], array: np.ndarray) -> np.ndarray:
    with Graph():
        return evaluate([build(constant(array))], {})[0]


# Axes.


@pytest.mark.parametrize("function", [*REDUCTIONS, size])
@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (3, "there is no axis 3"),
        ((0, -4), "there is no axis -4"),
        ((1, -2), r"an axis occurs twice in \(1, -2\)"),
        (0.5, "an axis is 0.5"),
    ],
)
def test_what_is_no_axis_is_refused(function: Callable[..., Node], axes: int, message: str) -> None:
    with pytest.raises(ShapeError, match=f"^{function.__name__}: {message}") as caught:
        function(given(None, 2, 3), axes)
    assert "test_reduce.py" in caught.value.where
    assert caught.value.actual == "x float32 (N, 2, 3) ('x')"


@pytest.mark.parametrize("function", [sum, max, min, mean])
def test_no_axes_mean_no_reduction(function: Callable[..., Node]) -> None:
    x = given(None, 2)
    assert function(x, ()) is x
    assert function(x, [], keepdims=True) is x
    scalar = given()
    assert function(scalar) is scalar


def test_variance_over_no_axes_is_zero() -> None:
    np.testing.assert_array_equal(value_of(lambda x: variance(x, ()), np.array([1.0, 2.0])), [0, 0])


@pytest.mark.parametrize("function", REDUCTIONS)
@pytest.mark.parametrize(
    ("axes", "keepdims", "shape"),
    [
        (None, False, ()),
        (None, True, (1, 1, 1)),
        (0, False, (2, 3)),
        (0, True, (1, 2, 3)),
        (-1, False, (N, 2)),
        ((2, 1), True, (N, 1, 1)),
        (range(2), False, (3,)),
    ],
)
def test_the_batch_is_an_axis_like_others(
    function: Callable[..., Node], axes: int, keepdims: bool, shape: tuple[Extent, ...]
) -> None:
    assert function(given(None, 2, 3), axes, keepdims).shape == shape


@pytest.mark.parametrize("function", REDUCTIONS)
def test_axes_may_be_an_iterator(function: Callable[..., Node]) -> None:
    assert function(given(None, 2, 3), iter([1, 0])).shape == (3,)


def test_methods_of_nodes_are_the_functions() -> None:
    x = given(None, 2, 3)
    assert x.sum((0, 2)).op == Sum((0, 2), False)
    assert x.max(1, keepdims=True).op == Max((1,), True)
    assert x.argmax(0).op == Argmax(0, False)
    assert x.mean(-1).shape == x.variance(-1).shape == x.min(-1).shape == (N, 2)
    assert x.sum_to_size((2, 1)).shape == (2, 1)


# Sum.


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64"])
@pytest.mark.parametrize("axes", [None, 0, ()])
def test_sums_of_integers_are_int64(dtype: str, axes: int | None) -> None:
    assert str(sum(given(3, dtype=dtype), axes).dtype) == "int64"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_sums_of_real_numbers_keep_their_type(dtype: str) -> None:
    assert str(sum(given(3, dtype=dtype)).dtype) == dtype


def test_sums_of_bytes_do_not_wrap() -> None:
    assert value_of(sum, np.full(1000, 255, np.uint8)) == 255_000


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sums_of_short_floats_are_accumulated_in_float32(dtype: str) -> None:
    # Added one by one in the short type, the sum stops growing at 2048 or 256.
    assert value_of(lambda x: cast(x, dtype).sum(0)[0], np.ones((4096, 2), np.float32)) == 4096


def test_the_sum_of_nothing_is_0() -> None:
    np.testing.assert_array_equal(value_of(lambda x: sum(x, 0), np.zeros((0, 2), np.float32)), [0, 0])
    assert value_of(sum, np.zeros((0,), np.int32)) == 0


def test_flops_of_a_sum_are_its_terms() -> None:
    assert Sum((0,), False).flops(TensorSpec((4,), "float32"), TensorSpec((5, 4), "float32")) == 20


# Mean, variance and size.


@pytest.mark.parametrize("function", [mean, variance])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64"])
def test_means_of_integers_are_refused(function: Callable[..., Node], dtype: str) -> None:
    with pytest.raises(DTypeError, match=f"^{function.__name__}: the input is not of a floating type") as caught:
        function(given(3, dtype=dtype))
    assert caught.value.hint == "convert it with .astype('float32')"
    assert caught.value.actual == f"x {dtype} (3,) ('x')"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_means_of_many_short_floats_are_exact(dtype: str) -> None:
    # Neither the sum nor the number of elements is a number of these types.
    x = np.ones(70_001, np.float32)
    assert value_of(lambda x: mean(cast(x, dtype)), x) == 1
    assert value_of(lambda x: variance(cast(x, dtype)), x) == 0
    assert str(mean(given(3, dtype=dtype)).dtype) == str(variance(given(3, dtype=dtype)).dtype) == dtype


def test_the_mean_of_nothing_is_nan() -> None:
    assert np.isnan(value_of(mean, np.zeros((0,), np.float32)))


def test_mean_follows_the_batch() -> None:
    with Graph():
        x = placeholder("x", (None, 2))
        y = mean(x)
    for batch in (1, 4):
        assert evaluate([y], {x: np.full((batch, 2), 3, np.float32)})[0] == 3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("correction", [0, 1, 3, 4, 7])
def test_variance_divides_by_the_corrected_count_or_0(correction: int, dtype: str) -> None:
    array = np.array([[1.0, 2, 5], [4, 0, 9]], dtype)
    with Graph():
        x = placeholder("x", (None, 3), dtype)
        static, over_batch = variance(x, 1, correction=correction), variance(x, correction=correction)
    value, whole = evaluate([static, over_batch], {x: array})
    squares, all_squares = array.var(1) * 3, array.var() * 6
    with np.errstate(divide="ignore"):
        expected = squares / np.maximum(3 - correction, 0)
        expected_whole = all_squares / np.maximum(6 - correction, 0)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(whole, expected_whole, rtol=1e-6)


def test_size_is_a_constant_unless_the_batch_takes_part() -> None:
    with Graph():
        x = placeholder("x", (None, 4, 5))
        static, scalar = size(x, (1, -1)), size(x, ())
        batch, everything = size(x, 0), size(x)
    assert isinstance(static.op, Constant)
    assert batch.op == Size((0,))
    for node in (static, scalar, batch, everything):
        assert node.spec == TensorSpec((), "int64")
    values = evaluate([static, scalar, batch, everything], {x: np.zeros((3, 4, 5), np.float32)})
    assert [int(value) for value in values] == [20, 1, 3, 60]


def test_size_counts_pairs_of_examples() -> None:
    with Graph():
        x = placeholder("x", (None, 1))
        pairs = (x - x.T) ** 2
        node = mean(pairs)
    assert evaluate([size(pairs), node], {x: np.array([[0], [1], [3]], np.float32)}) == [9, pytest.approx(28 / 9)]


def test_no_gradient_flows_through_size_and_argmax() -> None:
    with Graph():
        x = placeholder("x", (None, 3))
        scaled = x * cast(size(x, 0), "float32") + cast(argmax(x), "float32").reshape((-1, 1))
        (dx,) = gradients(scaled, [x])
    np.testing.assert_array_equal(evaluate([dx], {x: np.eye(3, dtype=np.float32)[:2]})[0], np.full((2, 3), 2))
    for node in (size(x, 0), argmax(x)):
        assert node.op.gradient(node, x) == (None,)


# Max, min, argmax.


@pytest.mark.parametrize(
    ("function", "label"), [(max, "max"), (min, "min"), (lambda x, axis: argmax(x, axis), "argmax")]
)
def test_there_is_no_largest_of_nothing(function: Callable[..., Node], label: str) -> None:
    with pytest.raises(ShapeError, match=f"{label} '{label}': there is no {label} of nothing"):
        function(given(2, 0), 1)
    assert function(given(2, 0), 0).shape == (0,)


@pytest.mark.parametrize("function", [max, min])
@pytest.mark.parametrize("axes", [None, 1, (0, 2)])
def test_equal_values_share_the_gradient_as_in_torch(function: Callable[..., Node], axes: int | None) -> None:
    torch = pytest.importorskip("torch")
    array = np.random.default_rng(0).integers(0, 2, (2, 3, 4)).astype(np.float64)
    with Graph():
        x = placeholder("x", (None, 3, 4), "float64")
        y = function(x, axes)
        (dx,) = gradients(y * y + y, [x])
    tensor = torch.tensor(array, requires_grad=True)
    expected = getattr(tensor, f"a{function.__name__}")(() if axes is None else axes)
    (expected * expected + expected).sum().backward()
    np.testing.assert_allclose(evaluate([dx], {x: array})[0], tensor.grad.numpy(), rtol=1e-12)


@pytest.mark.parametrize("function", [max, min])
def test_a_nan_wins(function: Callable[..., Node]) -> None:
    array = np.array([[1, np.nan, 3], [-np.inf, 0, np.inf]], np.float32)
    expected = [np.nan, np.inf if function is max else -np.inf]
    np.testing.assert_array_equal(value_of(lambda x: function(x, 1), array), expected)


def test_argmax_takes_the_first_of_equals_and_nan_before_all() -> None:
    array = np.array([[2, 3, 3, 1], [5, np.nan, np.inf, np.nan], [-np.inf] * 4], np.float32)
    np.testing.assert_array_equal(value_of(argmax, array), [1, 1, 0])
    assert value_of(argmax, array).dtype == np.int64


@pytest.mark.parametrize("axis", [2, -3])
def test_argmax_refuses_an_axis_that_does_not_exist(axis: int) -> None:
    with pytest.raises(ShapeError, match=f"argmax: there is no axis {axis}"):
        argmax(given(None, 3), axis)


# sum_to_size.


@pytest.mark.parametrize(
    ("old", "new", "op"),
    [
        ((None, 4), (4,), Sum((0,), False)),
        ((None, 4), (None, 1), Sum((1,), True)),
        ((None, 3, 2), (1, 1, 2), Sum((0, 1), True)),
        ((None, 1, 2), (1, 2), Sum((0,), False)),
    ],
)
def test_sum_to_size_is_one_sum_where_that_does(
    old: tuple[Extent | None, ...], new: tuple[Extent | None, ...], op: Sum
) -> None:
    node = sum_to_size(given(*old), new)
    assert node.op == op
    assert node.shape == TensorSpec(new, "float32").shape


def test_sum_to_size_undoes_broadcasting_of_new_and_old_axes_together() -> None:
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    actual = value_of(lambda x: sum_to_size(x, (3, 1)), array)
    np.testing.assert_array_equal(actual, array.sum((0, 2)).reshape(3, 1))


def test_sum_to_size_adds_no_node_for_its_own_shape() -> None:
    x = given(None, 1, 3)
    assert sum_to_size(x, (None, 1, 3)) is x
    assert len(x.graph.nodes) == 1


@pytest.mark.parametrize(
    ("old", "new"), [((2, 3), (2,)), ((3,), (1, 3)), ((2, 1), (2, 3)), ((None, 3), (2, 3)), ((2, 3), (None, 3))]
)
def test_sum_to_size_refuses_what_does_not_broadcast(old: tuple[int | None, ...], new: tuple[int | None, ...]) -> None:
    with pytest.raises(ShapeError, match=r"^sum_to_size: .*broadcast"):
        sum_to_size(given(*old), new)
