"""Losses: how far predictions are from what was wanted, as a number per example or over all examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from graphnn.ops.broadcasting import Gradient, Value, promoted
from graphnn.ops.context import apply
from graphnn.ops.errors import DTypeError, GraphError, ShapeError
from graphnn.ops.index import one_hot
from graphnn.ops.node import Node
from graphnn.ops.norm import log_probabilities, softmax
from graphnn.ops.op import Op
from graphnn.ops.shape import located
from graphnn.ops.source import caller
from graphnn.ops.spec import Dim, Extent, TensorSpec, format_shape

LossReduction = Literal["mean", "sum", "none"]


@dataclass(frozen=True)
class CrossEntropy(Op):
    """``log(sum(exp(logits))) - logits[label]`` over the last axis (ONNX SoftmaxCrossEntropyLoss, reduction none)."""

    input_names: ClassVar[tuple[str, ...]] = ("logits", "labels")

    def infer(self, logits: TensorSpec, labels: TensorSpec) -> TensorSpec:
        if not logits.dtype.is_floating:
            raise DTypeError(
                "the logits are not of a floating type",
                expected="float16, bfloat16, float32 or float64",
                hint="convert them with .astype('float32')",
            )
        if labels.dtype.kind != "integer":
            raise DTypeError(
                "the labels are not integers",
                expected="class numbers as uint8, int32 or int64",
                hint="convert labels with .astype('int64'); for probabilities: "
                "-(probabilities * ops.log_softmax(logits)).sum(-1).mean()",
            )
        _classes(logits)
        if labels.shape != logits.shape[:-1]:
            raise ShapeError(
                "the labels do not fit the logits",
                expected=f"labels of shape {format_shape(logits.shape[:-1])}: one class number for each row of logits",
                hint="labels.argmax(-1) turns one-hot labels into class numbers; reshape drops an axis of size 1",
            )
        return labels.with_dtype(logits.dtype)

    def gradient(self, node: Node, dy: Node) -> Gradient:
        logits, labels = node.inputs
        wanted = one_hot(labels, _classes(logits.spec), logits.dtype)
        return (softmax(logits) - wanted) * dy.expand_dims(-1), None

    def evaluate(self, out: TensorSpec, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        if np.any(labels < 0):  # NumPy would count it from the last class
            raise IndexError(f"label {labels.min()} is negative")
        chosen = np.expand_dims(labels.astype(np.int64), -1)
        # Not the negative, which would make the loss of a certain and right prediction -0.0.
        return 0 - np.take_along_axis(log_probabilities(logits, -1), chosen, -1).squeeze(-1)

    def flops(self, out: TensorSpec, *inputs: TensorSpec) -> int:
        # A logit is compared with the maximum, shifted, exponentiated and summed; an example takes log and subtracts.
        return 4 * inputs[0].elements(1) + 2 * out.elements(1)

    def index_bounds(self, *inputs: TensorSpec) -> Mapping[int, tuple[Extent, Extent]]:
        return {1: (0, _classes(inputs[0]))}


def _classes(logits: TensorSpec) -> int:
    classes = logits.shape[-1] if logits.rank else 0
    if isinstance(classes, Dim) or classes == 0:
        raise ShapeError(
            "the logits have no axis of classes",
            expected="a last axis with the number of classes",
            hint="logits are of shape (N, classes)",
        )
    return classes


def cross_entropy(logits: Node, labels: Node, reduction: LossReduction = "mean") -> Node:
    """Return the cross-entropy of class numbers under the softmax of logits.

    For one example, ``log(sum(exp(logits))) - logits[label]``, computed without overflow.

    Parameters
    ----------
    logits : Node
        (N, C), or (C,) for a single example; of a floating type. As in PyTorch, the C classes are in axis 1 where
        there are more axes: (N, C, d1, d2, …), one example at each place. (The op has them last; a transpose is put
        before it.)
    labels : Node
        Integers from 0 to C - 1: the shape of `logits` without the axis of classes.
    reduction : {"mean", "sum", "none"}
        Mean or sum over all examples and places, or one loss for each, in the shape of `labels`.

    Raises
    ------
    ShapeError, DTypeError
        If the labels don't fit the logits or are no integers; GraphError for another reduction.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     logits = gn.constant([[1000.0, 0.0], [1000.0, 0.0]])
    ...     losses = gn.ops.cross_entropy(logits, gn.constant([0, 1]), reduction="none")
    >>> gn.Executor(losses, device="numpy").run({})
    array([   0., 1000.], dtype=float32)
    """
    if logits.rank > 2:
        logits = logits.transpose(0, *range(2, logits.rank), 1)
    return _reduced(apply(CrossEntropy(), logits, labels), reduction)


def mse_loss(input: Value, target: Value, reduction: LossReduction = "mean") -> Node:  # noqa: A002 - PyTorch's name
    """Return the mean squared error ``(input - target) ** 2``.

    Parameters
    ----------
    input, target : Node or array
        Of equal shapes; they do not broadcast, since a target of shape (N,) beside predictions of shape (N, 1) would
        silently give N · N differences.
    reduction : {"mean", "sum", "none"}
        Mean or sum over all elements, or the squares themselves.

    Raises
    ------
    ShapeError, DTypeError
        If the shapes differ or neither is of a floating type; GraphError for another reduction.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     loss = gn.ops.mse_loss(gn.constant([1.0, 2.0]), gn.constant([1.0, 4.0]))
    >>> gn.Executor(loss, device="numpy").run({})
    array(2., dtype=float32)
    """
    predicted, wanted = promoted("mse_loss", input, target)
    with located("mse_loss", predicted, wanted):
        if predicted.shape != wanted.shape:
            raise ShapeError(
                "input and target differ in shape",
                expected="equal shapes",
                hint="reshape one of them, or broadcast_to if repetition is meant",
            )
        if not predicted.dtype.is_floating:
            raise DTypeError(
                "neither input nor target is of a floating type",
                expected="float16, bfloat16, float32 or float64",
                hint="convert one of them with .astype('float32')",
            )
    difference = predicted - wanted
    return _reduced(difference * difference, reduction)


def _reduced(losses: Node, reduction: LossReduction) -> Node:
    if reduction == "mean":
        return losses.mean()
    if reduction == "sum":
        return losses.sum()
    if reduction == "none":
        return losses
    raise GraphError(f"there is no reduction {reduction!r}", expected="'mean', 'sum' or 'none'", where=str(caller()))
