from __future__ import annotations

import importlib
import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from graphnn.compiler.gradients import gradients
from graphnn.compiler.reference import evaluate
from graphnn.ops import Dim, Graph, Node, apply, constant, dropout, dtypes, normal, placeholder, uniform
from graphnn.ops.errors import DTypeError, GraphError, ShapeError
from graphnn.ops.random import Random, RandomNormal, RandomUniform, philox4x32
from graphnn.ops.spec import TensorSpec
from graphnn.ops.state import Variable
from samples.random import SIGNIFICANDS, philox_by_integers

MANY = 100_000
FLOATING = tuple(SIGNIFICANDS)


def _numbers(
    kind: type[Random], count: int = MANY, dtype: str = "float32", seed: int = 0, stream: int = 0, step: int = 0
) -> np.ndarray:
    op = kind((count,), dtypes.as_dtype(dtype), seed, stream)
    return op.evaluate(TensorSpec((count,), dtype), np.array(step, np.int64))


# Philox.


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_philox_gives_the_known_answers_of_random123(counter: str, key: str, expected: str) -> None:
    counter_words, key_words, answer = (
        tuple(int(word, 16) for word in words.split()) for words in (counter, key, expected)
    )

    assert tuple(int(word) for word in philox4x32(counter_words, key_words)) == answer
    assert tuple(philox_by_integers(counter_words, key_words)) == answer


def test_philox_of_arrays_is_that_of_each_element() -> None:
    generator = np.random.default_rng(0)
    counter = [generator.integers(0, 2**32, shape, np.uint32) for shape in ((4, 1), (1, 5), (), (4, 5))]
    key = [generator.integers(0, 2**32, shape, np.uint32) for shape in ((), (5,))]

    words = philox4x32(counter, key)

    assert [word.dtype for word in words] == [np.uint32] * 4
    full = [np.broadcast_to(word, (4, 5)) for word in (*counter, *key)]
    for place in np.ndindex(4, 5):
        given = [int(word[place]) for word in full]
        assert [int(word[place]) for word in words] == philox_by_integers(tuple(given[:4]), tuple(given[4:]))


# What the ops draw.


