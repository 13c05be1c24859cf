"""Normalisation of a vector of numbers to probabilities: softmax and its logarithm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphnn.ops.broadcasting import Gradient, require_floating
from graphnn.ops.context import apply
from graphnn.ops.elementwise import exp
from graphnn.ops.node import Node
from graphnn.ops.op import Op
from graphnn.ops.shape import located, normalize_axis
from graphnn.ops.spec import TensorSpec


@dataclass(frozen=True)
class Normalization(Op):
    """Base of the ops that relate each element to all elements along one axis."""

    axis: int

    def infer(self, x: TensorSpec) -> TensorSpec:
        require_floating(x)
        normalize_axis(self.axis, x.rank)
        return x

    def flops(self, out: TensorSpec, *inputs: TensorSpec) -> int:
        # An element is compared with the maximum, shifted, exponentiated, summed and scaled (or shifted again).
        return 5 * out.elements(1)


@dataclass(frozen=True)
class Softmax(Normalization):
    """``exp(x) / sum(exp(x))`` along an axis (ONNX Softmax)."""

    def gradient(self, node: Node, dy: Node) -> Gradient:
        weighted = dy * node
        return (weighted - node * weighted.sum(self.axis, keepdims=True),)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        exponentials = np.exp(_below_maximum(x, self.axis))
        return exponentials / np.sum(exponentials, self.axis, keepdims=True)


@dataclass(frozen=True)
class LogSoftmax(Normalization):
    """``x - log(sum(exp(x)))`` along an axis (ONNX LogSoftmax)."""

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return (dy - exp(node) * dy.sum(self.axis, keepdims=True),)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return log_probabilities(x, self.axis)


def log_probabilities(x: np.ndarray, axis: int) -> np.ndarray:
    """Return ``x - log(sum(exp(x)))`` of an array; a float16 array gives float32.

    Examples
    --------
    >>> log_probabilities(np.array([1000.0, 1000.0]), axis=0)
    array([-0.69314718, -0.69314718])
    """
    shifted = _below_maximum(x, axis)
    return shifted - np.log(np.sum(np.exp(shifted), axis, keepdims=True))


def _below_maximum(x: np.ndarray, axis: int) -> np.ndarray:
    # Exponentials of numbers up to 0 don't overflow. Halves are summed in float32. `initial` lets an axis be empty.
    wide = x.astype(np.result_type(x.dtype, np.float32), copy=False)
    return wide - np.max(wide, axis, keepdims=True, initial=-np.inf)


def softmax(x: Node, axis: int = -1) -> Node:
    """Turn numbers into probabilities: ``exp(x) / sum(exp(x))`` along an axis.

    The maximum is subtracted first, so that large numbers don't overflow. Where a NaN, an infinity or nothing but
    minus infinity stands along the axis, all results are NaN, as in PyTorch.

    Parameters
    ----------
    x : Node
        Any shape with at least one axis, of a floating type.
    axis : int
        The axis along which the results sum to 1.

    Raises
    ------
    ShapeError
        If `x` has no such axis; DTypeError if it is not of a floating type.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     y = gn.ops.softmax(gn.constant([[0.0, 0.0], [1000.0, 0.0]]))
    >>> gn.Executor(y, device="numpy").run({})
    array([[0.5, 0.5],
           [1. , 0. ]], dtype=float32)
    """
    with located("softmax", x):
        axis = normalize_axis(axis, x.rank)
    return apply(Softmax(axis), x)


def log_softmax(x: Node, axis: int = -1) -> Node:
    """Return the logarithm of `softmax`, ``x - log(sum(exp(x)))``, which stays finite where probabilities vanish.

    Parameters
    ----------
    x : Node
        Any shape with at least one axis, of a floating type.
    axis : int
        The axis along which the exponentials of the results sum to 1.

    Raises
    ------
    ShapeError
        If `x` has no such axis; DTypeError if it is not of a floating type.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     y = gn.ops.log_softmax(gn.constant([1000.0, 0.0]))
    >>> gn.Executor(y, device="numpy").run({})
    array([    0., -1000.], dtype=float32)
    """
    with located("log_softmax", x):
        axis = normalize_axis(axis, x.rank)
    return apply(LogSoftmax(axis), x)
