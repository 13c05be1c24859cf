"""Rounding to whole numbers, and division with a remainder, as in PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphnn.ops.broadcasting import Binary, Elementwise, Gradient, Value, promoted
from graphnn.ops.context import apply
from graphnn.ops.elementwise import negative
from graphnn.ops.node import Node, node_method
from graphnn.ops.spec import TensorSpec


@dataclass(frozen=True)
class Rounding(Elementwise):
    """Base of the ops from real to whole numbers. Their gradient is 0 everywhere."""

    floating_only: ClassVar[bool] = True

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return (None,)


@dataclass(frozen=True)
class Floor(Rounding):
    """The largest whole number that is not above x (ONNX Floor)."""

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return np.floor(x)


@dataclass(frozen=True)
class Ceil(Rounding):
    """The smallest whole number that is not below x (ONNX Ceil)."""

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return np.ceil(x)


@dataclass(frozen=True)
class Round(Rounding):
    """The nearest whole number, of two the even one (ONNX Round)."""

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return np.rint(x)


@dataclass(frozen=True)
class Trunc(Rounding):
    """x without its fraction (PyTorch trunc)."""

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return np.trunc(x)


@dataclass(frozen=True)
class FloorDivide(Binary):
    """``a / b`` rounded down (PyTorch floor_divide). Integers divided by 0 give 0. The gradient is 0 everywhere."""

    numbers_only: ClassVar[bool] = True

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return None, None

    def evaluate(self, out: TensorSpec, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.floor_divide(a, b)


@dataclass(frozen=True)
class Remainder(Binary):
    """What ``a / b`` rounded down leaves, with the sign of b (ONNX Mod, fmod=0). Integers divided by 0 leave 0."""

    numbers_only: ClassVar[bool] = True

    def gradient(self, node: Node, dy: Node) -> Gradient:
        a, b = node.inputs
        return dy.sum_to_size(a.shape), negative(dy * floor_divide(a, b)).sum_to_size(b.shape)

    def evaluate(self, out: TensorSpec, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.remainder(a, b)


@dataclass(frozen=True)
class Fmod(Binary):
    """What ``a / b`` without its fraction leaves, with the sign of a (ONNX Mod, fmod=1); 0 for integers by 0."""

    numbers_only: ClassVar[bool] = True

    def gradient(self, node: Node, dy: Node) -> Gradient:
        a, b = node.inputs
        return dy.sum_to_size(a.shape), negative(dy * round((a - node) / b)).sum_to_size(b.shape)

    def evaluate(self, out: TensorSpec, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.fmod(a, b)


# The functions that users call.


def _rounded(op: Rounding, x: Node) -> Node:
    (x,) = promoted(op.label, x)
    return x if x.dtype.kind == "integer" else apply(op, x)


def floor(x: Node) -> Node:
    """Round down; integers are themselves. The gradient is 0."""
    return _rounded(Floor(), x)


def ceil(x: Node) -> Node:
    """Round up; integers are themselves. The gradient is 0."""
    return _rounded(Ceil(), x)


def round(x: Node) -> Node:  # noqa: A001 - NumPy's and PyTorch's name
    """Round to the nearest whole number, halves to the even one; integers are themselves. The gradient is 0.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     y = gn.ops.round(gn.constant([0.5, 1.5, 2.5, -0.7]))
    >>> gn.Executor(y, device="numpy").run({})
    array([ 0.,  2.,  2., -1.], dtype=float32)
    """
    return _rounded(Round(), x)


def trunc(x: Node) -> Node:
    """Drop the fraction; integers are themselves. The gradient is 0."""
    return _rounded(Trunc(), x)


@node_method
def floor_divide(a: Value, b: Value) -> Node:
    """``a // b``: the quotient rounded down. The gradient is 0.

    Parameters
    ----------
    a, b : Node, array or number
        They broadcast. Real numbers divided by 0 give infinities or NaN; integers give 0, as in NumPy.

    Raises
    ------
    DTypeError
        If both are bool.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     a = gn.constant([7, -7])
    ...     quotient, rest = a // 3, a % 3
    >>> gn.Executor([quotient, rest], device="numpy").run({})
    [array([ 2, -3]), array([1, 2])]
    """
    return apply(FloorDivide(), *promoted("floor_divide", a, b))


@node_method
def remainder(a: Value, b: Value) -> Node:
    """``a % b = a - (a // b) · b``, with the sign of `b`, as Python's; see `floor_divide`.

    ``a // b`` counts as a constant in the gradient.
    """
    return apply(Remainder(), *promoted("remainder", a, b))


def fmod(a: Value, b: Value) -> Node:
    """``a - trunc(a / b) · b``, with the sign of `a`, as C's; see `floor_divide`.

    ``trunc(a / b)`` counts as a constant in the gradient.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     rest = gn.ops.fmod(gn.constant([7, -7]), 3)
    >>> gn.Executor(rest, device="numpy").run({})
    array([ 1, -1])
    """
    return apply(Fmod(), *promoted("fmod", a, b))
