"""Nodes as values: operators and methods are NumPy's, `==` is identity, and misuse is answered with advice."""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphnn.compiler.reference import evaluate
from graphnn.ops import Graph, Node, where
from graphnn.ops.errors import DTypeError
from graphnn.ops.state import constant, placeholder

# Operators.

LEFT = np.array([4.0, 9.0], np.float32)
RIGHT = np.array([2.0, 0.5], np.float32)
OPERATORS = [
    operator.add,
    operator.sub,
    operator.mul,
    operator.truediv,
    operator.pow,
    operator.lt,
    operator.le,
    operator.gt,
    operator.ge,
]


@pytest.mark.parametrize("combine", OPERATORS)
@pytest.mark.parametrize(
    "convert", [lambda v: v, list, tuple, lambda v: v[0], lambda v: float(v[0]), lambda v: int(v[0])],
    ids=["array", "list", "tuple", "scalar of NumPy", "float", "int"],
)  # fmt: skip
def test_operators_are_those_of_numpy_on_either_side(
    combine: Callable[[Any, Any], Any], convert: Callable[[np.ndarray], Any]
) -> None:
    left, right = convert(LEFT), convert(RIGHT)
    with Graph():
        x = placeholder("x", (2,))
        results = [combine(x, right), combine(left, x)]
    actual = evaluate(results, {x: RIGHT})
    np.testing.assert_allclose(actual[0], combine(RIGHT, np.asarray(right)), rtol=1e-6)
    np.testing.assert_allclose(actual[1], combine(np.asarray(left), RIGHT), rtol=1e-6)


def test_operators_between_nodes() -> None:
    with Graph():
        x, y = placeholder("x", (2,)), placeholder("y", (2,))
        nodes = [combine(x, y) for combine in OPERATORS] + [-x, abs(-x)]
    actual = evaluate(nodes, {x: LEFT, y: RIGHT})
    expected = [combine(LEFT, RIGHT) for combine in OPERATORS] + [-LEFT, LEFT]
    for value, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(value, other, rtol=1e-6)


def test_matrix_product_with_an_array_on_either_side() -> None:
    matrix = np.array([[1, 2], [3, 4]], np.float32)
    with Graph():
        x: Any = placeholder("x", (2, 2))
        right, left = x @ matrix, matrix @ x
    feed = {x: np.array([[0, 1], [2, 0]], np.float32)}
    assert [value.tolist() for value in evaluate([right, left], feed)] == [[[3, 4], [2, 4]], [[4, 1], [8, 3]]]


def test_in_place_operators_make_a_new_node() -> None:
    with Graph():
        x = y = placeholder("x", (2,))
        y += 1
    assert y is not x
    assert y.inputs[0] is x


def test_methods_are_those_of_numpy() -> None:
    values = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    with Graph():
        x = placeholder("x", (1, 3, 4))
        pairs: list[tuple[Node, Any]] = [
            (x.sum(), values.sum()),
            (x.sum(axis=(0, 2), keepdims=True), values.sum((0, 2), keepdims=True)),
            (x.mean(1), values.mean(1)),
            (x.max(-1), values.max(-1)),
            (x.min(), values.min()),
            (x.argmax(), values.argmax(-1)),
            (x.variance(2, correction=1), values.var(2, ddof=1)),
            (x.reshape(3, 4), values.reshape(3, 4)),
            (x.reshape((4, -1)), values.reshape(4, -1)),
            (x.transpose(), values.transpose()),
            (x.transpose(0, 2, 1), values.transpose(0, 2, 1)),
            (x.transpose((2, 0, 1)), values.transpose(2, 0, 1)),
            (x.T, values.T),
            (x.broadcast_to((2, 3, 4)), np.broadcast_to(values, (2, 3, 4))),
            (x.sum_to_size((3, 1)), values[0].sum(1, keepdims=True)),
            (x.flatten(), values.ravel()),
            (x.squeeze(), values[0]),
            (x.expand_dims(0), values[None]),
            (x.astype("int32"), values.astype(np.int32)),
            (x[0, 1:, ::2], values[0, 1:, ::2]),
        ]
    actual = evaluate([node for node, _ in pairs], {x: values})
    for value, (node, expected) in zip(actual, pairs, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-6, err_msg=repr(node))
        assert value.shape == np.shape(expected), node


# Identity and misuse.


def test_equality_is_identity() -> None:
    with Graph():
        x: Any = placeholder("x", (2,))
        y = placeholder("y", (2,))
        same, other = x == x, x == y
    assert same is True
    assert other is False
    assert x != y
    assert (x == 3) is False
    assert (np.ones(2) == x) is False
    assert x in [y, x]
    assert {x: 1, y: 2}[x] == 1


MISUSE: list[tuple[Callable[[Any], object], str, str]] = [
    (bool, "truth value", "ops.where"),
    (lambda x: 1 if x > 0 else 2, "truth value", "ops.where"),
    (lambda x: 0 < x < 1, "truth value", "ops.where"),
    (lambda x: x and 1, "truth value", "ops.where"),
    (lambda x: not x, "truth value", "ops.where"),
    (len, "length", "node.shape"),
    (iter, "iteration", "node[0]"),
    (list, "iteration", "node[0]"),
    (lambda x: [*x], "iteration", "node[0]"),
    (sum, "iteration", "node[0]"),
    (np.array, "array", "Executor([node]).run(feed)"),
    (np.asarray, "array", "Executor([node]).run(feed)"),
    (lambda x: np.array([x, x]), "array", "Executor([node]).run(feed)"),
    (lambda x: constant([x, x]), "array", "Executor([node]).run(feed)"),
    (float, "number", "Executor([node]).run(feed)"),
    (int, "number", "Executor([node]).run(feed)"),
    (complex, "number", "Executor([node]).run(feed)"),
    (math.sqrt, "number", "Executor([node]).run(feed)"),
    (range, "number", "Executor([node]).run(feed)"),
    (lambda x: [1, 2][x], "number", "Executor([node]).run(feed)"),
]


@pytest.mark.parametrize(("use", "what", "advice"), MISUSE)
def test_misuse_of_a_node_is_answered_with_advice(use: Callable[[Node], object], what: str, advice: str) -> None:
    with Graph():
        x = placeholder("x", (2,))
        with pytest.raises(TypeError, match=f"has no {what} while the graph is being defined") as caught:
            use(x)
    text = str(caught.value)
    assert "'x': float32 (2,)" in text or "'greater'" in text or "'less'" in text
    assert "test_node.py" in text
    assert advice in text


def test_functions_of_numpy_refuse_nodes() -> None:
    with Graph():
        x = placeholder("x", (2,))
        for function in (np.exp, np.negative):
            with pytest.raises(TypeError, match="does not support ufuncs"):
                function(x)


def test_numpy_functions_point_to_ops() -> None:
    with Graph():
        x = placeholder("x", (3,))
    with pytest.raises(TypeError, match=r"numpy\.mean.*\n.*test_node.*\n.*ops"):
        np.mean(x)


def test_a_copy_is_the_node_itself() -> None:
    with Graph():
        x = placeholder("x", (3,))
    assert copy.copy(x) is x


def test_where_refuses_what_the_operator_for_identity_gives() -> None:
    with Graph():
        x = placeholder("x", (3,))
        with pytest.raises(DTypeError, match=r"ops\.equal"):
            where(x == 1, x, 5.0)  # type: ignore[comparison-overlap]  # the mistake that is tested
