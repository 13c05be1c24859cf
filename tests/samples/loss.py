"""Samples of losses of class numbers and probabilities; those of numbers are in elementwise_loss.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from graphnn.ops.elementwise import Multiply
from graphnn.ops.loss import CrossEntropy, LossReduction, NegativeLogLikelihood, cross_entropy, nll_loss
from graphnn.ops.node import Node
from graphnn.ops.op import Op
from op_samples import Input, OpSample
from sample_values import positive

IGNORED = -100

Options = Mapping[str, Any]


def cross_entropies(
    logits: np.ndarray, labels: np.ndarray, weight: np.ndarray, smoothing: float, ignored: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the loss of each example and what it counts, one example after the other, in float64."""
    losses, counts = np.zeros(labels.shape), np.zeros(labels.shape)
    rows = logits if logits.ndim == 1 else np.moveaxis(logits, 1, -1)
    for place in np.ndindex(labels.shape):
        label = int(labels[place])
        if label != ignored:
            exponentials = np.exp(rows[place].astype(np.float64))
            costs = -np.log(exponentials / exponentials.sum()) * weight
            losses[place] = (1 - smoothing) * costs[label] + smoothing * np.mean(costs)
            counts[place] = weight[label]
    return losses, counts


def likelihoods(
    scores: np.ndarray, labels: np.ndarray, weight: np.ndarray, ignored: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return minus the number at each label and what it counts, one example after the other, in float64."""
    losses, counts = np.zeros(labels.shape), np.zeros(labels.shape)
    rows = scores if scores.ndim == 1 else np.moveaxis(scores, 1, -1)
    for place in np.ndindex(labels.shape):
        label = int(labels[place])
        if label != ignored:
            losses[place] = -weight[label] * float(rows[place][label])
            counts[place] = weight[label]
    return losses, counts


def soft_cross_entropies(
    logits: np.ndarray, wanted: np.ndarray, weight: np.ndarray, smoothing: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the cross-entropy of each row of probabilities, which counts once, in float64."""
    rows, targets = (x if x.ndim == 1 else np.moveaxis(x, 1, -1) for x in (logits, wanted))
    losses = np.zeros(rows.shape[:-1])
    for place in np.ndindex(losses.shape):
        exponentials = np.exp(rows[place].astype(np.float64))
        mixed = targets[place].astype(np.float64) * (1 - smoothing) + smoothing / rows.shape[-1]
        losses[place] = -np.sum(weight * mixed * np.log(exponentials / exponentials.sum()))
    return losses, np.ones(losses.shape)


def reduce(losses: np.ndarray, counts: np.ndarray, reduction: LossReduction, dtype: np.dtype) -> np.ndarray:
    """Return the mean by what each loss counts, the sum, or the losses."""
    values = {"mean": losses.sum() / counts.sum(), "sum": losses.sum(), "none": losses}
    return np.asarray(values[reduction], dtype)


def torch_loss(name: str, reduction: LossReduction, options: Options) -> Callable[..., Any]:
    """Return PyTorch's function of two tensors and, where `options` has a number for each class, weights."""

    def call(scores: Any, labels: Any) -> Any:
        import torch

        given = dict(options)
        if "weight" in given:
            given["weight"] = torch.tensor(given["weight"], dtype=scores.dtype)
        target = labels if labels.dtype.is_floating_point else labels.long()
        return getattr(torch.nn.functional, name)(scores, target, reduction=reduction, **given)

    return call


def labels_of(shape: tuple[int | None, ...], classes: int, dtype: str = "int64", ignored: int | None = None) -> Input:
    """Return an input of class numbers, every other one of which is to be ignored."""

    def draw(generator: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
        labels = generator.integers(0, classes, size)
        if ignored is not None:
            labels.reshape(-1)[1::2] = ignored
        return labels

    return Input(shape, dtype, draw)


def probabilities(shape: tuple[int | None, ...], differentiable: bool = False) -> Input:
    """Return an input of probabilities over axis 1, or the only one."""

    def draw(generator: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
        axis = min(1, len(size) - 1)
        values = generator.uniform(0.1, 1, size)
        return np.asarray(values / values.sum(axis, keepdims=True))

    return Input(shape, values=draw, differentiable=differentiable)


def loss_sample(
    name: str,
    op: type[Op],
    inputs: tuple[Input, Input],
    function: Callable[..., Node],
    losses: Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    reduction: LossReduction,
    options: Options,
) -> OpSample:
    """Return a sample of a loss; `losses` gives losses and what each counts, by inputs and weights of classes."""

    def reference(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        weight = np.asarray(options.get("weight", np.ones(x.shape[min(1, x.ndim - 1)])))
        return reduce(*losses(x, y, weight), reduction, x.dtype)

    return OpSample(
        name,
        op,
        inputs,
        lambda x, y: function(x, y, reduction, **options),
        reference,
        torch_loss(function.__name__, reduction, options),
    )


def class_sample(
    name: str, logits: Input, labels: Input, reduction: LossReduction = "none", **options: Any
) -> OpSample:
    """Return a sample of cross_entropy by class numbers."""
    smoothing, ignored = options.get("label_smoothing", 0.0), options.get("ignore_index")
    return loss_sample(
        f"cross_entropy, {name}",
        CrossEntropy,
        (logits, labels),
        cross_entropy,
        lambda x, y, weight: cross_entropies(x, y, weight, smoothing, ignored),
        reduction,
        options,
    )


def soft_sample(name: str, logits: Input, wanted: Input, reduction: LossReduction = "none", **options: Any) -> OpSample:
    """Return a sample of cross_entropy by probabilities."""
    smoothing = options.get("label_smoothing", 0.0)
    return loss_sample(
        f"cross_entropy of probabilities, {name}",
        Multiply,
        (logits, wanted),
        cross_entropy,
        lambda x, y, weight: soft_cross_entropies(x, y, weight, smoothing),
        reduction,
        options,
    )


def nll_sample(name: str, scores: Input, labels: Input, reduction: LossReduction = "none", **options: Any) -> OpSample:
    """Return a sample of nll_loss."""
    ignored = options.get("ignore_index")
    return loss_sample(
        f"nll_loss, {name}",
        NegativeLogLikelihood,
        (scores, labels),
        nll_loss,
        lambda x, y, weight: likelihoods(x, y, weight, ignored),
        reduction,
        options,
    )


def weighted_by_node(logits: Node, labels: Node, weight: Node) -> Node:
    """Return a cross-entropy whose class weights are a node."""
    return cross_entropy(logits, labels, "sum", weight=weight, label_smoothing=0.2)


WEIGHT = [0.5, 2.0, 1.25, 0.0]
ROWS = Input((None, 4))
SOME = labels_of((None,), 4, "int32", IGNORED)

SAMPLES = [
    class_sample("a loss for each example", Input((None, 5)), labels_of((None,), 5)),
    class_sample("mean over the batch", Input((None, 5)), labels_of((None,), 5), "mean"),
    class_sample("sum over the batch", Input((None, 5)), labels_of((None,), 5), "sum"),
    class_sample("int32 labels", Input((4, 3)), labels_of((4,), 3, "int32"), "mean"),
    class_sample("uint8 labels", Input((4, 3)), labels_of((4,), 3, "uint8"), "mean"),
    class_sample("one example", Input((5,)), labels_of((), 5), "mean"),
    class_sample("one class", Input((None, 1)), labels_of((None,), 1), "mean"),
    class_sample("classes in axis 1 of three", Input((None, 4, 3)), labels_of((None, 3), 4)),
    class_sample("mean over batch and places", Input((None, 3, 2, 2)), labels_of((None, 2, 2), 3), "mean"),
    class_sample(
        "logits whose exponentials overflow",
        Input((None, 4), values=lambda generator, shape: 500 + 5 * generator.standard_normal(shape)),
        labels_of((None,), 4),
    ),
    class_sample("weighted", ROWS, labels_of((None,), 4), weight=WEIGHT),
    class_sample("weighted mean", ROWS, labels_of((None,), 3), "mean", weight=WEIGHT),
    class_sample("weighted sum, one example", Input((4,)), labels_of((), 4), "sum", weight=WEIGHT),
    class_sample("some ignored", ROWS, SOME, ignore_index=IGNORED),
    class_sample("mean of those not ignored", ROWS, SOME, "mean", ignore_index=IGNORED),
    class_sample("a class ignored", ROWS, labels_of((None,), 4, ignored=2), "mean", ignore_index=2),
    class_sample("uint8 labels, 255 ignored", ROWS, labels_of((None,), 4, "uint8", 255), "mean", ignore_index=255),
    class_sample("uint8 labels, none is -100", ROWS, labels_of((None,), 4, "uint8"), "mean", ignore_index=IGNORED),
    class_sample("smoothed", ROWS, labels_of((None,), 4), label_smoothing=0.1),
    class_sample("smoothed mean", ROWS, labels_of((None,), 4), "mean", label_smoothing=0.3),
    class_sample("smoothed until all are equal", ROWS, labels_of((None,), 4), "sum", label_smoothing=1.0),
    *(
        class_sample(
            f"{reduction} of weighted, smoothed, some ignored, at places",
            Input((None, 4, 3)),
            labels_of((None, 3), 3, ignored=IGNORED),
            reduction,
            weight=WEIGHT,
            ignore_index=IGNORED,
            label_smoothing=0.25,
        )
        for reduction in ("mean", "sum", "none")
    ),
    OpSample(
        "cross_entropy, weights that are a node",
        CrossEntropy,
        (ROWS, labels_of((None,), 4), Input((4,), values=positive)),
        weighted_by_node,
        lambda x, y, weight: reduce(*cross_entropies(x, y, weight, 0.2, None), "sum", x.dtype),
    ),
    soft_sample("a loss for each example", ROWS, probabilities((None, 4), differentiable=True)),
    soft_sample("mean", ROWS, probabilities((None, 4)), "mean"),
    soft_sample("one example", Input((4,)), probabilities((4,)), "sum", weight=WEIGHT),
    soft_sample(
        "weighted and smoothed mean at places",
        Input((None, 4, 3)),
        probabilities((None, 4, 3), differentiable=True),
        "mean",
        weight=WEIGHT,
        label_smoothing=0.2,
    ),
    nll_sample("a loss for each example", ROWS, labels_of((None,), 4)),
    nll_sample("mean, int32 labels", ROWS, labels_of((None,), 4, "int32"), "mean"),
    nll_sample("weighted mean at places", Input((None, 4, 2)), labels_of((None, 2), 3), "mean", weight=WEIGHT),
    nll_sample("sum of those not ignored", ROWS, SOME, "sum", ignore_index=IGNORED),
    nll_sample("one example, weighted", Input((4,)), labels_of((), 4), weight=WEIGHT),
    nll_sample("weighted mean of those not ignored", ROWS, SOME, "mean", weight=WEIGHT, ignore_index=IGNORED),
]
