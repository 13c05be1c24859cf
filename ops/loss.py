"""Losses of scores for classes: how far they are from the classes that were right, for each example or over all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from graphnn.ops import dtypes
from graphnn.ops.broadcasting import Gradient, Value, cast, promoted
from graphnn.ops.comparison import not_equal, where
from graphnn.ops.context import apply
from graphnn.ops.elementwise import negative
from graphnn.ops.errors import DTypeError, GraphError, ShapeError
from graphnn.ops.index import one_hot
from graphnn.ops.node import Node
from graphnn.ops.norm import log_probabilities, log_softmax, softmax
from graphnn.ops.op import Op
from graphnn.ops.shape import located
from graphnn.ops.source import caller
from graphnn.ops.spec import Dim, Extent, TensorSpec, format_shape
from graphnn.ops.state import constant

LossReduction = Literal["mean", "sum", "none"]


@dataclass(frozen=True)
class ClassLoss(Op):
    """Base of the losses of rows of scores, the classes in the last axis, and the number of the right class of each."""

    input_names: ClassVar[tuple[str, ...]] = ("logits", "labels")

    def infer(self, scores: TensorSpec, labels: TensorSpec) -> TensorSpec:
        name = self.input_names[0]
        if not scores.dtype.is_floating:
            raise DTypeError(
                f"the {name} are not of a floating type",
                expected="float16, bfloat16, float32 or float64",
                hint="convert them with .astype('float32')",
            )
        if labels.dtype.kind != "integer":
            raise DTypeError(
                "the labels are not integers",
                expected="class numbers as uint8, int32 or int64",
                hint="convert labels with .astype('int64'); probabilities have the shape of the logits",
            )
        _classes(scores, name)
        if labels.shape != scores.shape[:-1]:
            raise ShapeError(
                f"the labels do not fit the {name}",
                expected=f"labels of shape {format_shape(scores.shape[:-1])}: one class number for each row of {name}",
                hint="labels.argmax(-1) turns one-hot labels into class numbers; reshape drops an axis of size 1",
            )
        return labels.with_dtype(scores.dtype)

    def index_bounds(self, *inputs: TensorSpec) -> Mapping[int, tuple[Extent, Extent]]:
        return {1: (0, _classes(inputs[0]))}


@dataclass(frozen=True)
class CrossEntropy(ClassLoss):
    """``log(sum(exp(logits))) - logits[label]`` over the last axis (ONNX SoftmaxCrossEntropyLoss, reduction none)."""

    def gradient(self, node: Node, dy: Node) -> Gradient:
        logits, labels = node.inputs
        wanted = one_hot(labels, _classes(logits.spec), logits.dtype)
        return (softmax(logits) - wanted) * dy.expand_dims(-1), None

    def evaluate(self, out: TensorSpec, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        # Not the negative, which would make the loss of a certain and right prediction -0.0.
        return 0 - _at_labels(log_probabilities(logits, -1), labels)

    def flops(self, out: TensorSpec, *inputs: TensorSpec) -> int:
        # A logit is compared with the maximum, shifted, exponentiated and summed; an example takes log and subtracts.
        return 4 * inputs[0].elements(1) + 2 * out.elements(1)


@dataclass(frozen=True)
class NegativeLogLikelihood(ClassLoss):
    """``-log_probabilities[label]`` over the last axis (ONNX NegativeLogLikelihoodLoss, reduction none)."""

    input_names: ClassVar[tuple[str, ...]] = ("log_probabilities", "labels")

    def gradient(self, node: Node, dy: Node) -> Gradient:
        scores, labels = node.inputs
        return negative(one_hot(labels, _classes(scores.spec), scores.dtype) * dy.expand_dims(-1)), None

    def evaluate(self, out: TensorSpec, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return -_at_labels(scores, labels)

    def flops(self, out: TensorSpec, *inputs: TensorSpec) -> int:
        return out.elements(1)


def _at_labels(rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the number of each row that its label names."""
    if np.any(labels < 0):  # NumPy would count it from the last class
        raise IndexError(f"label {labels.min()} is negative")
    return np.take_along_axis(rows, np.expand_dims(labels.astype(np.int64), -1), -1).squeeze(-1)


