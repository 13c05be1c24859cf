"""Samples of losses that compare predictions with targets element by element."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from graphnn.ops.elementwise import Abs, Multiply
from graphnn.ops.elementwise_loss import (
    binary_cross_entropy_with_logits,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    smooth_l1_loss,
)
from graphnn.ops.node import Node
from graphnn.ops.op import Op
from graphnn.ops.special import Softplus
from op_samples import Input, OpSample
from sample_values import away_from_zero, each, these

Loss = Callable[..., Node]
SHAPE = (None, 3)

REDUCTIONS: dict[str, Callable[[np.ndarray], Any]] = {
    "mean": lambda losses: losses.sum() / losses.size,
    "batchmean": lambda losses: losses.sum() / len(losses),
    "sum": lambda losses: losses.sum(),
    "none": lambda losses: losses,
}


def sample(
    loss: Loss,
    op: type[Op],
    name: str,
    inputs: tuple[Input, Input],
    one: Callable[[float, float], float],
    reduction: str = "none",
    **options: Any,
) -> OpSample:
    """Return a sample of a loss, whose reference is a function of two numbers; its function in PyTorch has its name."""

    def torch_loss(a: Any, b: Any) -> Any:
        import torch

        given = {
            key: torch.tensor(value, dtype=a.dtype) if isinstance(value, list) else value
            for key, value in options.items()
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that kl_div will define "mean" anew one day
            return getattr(torch.nn.functional, loss.__name__)(a, b, reduction=reduction, **given)

    return OpSample(
        f"{loss.__name__}, {name}",
        op,
        inputs,
        lambda a, b: loss(a, b, reduction, **options),
        lambda a, b: np.asarray(REDUCTIONS[reduction](each(one)(a, b)), a.dtype),
        torch_loss,
    )


def apart(shape: tuple[int | None, ...] = SHAPE) -> tuple[Input, Input]:
    """Return inputs that differ by -2 to -0.3 or 0.3 to 2, away from the kinks at 0 and 0.1 and, mostly, at 1."""
    return Input(shape, values=away_from_zero), Input(shape, values=lambda generator, size: np.zeros(size))


def errors(*values: float) -> tuple[Input, Input]:
    """Return one row with these differences."""
    shape = (1, len(values))
    return Input(shape, values=these(*values)), Input(shape, values=lambda generator, size: np.zeros(size))


def binary(shape: tuple[int | None, ...] = SHAPE) -> tuple[Input, Input]:
    """Return logits, and probabilities."""
    return Input(shape), Input(shape, values=lambda generator, size: generator.uniform(0, 1, size))


def divergent(log_target: bool = False) -> tuple[Input, Input]:
    """Return log-probabilities and probabilities, or two of log-probabilities."""

    def draw(generator: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
        values = generator.uniform(0.1, 1, size)
        return np.asarray(values / values.sum(-1, keepdims=True))

    def logarithms(generator: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
        return np.log(draw(generator, size))

    return Input(SHAPE, values=logarithms), Input(SHAPE, values=logarithms if log_target else draw)


def squared(a: float, b: float) -> float:
    return (a - b) ** 2


def distance(a: float, b: float) -> float:
    return a - b if a > b else b - a


def huber(delta: float) -> Callable[[float, float], float]:
    return lambda a, b: distance(a, b) ** 2 / 2 if distance(a, b) < delta else delta * (distance(a, b) - delta / 2)


def smooth(beta: float) -> Callable[[float, float], float]:
    return lambda a, b: distance(a, b) ** 2 / (2 * beta) if distance(a, b) < beta else distance(a, b) - beta / 2


def answer(x: float, t: float, positive: float = 1.0, weight: float = 1.0) -> float:
    yes = 1 / (1 + math.exp(-x))
    return -weight * (positive * t * math.log(yes) + (1 - t) * math.log(1 - yes))


def divergence(x: float, t: float) -> float:
    return t * (math.log(t) - x)


bce = binary_cross_entropy_with_logits

SAMPLES = [
    sample(mse_loss, Multiply, "mean over a batch", (Input(SHAPE), Input(SHAPE)), squared, "mean"),
    sample(mse_loss, Multiply, "sum over a batch", (Input(SHAPE), Input(SHAPE)), squared, "sum"),
    sample(mse_loss, Multiply, "the squares themselves", (Input((2, 3, 2)), Input((2, 3, 2))), squared),
    sample(mse_loss, Multiply, "scalars", (Input(()), Input(())), squared, "mean"),
    sample(l1_loss, Abs, "mean over a batch", apart(), distance, "mean"),
    sample(l1_loss, Abs, "the distances themselves", apart((2, 2, 2)), distance),
    sample(huber_loss, Abs, "both parts", errors(-3, -0.75, 0, 0.5, 1.5), huber(1.0)),
    sample(huber_loss, Abs, "mean over a batch, delta 0.1", apart(), huber(0.1), "mean", delta=0.1),
    sample(huber_loss, Abs, "sum over a batch, delta 4", apart(), huber(4.0), "sum", delta=4.0),
    sample(smooth_l1_loss, Abs, "both parts", errors(-3, -0.75, 0, 0.5, 1.5), smooth(1.0)),
    sample(smooth_l1_loss, Abs, "mean over a batch, beta 0.1", apart(), smooth(0.1), "mean", beta=0.1),
    sample(smooth_l1_loss, Abs, "sum over a batch, beta 4", apart(), smooth(4.0), "sum", beta=4.0),
    sample(smooth_l1_loss, Abs, "beta 0", apart(), distance, beta=0.0),
    sample(bce, Softplus, "a loss for each answer", binary(), answer),
    sample(bce, Softplus, "mean over a batch", binary(), answer, "mean"),
    sample(bce, Softplus, "scalars", binary(()), answer, "sum"),
    sample(bce, Softplus, "logits of 0", (Input((2, 3), values=these(0.0)), binary((2, 3))[1]), answer),
    sample(
        bce,
        Softplus,
        "weights",
        binary(),
        lambda x, t: answer(x, t, positive=3.0, weight=0.5),
        "mean",
        weight=[0.5],
        pos_weight=[3.0, 3.0, 3.0],
    ),
    sample(kl_div, Multiply, "of each probability", divergent(), divergence),
    sample(kl_div, Multiply, "mean over all", divergent(), divergence, "mean"),
    sample(kl_div, Multiply, "sum", divergent(), divergence, "sum"),
    sample(kl_div, Multiply, "mean over the batch", divergent(), divergence, "batchmean"),
    sample(
        kl_div,
        Multiply,
        "logarithms as targets",
        divergent(log_target=True),
        lambda x, t: math.exp(t) * (t - x),
        "batchmean",
        log_target=True,
    ),
]
