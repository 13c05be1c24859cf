"""Sine and cosine, their relatives, the hyperbolic functions, and the inverses of all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphnn.ops import dtypes
from graphnn.ops.broadcasting import Binary, Elementwise, Gradient, Value, cast, promoted
from graphnn.ops.context import apply
from graphnn.ops.elementwise import negative, sqrt, unary
from graphnn.ops.node import Node
from graphnn.ops.spec import TensorSpec


@dataclass(frozen=True)
class Sin(Elementwise):
    """Sine of an angle in radians (ONNX Sin)."""

    floating_only: ClassVar[bool] = True

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return (dy * cos(node.inputs[0]),)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return np.sin(x)


@dataclass(frozen=True)
class Cos(Elementwise):
    """Cosine of an angle in radians (ONNX Cos)."""

    floating_only: ClassVar[bool] = True

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return (negative(dy * sin(node.inputs[0])),)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return np.cos(x)


@dataclass(frozen=True)
class Tan(Elementwise):
    """Tangent of an angle in radians (ONNX Tan)."""

    floating_only: ClassVar[bool] = True

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return (dy * (1 + node * node),)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return np.tan(x)


@dataclass(frozen=True)
class Asin(Elementwise):
    """The angle from -π/2 to π/2 with this sine (ONNX Asin); NaN outside of -1 … 1."""

    floating_only: ClassVar[bool] = True

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return (dy / _other_leg(node.inputs[0]),)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return np.arcsin(x)


@dataclass(frozen=True)
class Acos(Elementwise):
    """The angle from 0 to π with this cosine (ONNX Acos); NaN outside of -1 … 1."""

    floating_only: ClassVar[bool] = True

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return (negative(dy / _other_leg(node.inputs[0])),)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return np.arccos(x)


def _other_leg(x: Node) -> Node:
    """``sqrt(1 - x²)``, with all its digits for x near 1."""
    return sqrt((1 - x) * (1 + x))


@dataclass(frozen=True)
class Atan(Elementwise):
    """The angle from -π/2 to π/2 with this tangent (ONNX Atan)."""

    floating_only: ClassVar[bool] = True

    def gradient(self, node: Node, dy: Node) -> Gradient:
        x = node.inputs[0]
        return (dy / (1 + x * x),)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return np.arctan(x)


@dataclass(frozen=True)
class Atan2(Binary):
    """The angle of the point (x, y) from -π to π (PyTorch atan2)."""

    input_names: ClassVar[tuple[str, ...]] = ("y", "x")
    floating_only: ClassVar[bool] = True

    def gradient(self, node: Node, dy: Node) -> Gradient:
        y, x = node.inputs
        turned = dy / (x * x + y * y)
        return (turned * x).sum_to_size(y.shape), negative(turned * y).sum_to_size(x.shape)

    def evaluate(self, out: TensorSpec, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        return np.arctan2(y, x)


@dataclass(frozen=True)
class Sinh(Elementwise):
    """Hyperbolic sine (ONNX Sinh)."""

    floating_only: ClassVar[bool] = True

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return (dy * cosh(node.inputs[0]),)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return np.sinh(x)


@dataclass(frozen=True)
class Cosh(Elementwise):
    """Hyperbolic cosine (ONNX Cosh)."""

    floating_only: ClassVar[bool] = True

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return (dy * sinh(node.inputs[0]),)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return np.cosh(x)


@dataclass(frozen=True)
class Asinh(Elementwise):
    """Inverse of the hyperbolic sine (ONNX Asinh)."""

    floating_only: ClassVar[bool] = True

    def gradient(self, node: Node, dy: Node) -> Gradient:
        x = node.inputs[0]
        return (dy / sqrt(x * x + 1),)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return np.arcsinh(x)


@dataclass(frozen=True)
class Acosh(Elementwise):
    """Inverse of the hyperbolic cosine, 0 or more (ONNX Acosh); NaN below 1."""

    floating_only: ClassVar[bool] = True

    def gradient(self, node: Node, dy: Node) -> Gradient:
        x = node.inputs[0]
        return (dy / sqrt((x - 1) * (x + 1)),)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return np.arccosh(x)


@dataclass(frozen=True)
class Atanh(Elementwise):
    """Inverse of the hyperbolic tangent (ONNX Atanh); NaN outside of -1 … 1."""

    floating_only: ClassVar[bool] = True

    def gradient(self, node: Node, dy: Node) -> Gradient:
        x = node.inputs[0]
        return (dy / ((1 - x) * (1 + x)),)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return np.arctanh(x)


# The functions that users call.


def sin(x: Node) -> Node:
    """Sine of an angle in radians."""
    return unary(Sin(), x)


def cos(x: Node) -> Node:
    """Cosine of an angle in radians."""
    return unary(Cos(), x)


def tan(x: Node) -> Node:
    """Tangent of an angle in radians."""
    return unary(Tan(), x)


def asin(x: Node) -> Node:
    """Return the angle from -π/2 to π/2 with this sine; NaN outside of -1 … 1."""
    return unary(Asin(), x)


def acos(x: Node) -> Node:
    """Return the angle from 0 to π with this cosine; NaN outside of -1 … 1."""
    return unary(Acos(), x)


def atan(x: Node) -> Node:
    """Return the angle from -π/2 to π/2 with this tangent."""
    return unary(Atan(), x)


def atan2(y: Value, x: Value) -> Node:
    """Return the angle of the point (x, y), from -π to π: that of ``y / x`` in the right quadrant.

    Parameters
    ----------
    y, x : Node, array or number
        They broadcast; integers become float32. There is no gradient where both are 0: it is NaN.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     angle = gn.ops.atan2(gn.constant([1.0, -1.0]), gn.constant([0.0, -1.0]))
    >>> gn.Executor(angle, device="numpy").run({})
    array([ 1.5707964, -2.3561945], dtype=float32)
    """
    y, x = promoted("atan2", y, x)
    if not y.dtype.is_floating:
        y, x = cast(y, dtypes.float32), cast(x, dtypes.float32)
    return apply(Atan2(), y, x)


def sinh(x: Node) -> Node:
    """Hyperbolic sine, ``(e ** x - e ** -x) / 2``."""
    return unary(Sinh(), x)


def cosh(x: Node) -> Node:
    """Hyperbolic cosine, ``(e ** x + e ** -x) / 2``."""
    return unary(Cosh(), x)


def asinh(x: Node) -> Node:
    """Inverse of the hyperbolic sine."""
    return unary(Asinh(), x)


def acosh(x: Node) -> Node:
    """Inverse of the hyperbolic cosine, 0 or more; NaN below 1."""
    return unary(Acosh(), x)


def atanh(x: Node) -> Node:
    """Inverse of the hyperbolic tangent; NaN outside of -1 … 1."""
    return unary(Atanh(), x)