def test_a_coarser_type_has_the_same_uniform_numbers_rounded_down() -> None:
    exact = _numbers(RandomUniform, dtype="float64")

    for dtype, bits in SIGNIFICANDS.items():
        rounded_down = np.floor(exact * 2.0**bits) / 2.0**bits
        np.testing.assert_array_equal(_numbers(RandomUniform, dtype=dtype).astype(np.float64), rounded_down)


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("word", [0, 2**32 - 1])
def test_extreme_words_give_numbers_within_bounds(dtype: str, word: int, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("graphnn.ops.random")
    monkeypatch.setattr(module, "philox4x32", lambda counter, key: (np.full(2, word, np.uint32),) * 4)

    uniforms, normals = (_numbers(kind, 2, dtype) for kind in (RandomUniform, RandomNormal))

    stored = dtypes.to_interface(dtypes.to_storage(uniforms, dtypes.as_dtype(dtype)), dtypes.as_dtype(dtype))
    np.testing.assert_array_equal(stored, 0.0 if word == 0 else 1 - 2.0 ** -SIGNIFICANDS[dtype])
    bits = 64 if dtype == "float64" else 32
    expected = math.sqrt(2 * (bits + 1) * math.log(2)) if word == 0 else 0.0
    np.testing.assert_allclose(normals, expected, rtol=1e-6, atol=1e-7)


def test_uniform_numbers_are_uniform() -> None:
    numbers = np.sort(_numbers(RandomUniform).astype(np.float64))

    assert abs(numbers.mean() - 1 / 2) < 4 * math.sqrt(1 / 12 / MANY)
    assert abs(numbers.var() - 1 / 12) < 4 * math.sqrt(1 / 180 / MANY)
    assert _largest_deviation(numbers, numbers) < 1.95 / math.sqrt(MANY)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal_numbers_are_normal(dtype: str) -> None:
    numbers = np.sort(_numbers(RandomNormal, dtype=dtype).astype(np.float64))

    assert abs(numbers.mean()) < 4 / math.sqrt(MANY)
    assert abs(numbers.var() - 1) < 4 * math.sqrt(2 / MANY)
    assert abs((numbers**4).mean() - 3) < 4 * math.sqrt(96 / MANY)
    distribution = np.array([0.5 + 0.5 * math.erf(number / math.sqrt(2)) for number in numbers])
    assert _largest_deviation(numbers, distribution) < 1.95 / math.sqrt(MANY)


def _largest_deviation(ascending: np.ndarray, distribution: np.ndarray) -> float:
    """Return the statistic of Kolmogorov and Smirnov, which exceeds 1.95 / √n once in a thousand samples."""
    ranks = np.arange(len(ascending) + 1) / len(ascending)
    return float(max((ranks[1:] - distribution).max(), (distribution - ranks[:-1]).max()))


@pytest.mark.parametrize("kind", [RandomUniform, RandomNormal])
@pytest.mark.parametrize("changed", ["stream", "seed", "step"])
def test_streams_seeds_and_steps_are_independent(kind: type[Random], changed: str) -> None:
    values = (0, 1, 2, 2**31)
    drawn = [_numbers(kind, **{changed: value}) for value in values]  # type: ignore[arg-type]  # a keyword's name

    for first, second in pairwise(drawn):
        assert not np.array_equal(first, second)
        assert abs(np.corrcoef(first, second)[0, 1]) < 4 / math.sqrt(MANY)
        # Numbers may be uncorrelated and yet share their size.
        assert abs(np.corrcoef((first - first.mean()) ** 2, (second - second.mean()) ** 2)[0, 1]) < 4 / math.sqrt(MANY)


@pytest.mark.parametrize("distance", [1, 2, 256])
def test_neighbours_are_independent(distance: int) -> None:
    numbers = _numbers(RandomUniform)

    assert abs(np.corrcoef(numbers[distance:], numbers[:-distance])[0, 1]) < 4 / math.sqrt(MANY)


def test_normal_numbers_in_float32_follow_the_formula_within_8_ulp() -> None:
    op = RandomNormal((MANY,), dtypes.float32, 0, 0)
    out, step = TensorSpec((MANY,), "float32"), np.array(0, np.int64)
    w0, w1, _, _ = op.words(out, step)
    u1 = (w0.astype(np.float32) * np.float32(2.0**-32) + np.float32(2.0**-33)).astype(np.float64)
    angle = np.float32(2 * math.pi) * (w1 >> 8).astype(np.float32) / np.float32(2**24)
    exact = np.sqrt(-2 * np.log(u1)) * np.cos(angle.astype(np.float64))

    numbers = op.evaluate(out, step)

    assert numbers.dtype == np.float32
    assert (np.abs(numbers - exact) <= 8 * np.spacing(np.abs(exact).astype(np.float32))).all()


def test_the_numbers_of_an_example_do_not_depend_on_the_batch() -> None:
    with Graph():
        x = placeholder("x", (None, 4))
        y = x + uniform((None, 4))

    few, many = (evaluate([y], {x: np.zeros((batch, 4), np.float32)})[0] for batch in (2, 7))

    np.testing.assert_array_equal(few, many[:2])


# The ops as nodes.


def test_numbers_depend_on_the_step_alone() -> None:
    with Graph(seed=3) as graph:
        x = normal((5,))

    first, again = evaluate([x], {})[0], evaluate([x], {})[0]
    graph.set_value("random_step", 1)
    later = evaluate([x], {})[0]
    graph.set_value("random_step", 0)
    back = evaluate([x], {})[0]

    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, back)
    assert (first != later).all()


def test_all_random_ops_of_a_graph_read_one_step() -> None:
    with Graph() as graph, graph.scope("layer"):
        x, y = uniform((2,)), normal((2,))

    assert x.inputs == y.inputs == (graph["random_step"],)
    assert list(graph.variables) == ["random_step"]
    assert isinstance(graph["random_step"].op, Variable)
    assert not graph["random_step"].op.trainable


