"""Functions that plain arithmetic would compute with a loss of digits: erf, expm1, log1p, softplus."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphnn.ops.broadcasting import Elementwise, Gradient
from graphnn.ops.elementwise import exp, negative, sigmoid, unary
from graphnn.ops.node import Node
from graphnn.ops.spec import TensorSpec


@dataclass(frozen=True)
class Erf(Elementwise):
    """The error function, ``2 / √π · ∫ exp(-t²) dt`` from 0 to x (ONNX Erf)."""

    floating_only: ClassVar[bool] = True

    def gradient(self, node: Node, dy: Node) -> Gradient:
        x = node.inputs[0]
        return (dy * (exp(negative(x * x)) * (2 / math.sqrt(math.pi))),)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return np.vectorize(math.erf, otypes=[np.float64])(x)  # NumPy has none

    def flops(self, out: TensorSpec, *inputs: TensorSpec) -> int:
        return 20 * out.elements(1)


@dataclass(frozen=True)
class Expm1(Elementwise):
    """``e ** x - 1`` (PyTorch expm1), with all its digits for x near 0."""

    floating_only: ClassVar[bool] = True

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return (dy * (node + 1),)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return np.expm1(x)


@dataclass(frozen=True)
class Log1p(Elementwise):
    """``log(1 + x)`` (PyTorch log1p), with all its digits for x near 0."""

    floating_only: ClassVar[bool] = True

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return (dy / (node.inputs[0] + 1),)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return np.log1p(x)


@dataclass(frozen=True)
class Softplus(Elementwise):
    """``log(1 + e ** x)`` (ONNX Softplus), without overflow.

    An op, since the stable formula ``max(x, 0) + log1p(exp(-|x|))`` has a kink at 0 in each part: derivatives of the
    parts would not add up to those of the whole there.
    """

    floating_only: ClassVar[bool] = True

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return (dy * sigmoid(node.inputs[0]),)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return np.logaddexp(x, np.zeros((), x.dtype))

    def flops(self, out: TensorSpec, *inputs: TensorSpec) -> int:
        return 4 * out.elements(1)


# The functions that users call; softplus is with the other activations.


def erf(x: Node) -> Node:
    """Error function, ``2 / √π · ∫ exp(-t²) dt`` from 0 to x.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     y = gn.ops.erf(gn.constant([0.0, 1.0, -10.0]))
    >>> gn.Executor(y, device="numpy").run({}).round(6)
    array([ 0.      ,  0.842701, -1.      ], dtype=float32)
    """
    return unary(Erf(), x)


def expm1(x: Node) -> Node:
    """``e ** x - 1``, with all its digits for x near 0."""
    return unary(Expm1(), x)


def log1p(x: Node) -> Node:
    """``log(1 + x)``, with all its digits for x near 0."""
    return unary(Log1p(), x)
