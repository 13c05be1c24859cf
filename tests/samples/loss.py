"""Samples of losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphnn.ops.elementwise import Multiply
from graphnn.ops.loss import CrossEntropy, LossReduction, cross_entropy, mse_loss
from op_samples import Input, OpSample

_REDUCE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean": lambda losses: np.asarray(losses.sum() / losses.size, losses.dtype),
    "sum": lambda losses: np.asarray(losses.sum(), losses.dtype),
    "none": lambda losses: losses,
}


def _cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Minus the logarithm of the label's probability, one example after the other, in float64."""
    losses = np.empty(labels.shape, logits.dtype)
    rows = logits if logits.ndim == 1 else np.moveaxis(logits, 1, -1)
    for place in np.ndindex(labels.shape):
        exponentials = np.exp(rows[place].astype(np.float64))
        losses[place] = -np.log(exponentials[labels[place]] / exponentials.sum())
    return losses


def _torch_cross_entropy(logits: Any, labels: Any, reduction: str) -> Any:
    from torch.nn import functional

    return functional.cross_entropy(logits, labels.long(), reduction=reduction)


def _torch_mse_loss(a: Any, b: Any, reduction: str) -> Any:
    from torch.nn import functional

    return functional.mse_loss(a, b, reduction=reduction)


def _labels(shape: tuple[int | None, ...], classes: int, dtype: str = "int64") -> Input:
    return Input(shape, dtype, lambda generator, size: generator.integers(0, classes, size))


def _cross_entropy_sample(name: str, logits: Input, labels: Input, reduction: LossReduction = "none") -> OpSample:
    return OpSample(
        f"cross_entropy, {name}",
        CrossEntropy,
        (logits, labels),
        lambda logits, labels: cross_entropy(logits, labels, reduction),
        lambda logits, labels: _REDUCE[reduction](_cross_entropy(logits, labels)),
        lambda logits, labels: _torch_cross_entropy(logits, labels, reduction),
    )


def _mse_sample(name: str, shape: tuple[int | None, ...], reduction: LossReduction) -> OpSample:
    return OpSample(
        f"mse_loss, {name}",
        Multiply,
        (Input(shape), Input(shape)),
        lambda a, b: mse_loss(a, b, reduction),
        lambda a, b: _REDUCE[reduction](np.square(a - b)),
        lambda a, b: _torch_mse_loss(a, b, reduction),
    )


SAMPLES = [
    _cross_entropy_sample("a loss for each example", Input((None, 5)), _labels((None,), 5)),
    _cross_entropy_sample("mean over the batch", Input((None, 5)), _labels((None,), 5), "mean"),
    _cross_entropy_sample("sum over the batch", Input((None, 5)), _labels((None,), 5), "sum"),
    _cross_entropy_sample("int32 labels", Input((4, 3)), _labels((4,), 3, "int32"), "mean"),
    _cross_entropy_sample("uint8 labels", Input((4, 3)), _labels((4,), 3, "uint8"), "mean"),
    _cross_entropy_sample("one example", Input((5,)), _labels((), 5), "mean"),
    _cross_entropy_sample("one class", Input((None, 1)), _labels((None,), 1), "mean"),
    _cross_entropy_sample("classes in axis 1 of three", Input((None, 4, 3)), _labels((None, 3), 4)),
    _cross_entropy_sample("mean over batch and places", Input((None, 3, 2, 2)), _labels((None, 2, 2), 3), "mean"),
    _cross_entropy_sample(
        "logits whose exponentials overflow",
        Input((None, 4), values=lambda generator, shape: 500 + 5 * generator.standard_normal(shape)),
        _labels((None,), 4),
    ),
    _mse_sample("mean over a batch", (None, 3), "mean"),
    _mse_sample("sum over a batch", (None, 3), "sum"),
    _mse_sample("the squares themselves", (2, 3, 2), "none"),
    _mse_sample("scalars", (), "mean"),
]