def test_each_call_has_its_own_stream_fixed_by_its_place() -> None:
    def streams() -> list[Any]:
        with Graph(seed=5) as graph:
            drawn = [uniform((2,)), uniform((2,)), normal((2,))]
            with graph.scope("layer"):
                drawn.append(uniform((2,)))
        assert all(isinstance(node.op, Random) and node.op.seed == 5 for node in drawn)
        return [node.op for node in drawn]

    first = streams()

    assert first == streams()
    assert len({op.stream for op in first}) == 4


def test_limits_and_moments() -> None:
    with Graph(seed=1):
        low_high = uniform((MANY,), -3.0, 5.0)
        mean_std = normal((MANY,), mean=10.0, std=0.5, dtype="float64")
        exactly_two = uniform((3,), 2.0, 2.0)
        exactly_four = normal((3,), 4.0, 0.0)

    a, b, c, d = evaluate([low_high, mean_std, exactly_two, exactly_four], {})

    assert -3 <= a.min() < -2.99
    assert 4.99 < a.max() <= 5
    assert abs(a.mean() - 1) < 0.03
    assert b.dtype == np.float64
    assert abs(b.mean() - 10) < 0.01
    assert abs(b.std() - 0.5) < 0.01
    np.testing.assert_array_equal(c, 2.0)
    np.testing.assert_array_equal(d, 4.0)


@pytest.mark.parametrize("dtype", FLOATING)
def test_the_shape_and_the_type_are_as_asked(dtype: str) -> None:
    with Graph():
        for drawn in (
            uniform((None, 3), dtype=dtype),
            uniform((None, 3), -1, 1, dtype),
            normal((None, 3), 1, 2, dtype),
        ):
            assert drawn.spec == TensorSpec((None, 3), dtype)


def test_a_batch_axis_may_stand_anywhere() -> None:
    shape = (2, Dim(3))
    with Graph():
        x = placeholder("x", (None,))
        drawn = uniform(shape)

    (numbers,) = evaluate([drawn], {x: np.zeros(4, np.float32)})

    np.testing.assert_array_equal(numbers.reshape(-1), _numbers_of(drawn, 24))


def _numbers_of(node: Node, count: int) -> np.ndarray:
    assert isinstance(node.op, RandomUniform)
    return _numbers(RandomUniform, count, seed=node.op.seed, stream=node.op.stream)


def test_numbers_are_constants_to_gradients() -> None:
    with Graph():
        x = placeholder("x", (3,))
        drawn = normal((3,))
        (dx,) = gradients(x * drawn, [x])
        with pytest.raises(GraphError, match="does not depend on"):
            gradients(drawn, [x])

    slope, numbers = evaluate([dx, drawn], {x: np.ones(3, np.float32)})
    np.testing.assert_array_equal(slope, numbers)


@pytest.mark.parametrize(("low", "high"), [(1.0, 0.0), (0.0, math.inf), (math.nan, 1.0)])
def test_limits_that_are_no_interval(low: float, high: float) -> None:
    with Graph(), pytest.raises(GraphError, match="uniform: this is no interval") as caught:
        uniform((2,), low, high)

    assert caught.value.actual == f"low = {low}, high = {high}"
    assert "test_random.py" in caught.value.where


@pytest.mark.parametrize(("mean", "std"), [(0.0, -1.0), (0.0, math.nan), (math.inf, 1.0), (0.0, math.inf)])
def test_moments_of_no_normal_distribution(mean: float, std: float) -> None:
    with Graph(), pytest.raises(GraphError, match="normal: there is no such normal distribution") as caught:
        normal((2,), mean, std)

    assert caught.value.actual == f"mean = {mean}, std = {std}"


@pytest.mark.parametrize("function", [uniform, normal])
def test_shapes_and_types_that_cannot_be_drawn(function: Any) -> None:
    with Graph():
        with pytest.raises(ShapeError, match="random numbers: axis 1 of a shape is None"):
            function((2, None))
        with pytest.raises(DTypeError, match="there is no element type 'float31'"):
            function((2,), dtype="float31")
        with pytest.raises(DTypeError, match="random numbers are of a floating type") as caught:
            function((2,), dtype="int32")
    assert caught.value.actual == "int32"

    with pytest.raises(GraphError, match="no graph is open here"):
        function((2,))