def _classes(scores: TensorSpec, name: str = "logits") -> int:
    classes = scores.shape[-1] if scores.rank else 0
    if isinstance(classes, Dim) or classes == 0:
        raise ShapeError(
            f"the {name} have no axis of classes",
            expected="a last axis with the number of classes",
            hint=f"{name} are of shape (N, classes)",
        )
    return classes


# The functions that users call.


def cross_entropy(
    logits: Node,
    labels: Node,
    reduction: LossReduction = "mean",
    *,
    weight: Value | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
) -> Node:
    """Return the cross-entropy of class numbers, or of probabilities, under the softmax of logits.

    For one example, ``log(sum(exp(logits))) - logits[label]``, computed without overflow; for probabilities q it is
    ``-Σ q · log(softmax(logits))``.

    Parameters
    ----------
    logits : Node
        (N, C), or (C,) for a single example; of a floating type. As in PyTorch, the C classes are in axis 1 where
        there are more axes: (N, C, d1, d2, …), one example at each place. (The op has them last; a transpose is put
        before it.)
    labels : Node
        Integers from 0 to C - 1, in the shape of `logits` without the axis of classes; or probabilities, of a floating
        type and in the shape of `logits`.
    reduction : {"mean", "sum", "none"}
        Mean or sum over all examples and places, or one loss for each. As in PyTorch, the mean of class numbers is
        divided by the sum of their weights, that of probabilities by the number of examples and places.
    weight : Node or array of shape (C,), optional
        By what the loss of each class is multiplied.
    ignore_index : int, optional
        The label, which need not be a class, of examples that do not count; -100 in PyTorch. A mean over nothing
        is NaN.
    label_smoothing : float
        Share of the wanted probability that is spread over all classes (Szegedy et al., 2016), from 0 to 1.

    Raises
    ------
    ShapeError, DTypeError
        If the labels or weights don't fit the logits; GraphError for another reduction, a share outside of 0 to 1, or
        `ignore_index` beside probabilities.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     logits = gn.constant([[1000.0, 0.0], [1000.0, 0.0]])
    ...     losses = gn.ops.cross_entropy(logits, gn.constant([0, 1]), reduction="none")
    ...     counted = gn.ops.cross_entropy(logits, gn.constant([-100, 1]), ignore_index=-100)
    >>> gn.Executor([losses, counted], device="numpy").run({})
    [array([   0., 1000.], dtype=float32), array(1000., dtype=float32)]
    """
    if not 0 <= label_smoothing <= 1:
        raise GraphError(
            f"cross_entropy: label_smoothing is {label_smoothing}",
            expected="a share from 0 to 1",
            where=str(caller()),
            hint="0.1 is common",
        )
    if labels.dtype.is_floating and labels.shape == logits.shape:
        if ignore_index is not None:
            raise GraphError(
                "cross_entropy: ignore_index has no meaning for probabilities",
                expected="class numbers as labels, or no ignore_index",
                where=str(caller()),
                hint="give the examples that do not count a weight of 0: (losses * counted).sum() / counted.sum()",
            )
        return reduced(_soft_losses(logits, labels, weight, label_smoothing), None, reduction)
    rows = _classes_last(logits)
    return reduced(*_class_losses(CrossEntropy(), rows, labels, weight, ignore_index, label_smoothing), reduction)


def nll_loss(
    log_probabilities: Node,
    labels: Node,
    reduction: LossReduction = "mean",
    *,
    weight: Value | None = None,
    ignore_index: int | None = None,
) -> Node:
    """Return the negative log-likelihood of class numbers: for one example, ``-log_probabilities[label]``.

    ``nll_loss(log_softmax(logits, 1), labels)`` is ``cross_entropy(logits, labels)``, which takes less time.

    Parameters
    ----------
    log_probabilities : Node
        Such as `log_softmax` gives; in the shapes of the logits of `cross_entropy`.
    labels, reduction, weight, ignore_index
        As in `cross_entropy`, and so are the errors; the labels are class numbers.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     loss = gn.ops.nll_loss(gn.constant([[-0.5, -1.0], [-2.0, -0.25]]), gn.constant([0, 1]), "sum")
    >>> gn.Executor(loss, device="numpy").run({})
    array(0.75, dtype=float32)
    """
    rows = _classes_last(log_probabilities)
    return reduced(*_class_losses(NegativeLogLikelihood(), rows, labels, weight, ignore_index), reduction)


