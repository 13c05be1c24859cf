"""Logic on bool values, element by element; the operators ``& | ^ ~`` of nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphnn.ops import dtypes
from graphnn.ops.broadcasting import Elementwise, Gradient, Value
from graphnn.ops.context import apply, current_graph
from graphnn.ops.dtypes import DType
from graphnn.ops.errors import DTypeError
from graphnn.ops.node import Node, node_method
from graphnn.ops.spec import TensorSpec
from graphnn.ops.state import constant


@dataclass(frozen=True)
class Logical(Elementwise):
    """Base of the ops from bool to bool."""

    input_names: ClassVar[tuple[str, ...]] = ("a", "b")

    def common_dtype(self, *inputs: TensorSpec) -> DType:
        if any(spec.dtype is not dtypes.bool for spec in inputs):
            raise DTypeError(
                "the input is not bool" if len(inputs) == 1 else "an input is not bool",
                expected="bool",
                hint="compare it, as in x > 0, or convert it with .astype('bool')",
            )
        return dtypes.bool

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return (None,) * len(node.inputs)


@dataclass(frozen=True)
class LogicalAnd(Logical):
    """Whether both hold (ONNX And)."""

    def evaluate(self, out: TensorSpec, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.logical_and(a, b)


@dataclass(frozen=True)
class LogicalOr(Logical):
    """Whether one or both hold (ONNX Or)."""

    def evaluate(self, out: TensorSpec, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.logical_or(a, b)


@dataclass(frozen=True)
class LogicalXor(Logical):
    """Whether one holds and the other does not (ONNX Xor)."""

    def evaluate(self, out: TensorSpec, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.logical_xor(a, b)


@dataclass(frozen=True)
class LogicalNot(Logical):
    """Whether it does not hold (ONNX Not)."""

    input_names: ClassVar[tuple[str, ...]] = ("x",)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return np.logical_not(x)


def _logical(op: Logical, *values: Value) -> Node:
    # No promotion: it would hide from the error which of the inputs is not bool.
    graph = next((value.graph for value in values if isinstance(value, Node)), None) or current_graph()
    with graph:
        return apply(op, *(value if isinstance(value, Node) else constant(value) for value in values))


# The functions that users call.


@node_method
def logical_and(a: Value, b: Value) -> Node:
    """Return whether both hold, ``a & b``, element by element with broadcasting.

    Parameters
    ----------
    a, b : Node, array or bool
        Of type bool.

    Raises
    ------
    DTypeError
        If one of them is not bool: numbers have no truth value here before they are compared.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     x = gn.constant([-2.0, 0.5, 3.0])
    ...     inside = gn.ops.logical_and(x > -1, x < 1)
    >>> gn.Executor(inside, device="numpy").run({})
    array([False,  True, False])
    """
    return _logical(LogicalAnd(), a, b)


@node_method
def logical_or(a: Value, b: Value) -> Node:
    """Return whether one or both hold, ``a | b``; see `logical_and`."""
    return _logical(LogicalOr(), a, b)


@node_method
def logical_xor(a: Value, b: Value) -> Node:
    """Return whether one holds and the other does not, ``a ^ b``; see `logical_and`."""
    return _logical(LogicalXor(), a, b)


@node_method
def logical_not(x: Value) -> Node:
    """Return whether it does not hold, ``~x``; see `logical_and`."""
    return _logical(LogicalNot(), x)