@pytest.mark.parametrize(
    ("step", "error", "message"),
    [
        (np.zeros(1, np.int64), ShapeError, "the step is not a scalar"),
        (np.zeros((), np.int32), DTypeError, "the step is not an int64"),
    ],
)
def test_a_step_of_another_shape_or_type(step: np.ndarray, error: type[GraphError], message: str) -> None:
    with Graph(), pytest.raises(error, match=f"random_uniform 'random_uniform': {message}"):
        apply(RandomUniform((2,), dtypes.float32, 0, 0), constant(step))


# Dropout.


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", FLOATING)
def test_dropout_keeps_some_elements_and_scales_them(p: float, dtype: str) -> None:
    with Graph():
        x = placeholder("x", (None, 100), dtype)
        y = dropout(x, p)
        (dx,) = gradients(y, [x])
    values = np.full((200, 100), 3, x.dtype.interface)

    dropped, slope = evaluate([y, dx], {x: values}, training=True)

    assert y.spec == x.spec
    kept = dropped != 0
    assert abs(kept.mean() - (1 - p)) < 4 * math.sqrt(p * (1 - p) / kept.size)
    tolerance = {"float16": 2e-3, "bfloat16": 2e-2}.get(dtype, 1e-6)
    np.testing.assert_allclose(dropped[kept], 3 / (1 - p), rtol=tolerance)
    np.testing.assert_allclose(slope, kept / (1 - p), rtol=tolerance)


def test_dropout_is_the_identity_in_evaluation() -> None:
    with Graph():
        x = placeholder("x", (None, 3))
        y = dropout(x, 0.9)
        (dx,) = gradients(y, [x])
    values = np.array([[1.0, -2.0, np.inf]], np.float32)

    kept, slope = evaluate([y, dx], {x: values}, training=False)

    np.testing.assert_array_equal(kept, values)
    np.testing.assert_array_equal(slope, 1.0)


def test_dropout_of_nothing_adds_nothing() -> None:
    with Graph() as graph:
        x = placeholder("x", (None, 3))

        assert dropout(x, 0.0) is x
        assert graph.nodes == (x,)


def test_dropout_of_everything_is_zero_even_where_x_is_infinite() -> None:
    with Graph():
        x = placeholder("x", (None, 2))
        y = dropout(x, 1.0)
        (dx,) = gradients(y, [x])
    values = np.array([[np.inf, 1.0]], np.float32)

    dropped, slope = evaluate([y, dx], {x: values}, training=True)
    (kept,) = evaluate([y], {x: values}, training=False)

    np.testing.assert_array_equal(dropped, 0.0)
    np.testing.assert_array_equal(slope, 0.0)
    np.testing.assert_array_equal(kept, values)


def test_two_dropouts_drop_different_elements_and_any_type_the_same() -> None:
    def masks(dtype: str) -> list[np.ndarray]:
        with Graph(seed=2):
            ones = constant(np.ones(1000), dtype)
            return [value != 0 for value in evaluate([dropout(ones), dropout(ones)], {}, training=True)]

    first, second = masks("float32")

    assert (first != second).any()
    np.testing.assert_array_equal(masks("float64"), [first, second])
    np.testing.assert_array_equal(masks("bfloat16"), [first, second])


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_a_probability_below_0_or_above_1(p: float) -> None:
    with Graph():
        x = placeholder("x", (2,))

        with pytest.raises(GraphError, match=f"dropout: p is {p}") as caught:
            dropout(x, p)

    assert caught.value.expected == "a probability from 0 to 1"
    assert "'x'" in caught.value.actual


def test_dropout_of_integers() -> None:
    with Graph():
        x = placeholder("x", (2,), "int64")

        with pytest.raises(DTypeError, match="dropout: the input is not of a floating type"):
            dropout(x, 0.0)