def reduced(losses: Node, weights: Node | None, reduction: LossReduction) -> Node:
    """Return the mean, the sum or the losses themselves; a mean is divided by the sum of the weights, if there are any.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     mean = reduced(gn.constant([1.0, 0.0, 2.0]), gn.constant([1.0, 0.0, 1.0]), "mean")
    >>> gn.Executor(mean, device="numpy").run({})
    array(1.5, dtype=float32)
    """
    if reduction == "mean" and weights is not None:
        wide = dtypes.promote(losses.dtype, dtypes.float32)  # sums of halves overflow
        return (losses.astype(wide).sum() / weights.astype(wide).sum()).astype(losses.dtype)
    if reduction == "mean":
        return losses.mean()
    if reduction == "sum":
        return losses.sum()
    if reduction == "none":
        return losses
    raise GraphError(
        f"there is no reduction {reduction!r}",
        expected="'mean', 'sum' or 'none'",
        where=str(caller()),
        hint="'mean' is the default",
    )


def _classes_last(scores: Node) -> Node:
    return scores.transpose(0, *range(2, scores.rank), 1) if scores.rank > 2 else scores


def _class_losses(
    op: ClassLoss,
    rows: Node,
    labels: Node,
    weight: Value | None,
    ignore_index: int | None,
    label_smoothing: float = 0.0,
) -> tuple[Node, Node | None]:
    """Return the weighted loss of each row, and the weights; None where all rows count the same."""
    counted = None
    if ignore_index is not None and labels.dtype.kind == "integer":
        labels, counted = _counted(labels, ignore_index)
    losses = apply(op, rows, labels)
    factors = None if weight is None else _class_weights(op.label, weight, rows)
    weights = None if factors is None else where(one_hot(labels, _classes(rows.spec), "bool"), factors, 0).sum(-1)
    if weights is not None:
        losses = losses * weights
    if label_smoothing:
        spread = _weighted(negative(log_softmax(rows)), factors).sum(-1)
        losses = (1 - label_smoothing) * losses + label_smoothing / _classes(rows.spec) * spread
    if counted is not None:
        weights = where(counted, weights, 0) if weights is not None else counted.astype(losses.dtype)
        losses = where(counted, losses, 0)
    return losses, weights


def _counted(labels: Node, ignore_index: int) -> tuple[Node, Node]:
    """Return labels that are a class where they are to be ignored, and where they are not.

    `graphnn.compiler.index_checks` knows this form, so that labels are checked in the feed even so.
    """
    if not np.iinfo(labels.dtype.storage).min <= ignore_index <= np.iinfo(labels.dtype.storage).max:
        labels = labels.astype("int64")
    counted = not_equal(labels, ignore_index)
    return where(counted, labels, 0), counted


def _class_weights(label: str, weight: Value, rows: Node) -> Node:
    with rows.graph:
        factors = cast(weight, rows.dtype) if isinstance(weight, Node) else constant(weight, rows.dtype)
    with located(label, rows, factors):
        if factors.shape != rows.shape[-1:]:
            raise ShapeError(
                "the class weights do not fit the classes",
                expected=f"a weight of shape {format_shape(rows.shape[-1:])}: a number for each class",
                hint="np.ones(classes) weighs all classes alike",
            )
    return factors


def _weighted(values: Node, factors: Node | None) -> Node:
    return values if factors is None else values * factors


def _soft_losses(logits: Node, probabilities: Node, weight: Value | None, label_smoothing: float) -> Node:
    """Return the cross-entropy of each row of probabilities."""
    rows, wanted = map(_classes_last, promoted("cross_entropy", logits, probabilities))
    classes = _classes(rows.spec)
    if label_smoothing:
        wanted = (1 - label_smoothing) * wanted + label_smoothing / classes
    if weight is not None:
        wanted = wanted * _class_weights("cross_entropy", weight, rows)
    return negative((wanted * log_softmax(rows)).sum(-1))
