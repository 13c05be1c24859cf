"""Ops that work on each element alone: arithmetic and functions of one number.

Binary ops broadcast as in NumPy. The functions promote element types first (as PyTorch does), so that each op sees
inputs of one type.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphnn.ops import dtypes
from graphnn.ops.broadcasting import Binary, Elementwise, Gradient, Value, cast, promoted
from graphnn.ops.comparison import equal, greater, greater_equal, less, less_equal, where
from graphnn.ops.context import apply
from graphnn.ops.errors import DTypeError
from graphnn.ops.node import Node, node_method
from graphnn.ops.spec import TensorSpec

# Arithmetic.


@dataclass(frozen=True)
class Add(Binary):
    """``a + b`` (ONNX Add)."""

    def gradient(self, node: Node, dy: Node) -> Gradient:
        a, b = node.inputs
        return dy.sum_to_size(a.shape), dy.sum_to_size(b.shape)

    def evaluate(self, out: TensorSpec, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.add(a, b)


@dataclass(frozen=True)
class Subtract(Binary):
    """``a - b`` (ONNX Sub)."""

    numbers_only: ClassVar[bool] = True

    def gradient(self, node: Node, dy: Node) -> Gradient:
        a, b = node.inputs
        return dy.sum_to_size(a.shape), negative(dy).sum_to_size(b.shape)

    def evaluate(self, out: TensorSpec, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.subtract(a, b)


@dataclass(frozen=True)
class Multiply(Binary):
    """``a · b`` (ONNX Mul)."""

    def gradient(self, node: Node, dy: Node) -> Gradient:
        a, b = node.inputs
        return (dy * b).sum_to_size(a.shape), (dy * a).sum_to_size(b.shape)

    def evaluate(self, out: TensorSpec, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.multiply(a, b)


@dataclass(frozen=True)
class Divide(Binary):
    """``a / b`` of real numbers (ONNX Div); `divide` turns integers into float32 first."""

    floating_only: ClassVar[bool] = True

    def gradient(self, node: Node, dy: Node) -> Gradient:
        a, b = node.inputs
        da = dy / b
        return da.sum_to_size(a.shape), negative(da * node).sum_to_size(b.shape)

    def evaluate(self, out: TensorSpec, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.divide(a, b)


@dataclass(frozen=True)
class Power(Binary):
    """``a ** b`` (ONNX Pow). The gradient by `b` counts only where ``a > 0``, as log(a) has no value elsewhere.

    Integers to a negative power give the real result rounded towards 0, as in PyTorch, and 0 for base 0.
    """

    numbers_only: ClassVar[bool] = True

    def gradient(self, node: Node, dy: Node) -> Gradient:
        a, b = node.inputs
        base = where(equal(b, 0), where(equal(a, 0), 1, a), a)  # 0 ** 0 is constant in its base: not 0 · 0 ** -1
        da = dy * b * power(base, b - 1)
        positive = greater(a, 0)
        db = where(positive, dy * node * log(where(positive, a, 1)), 0)
        return da.sum_to_size(a.shape), db.sum_to_size(b.shape)

    def evaluate(self, out: TensorSpec, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if out.dtype.is_floating:
            return np.power(a, b)
        positive = np.power(a, np.abs(b))
        return np.where((b >= 0) | (np.abs(a) == 1), positive, 0)


@dataclass(frozen=True)
class Maximum(Binary):
    """The larger of two (ONNX Max); NaN if either is. Equal inputs share the gradient equally."""

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return _share_gradient(node, dy, greater)

    def evaluate(self, out: TensorSpec, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.maximum(a, b)


@dataclass(frozen=True)
class Minimum(Binary):
    """The smaller of two (ONNX Min); NaN if either is. Equal inputs share the gradient equally."""

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return _share_gradient(node, dy, less)

    def evaluate(self, out: TensorSpec, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.minimum(a, b)


def _share_gradient(node: Node, dy: Node, wins: Callable[[Node, Node], Node]) -> Gradient:
    a, b = node.inputs
    half = where(equal(a, b), dy * 0.5, 0)
    return where(wins(a, b), dy, half).sum_to_size(a.shape), where(wins(b, a), dy, half).sum_to_size(b.shape)


# Functions of one number.


@dataclass(frozen=True)
class Negative(Elementwise):
    """``-x`` (ONNX Neg)."""

    numbers_only: ClassVar[bool] = True

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return (negative(dy),)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return np.negative(x)


@dataclass(frozen=True)
class Exp(Elementwise):
    """``e ** x`` (ONNX Exp)."""

    floating_only: ClassVar[bool] = True

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return (dy * node,)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return np.exp(x)


@dataclass(frozen=True)
class Log(Elementwise):
    """Natural logarithm (ONNX Log)."""

    floating_only: ClassVar[bool] = True

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return (dy / node.inputs[0],)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return np.log(x)


@dataclass(frozen=True)
class Sqrt(Elementwise):
    """Square root (ONNX Sqrt)."""

    floating_only: ClassVar[bool] = True

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return (dy * 0.5 / node,)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return np.sqrt(x)


@dataclass(frozen=True)
class Tanh(Elementwise):
    """Hyperbolic tangent (ONNX Tanh)."""

    floating_only: ClassVar[bool] = True

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return (dy * (1 - node * node),)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return np.tanh(x)


@dataclass(frozen=True)
class Sigmoid(Elementwise):
    """``1 / (1 + e ** -x)`` (ONNX Sigmoid), without overflow for large negative x."""

    floating_only: ClassVar[bool] = True

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return (dy * (node * (1 - node)),)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        small = np.exp(-np.abs(x))
        return np.where(x >= 0, 1 / (1 + small), small / (1 + small))

    def flops(self, out: TensorSpec, *inputs: TensorSpec) -> int:
        return 4 * out.elements(1)


@dataclass(frozen=True)
class Relu(Elementwise):
    """``max(x, 0)`` (ONNX Relu); NaN stays NaN. The gradient at 0 is 0."""

    numbers_only: ClassVar[bool] = True

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return (where(greater(node, 0), dy, 0),)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return np.maximum(x, np.zeros((), x.dtype))


@dataclass(frozen=True)
class Abs(Elementwise):
    """Absolute value (ONNX Abs). The gradient at 0 is 0."""

    numbers_only: ClassVar[bool] = True

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return (dy * sign(node.inputs[0]),)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return np.abs(x)


@dataclass(frozen=True)
class Sign(Elementwise):
    """-1, 0 or 1 (ONNX Sign); NaN stays NaN. The gradient is 0 everywhere."""

    numbers_only: ClassVar[bool] = True

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return (None,)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return np.sign(x)


@dataclass(frozen=True)
class Clip(Elementwise):
    """Limit to ``low … high`` (ONNX Clip); NaN stays NaN. The gradient is that of the input within, bounds included."""

    low: float | None
    high: float | None
    numbers_only: ClassVar[bool] = True

    def infer(self, *inputs: TensorSpec) -> TensorSpec:
        spec = super().infer(*inputs)
        limits = [limit for limit in (self.low, self.high) if limit is not None]
        if not spec.dtype.is_floating:
            bounds = np.iinfo(spec.dtype.storage)
            for limit in limits:
                if not bounds.min <= limit <= bounds.max:
                    raise DTypeError(
                        f"the limit {limit} is no {spec.dtype}", hint="leave it out, or cast the input first"
                    )
        return spec

    def gradient(self, node: Node, dy: Node) -> Gradient:
        x = node.inputs[0]
        dy = dy if self.low is None else where(greater_equal(x, self.low), dy, 0)
        return (dy if self.high is None else where(less_equal(x, self.high), dy, 0),)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        x = x if self.low is None else np.maximum(x, np.asarray(self.low, x.dtype))
        return x if self.high is None else np.minimum(x, np.asarray(self.high, x.dtype))


# The functions that users call.


def unary(op: Elementwise, x: Value) -> Node:
    """Apply an op of one number; where it takes real numbers alone, others become float32 first."""
    (x,) = promoted(op.label, x)
    if op.floating_only and not x.dtype.is_floating:
        x = cast(x, dtypes.float32)
    return apply(op, x)


@node_method
def add(a: Value, b: Value) -> Node:
    """``a + b``, element by element with broadcasting."""
    return apply(Add(), *promoted("add", a, b))


@node_method
def subtract(a: Value, b: Value) -> Node:
    """``a - b``, element by element with broadcasting."""
    return apply(Subtract(), *promoted("subtract", a, b))


@node_method
def multiply(a: Value, b: Value) -> Node:
    """``a · b``, element by element with broadcasting."""
    return apply(Multiply(), *promoted("multiply", a, b))


@node_method
def divide(a: Value, b: Value) -> Node:
    """``a / b`` as real numbers: integers become float32 first."""
    a, b = promoted("divide", a, b)
    if not a.dtype.is_floating:
        a, b = cast(a, dtypes.float32), cast(b, dtypes.float32)
    return apply(Divide(), a, b)


@node_method
def power(a: Value, b: Value) -> Node:
    """``a ** b``, element by element with broadcasting."""
    return apply(Power(), *promoted("power", a, b))


def maximum(a: Value, b: Value) -> Node:
    """Return the larger of two values, element by element."""
    return apply(Maximum(), *promoted("maximum", a, b))


def minimum(a: Value, b: Value) -> Node:
    """Return the smaller of two values, element by element."""
    return apply(Minimum(), *promoted("minimum", a, b))


def clip(x: Node, low: float | np.generic | None = None, high: float | np.generic | None = None) -> Node:
    """Limit values to ``low … high``, either of which may be None.

    An integer tensor with a fractional limit becomes float32 first.
    """
    low, high = (limit.item() if isinstance(limit, np.generic) else limit for limit in (low, high))
    if not x.dtype.is_floating and any(isinstance(limit, float) for limit in (low, high)):
        x = cast(x, dtypes.float32)
    return apply(Clip(low, high), x)


@node_method
def negative(x: Node) -> Node:
    """``-x``."""
    return unary(Negative(), x)


@node_method
def abs(x: Node) -> Node:  # noqa: A001 - NumPy's and PyTorch's name
    """Absolute value."""
    return unary(Abs(), x)


def exp(x: Node) -> Node:
    """``e ** x``."""
    return unary(Exp(), x)


def log(x: Node) -> Node:
    """Natural logarithm."""
    return unary(Log(), x)


def sqrt(x: Node) -> Node:
    """Square root."""
    return unary(Sqrt(), x)


def tanh(x: Node) -> Node:
    """Hyperbolic tangent."""
    return unary(Tanh(), x)


def sigmoid(x: Node) -> Node:
    """``1 / (1 + e ** -x)``."""
    return unary(Sigmoid(), x)


def relu(x: Node) -> Node:
    """``max(x, 0)``."""
    return unary(Relu(), x)


def sign(x: Node) -> Node:
    """-1, 0 or 1."""
    return unary(Sign(), x)
