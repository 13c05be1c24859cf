"""Logic on bool beyond its samples: errors, operators, what is no node."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphnn.compiler.gradients import gradients
from graphnn.compiler.reference import evaluate
from graphnn.ops import Dim, Graph, Node, constant, placeholder
from graphnn.ops.errors import DTypeError, GraphError, ShapeError
from graphnn.ops.logical import LogicalAnd, LogicalNot, LogicalOr, LogicalXor, logical_and, logical_not, logical_or
from op_checks import compute

OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    LogicalAnd: operator.and_,
    LogicalOr: operator.or_,
    LogicalXor: operator.xor,
}


@pytest.mark.parametrize("op", OPERATORS)
def test_operators_on_both_sides(op: type) -> None:
    apply = OPERATORS[op]
    with Graph():
        a, b = placeholder("a", (None, 3), "bool"), placeholder("b", (3,), "bool")
        for node in (apply(a, b), apply(a, True), apply(False, a), apply(np.array([True, False, True]), a)):
            assert isinstance(node.op, op)
            assert node.shape == (Dim(1), 3)
            assert str(node.dtype) == "bool"
        assert isinstance((~a).op, LogicalNot)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float16", "float32", "float64"])
@pytest.mark.parametrize("apply", [operator.and_, operator.or_, operator.xor, lambda a, b: ~b])
def test_numbers_have_no_truth_value(apply: Callable[[Any, Any], Node], dtype: str) -> None:
    with Graph():
        a, b = placeholder("a", (3,), "bool"), placeholder("b", (3,), dtype)
        with pytest.raises(DTypeError) as caught:
            apply(a, b)
    text = str(caught.value)
    assert f"{dtype} (3,) ('b')" in text
    assert "expected: bool" in text
    assert "x > 0" in text
    assert "test_logical.py" in text


@pytest.mark.parametrize("number", [1, 0.5, np.int64(1), [1, 0, 1]])
def test_a_number_beside_bool_is_refused(number: Any) -> None:
    with Graph():
        a = placeholder("a", (3,), "bool")
        with pytest.raises(DTypeError, match="an input is not bool"):
            a & number
        with pytest.raises(DTypeError, match="an input is not bool"):
            logical_or(number, a)


def test_shapes_have_to_broadcast() -> None:
    with Graph(), pytest.raises(ShapeError, match="sizes 3 and 4"):
        logical_and(placeholder("a", (3,), "bool"), placeholder("b", (4,), "bool"))


def test_values_without_a_node_need_an_open_graph() -> None:
    with pytest.raises(GraphError, match="no graph is open"):
        logical_and(True, False)
    with Graph():
        assert evaluate([logical_not(logical_and(True, False))], {}) == [True]


def test_no_gradient_flows_through_logic() -> None:
    with Graph():
        x = constant([-1.0, 2.0])
        chosen = (x > 0) & (x < 3)
        (dx,) = gradients((x * chosen.astype("float32")).sum(), [x])
    np.testing.assert_array_equal(evaluate([dx], {}), [[0, 1]])


def test_nan_is_neither_above_nor_below() -> None:
    x = np.array([np.nan, 1, -1], np.float32)
    np.testing.assert_array_equal(compute(lambda x: ~(x > 0) & ~(x < 0), x), [True, False, False])
