"""Comparison of elements, and choice by the outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphnn.ops import dtypes
from graphnn.ops.broadcasting import Binary, Elementwise, Gradient, Value, broadcast_shapes, promoted
from graphnn.ops.context import apply, current_graph
from graphnn.ops.errors import DTypeError
from graphnn.ops.node import Node, node_method
from graphnn.ops.source import caller
from graphnn.ops.spec import TensorSpec
from graphnn.ops.state import constant


@dataclass(frozen=True)
class Comparison(Binary):
    """Base of the ops that give bool."""

    def infer(self, *inputs: TensorSpec) -> TensorSpec:
        return super().infer(*inputs).with_dtype(dtypes.bool)

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return None, None


@dataclass(frozen=True)
class Equal(Comparison):
    """``a == b``, element by element (ONNX Equal)."""

    def evaluate(self, out: TensorSpec, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.equal(a, b)


@dataclass(frozen=True)
class NotEqual(Comparison):
    """``a != b``, element by element; for bool inputs the exclusive or."""

    def evaluate(self, out: TensorSpec, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.not_equal(a, b)


@dataclass(frozen=True)
class Less(Comparison):
    """``a < b`` (ONNX Less)."""

    def evaluate(self, out: TensorSpec, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.less(a, b)


@dataclass(frozen=True)
class LessEqual(Comparison):
    """``a <= b`` (ONNX LessOrEqual)."""

    def evaluate(self, out: TensorSpec, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.less_equal(a, b)


@dataclass(frozen=True)
class Greater(Comparison):
    """``a > b`` (ONNX Greater)."""

    def evaluate(self, out: TensorSpec, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.greater(a, b)


@dataclass(frozen=True)
class GreaterEqual(Comparison):
    """``a >= b`` (ONNX GreaterOrEqual)."""

    def evaluate(self, out: TensorSpec, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.greater_equal(a, b)


@dataclass(frozen=True)
class Where(Elementwise):
    """``a`` where the condition holds, else ``b`` (ONNX Where)."""

    input_names: ClassVar[tuple[str, ...]] = ("condition", "a", "b")

    def infer(self, condition: TensorSpec, a: TensorSpec, b: TensorSpec) -> TensorSpec:  # type: ignore[override]
        if condition.dtype is not dtypes.bool:
            raise DTypeError("the condition is not bool", hint="compare it, as in x > 0")
        return TensorSpec(broadcast_shapes(condition.shape, a.shape, b.shape), self.common_dtype(a, b))

    def gradient(self, node: Node, dy: Node) -> Gradient:
        condition, a, b = node.inputs
        return None, where(condition, dy, 0).sum_to_size(a.shape), where(condition, 0, dy).sum_to_size(b.shape)

    def evaluate(self, out: TensorSpec, condition: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.where(condition, a, b)


# The functions that users call.


@node_method
def less(a: Value, b: Value) -> Node:
    """``a < b`` as bool."""
    return apply(Less(), *promoted("less", a, b))


@node_method
def less_equal(a: Value, b: Value) -> Node:
    """``a <= b`` as bool."""
    return apply(LessEqual(), *promoted("less_equal", a, b))


@node_method
def greater(a: Value, b: Value) -> Node:
    """``a > b`` as bool."""
    return apply(Greater(), *promoted("greater", a, b))


@node_method
def greater_equal(a: Value, b: Value) -> Node:
    """``a >= b`` as bool."""
    return apply(GreaterEqual(), *promoted("greater_equal", a, b))


def equal(a: Value, b: Value) -> Node:
    """``a == b`` as bool, element by element (the operator ``==`` compares nodes, not values)."""
    return apply(Equal(), *promoted("equal", a, b))


def not_equal(a: Value, b: Value) -> Node:
    """``a != b`` as bool, element by element."""
    return apply(NotEqual(), *promoted("not_equal", a, b))


def where(condition: Value, a: Value, b: Value) -> Node:
    """Choose from `a` where the bool `condition` holds, else from `b`.

    Raises
    ------
    DTypeError
        If the condition is not bool, or a plain Python bool: ``x == 1`` compares nodes, not values, and gives one.
    """
    if isinstance(condition, bool):
        raise DTypeError(
            f"where: the condition is the plain value {condition}",
            expected="a node, or an array, of type bool",
            actual=repr(condition),
            where=str(caller()),
            hint="ops.equal(x, 1) compares values; the operator == compares nodes",
        )
    graph = next((value.graph for value in (condition, a, b) if isinstance(value, Node)), None) or current_graph()
    with graph:
        if not isinstance(condition, Node):
            condition = constant(condition)
        if not (isinstance(a, Node) or isinstance(b, Node)):  # one of two numbers is made strong, of its own type
            a, b = (a, constant(b)) if isinstance(a, bool | int | float) else (constant(a), b)
        return apply(Where(), condition, *promoted("where", a, b))
