"""Samples of the activation functions that are composites."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from graphnn.ops import Node, Op
from graphnn.ops.activation import elu, gelu, hardtanh, leaky_relu, relu6, silu, softplus
from graphnn.ops.comparison import Where
from graphnn.ops.elementwise import Sigmoid, Tanh
from graphnn.ops.special import Erf, Expm1, Softplus
from op_samples import Input, OpSample
from sample_values import Values, away_from_zero, each, signed, these


def in_torch(name: str, **options: Any) -> Callable[..., object]:
    """Return a function of torch.nn.functional by name, looked up when it is called."""

    def call(x: Any) -> object:
        import torch

        return getattr(torch.nn.functional, name)(x, **options)

    return call


def samples(
    name: str,
    op: type[Op],
    build: Callable[[Node], Node],
    number: Callable[[Any], float],
    torch: Callable[..., object],
    values: Values | None = None,
    large: bool = True,
) -> Iterable[OpSample]:
    """Yield samples of one activation; `large` where numbers of every size have finite derivatives of both orders."""
    yield OpSample(name, op, (Input((None, 3, 4), values=values),), build, each(number), torch)
    yield OpSample(f"{name}, a scalar", op, (Input((), values=values),), build, each(number), torch)
    yield OpSample(f"{name}, nothing", op, (Input((2, 0)),), build, each(number), torch)
    integers = (Input((None, 6), "int32", signed),)
    yield OpSample(f"{name}, int32", op, integers, build, each(number), gradient=False, second_gradient=False)
    if large:
        far = (Input((6,), values=these(-500, -30, -9.5, 9.5, 30, 500)),)
        yield OpSample(f"{name}, large numbers", op, far, build, each(number), torch)


def bell(x: float) -> float:
    return x * (1 + math.erf(x / math.sqrt(2))) / 2


def bell_by_tanh(x: float) -> float:
    return x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -500 else 0.0


def smooth(x: float, beta: float = 1.0) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(beta * x))) / beta


def off_limits(*limits: float) -> Values:
    """Return a maker of numbers on both sides of limits, not near them."""
    return lambda generator, shape: generator.choice(limits, shape) + generator.choice([-0.4, 0.4], shape)


SAMPLES: list[OpSample] = [
    *samples("gelu", Erf, gelu, bell, in_torch("gelu")),
    *samples("gelu by tanh", Tanh, lambda x: gelu(x, "tanh"), bell_by_tanh, in_torch("gelu", approximate="tanh")),
    *samples("silu", Sigmoid, silu, lambda x: x * logistic(x), in_torch("silu")),
    *samples("softplus", Softplus, softplus, smooth, in_torch("softplus", threshold=40)),
    *samples(
        "softplus, beta 0.5",
        Softplus,
        lambda x: softplus(x, beta=0.5),
        lambda x: smooth(x, 0.5),
        in_torch("softplus", beta=0.5, threshold=40),
    ),
    *samples(
        "leaky_relu",
        Where,
        leaky_relu,
        lambda x: x if x > 0 else 0.01 * x,
        in_torch("leaky_relu"),
        away_from_zero,
    ),
    *samples(
        "leaky_relu, slope 0.2",
        Where,
        lambda x: leaky_relu(x, 0.2),
        lambda x: x if x > 0 else 0.2 * x,
        in_torch("leaky_relu", negative_slope=0.2),
        away_from_zero,
    ),
    *samples("elu", Expm1, elu, lambda x: x if x > 0 else math.expm1(x), in_torch("elu"), away_from_zero),
    *samples(
        "elu, alpha 0.7",
        Expm1,
        lambda x: elu(x, 0.7),
        lambda x: x if x > 0 else 0.7 * math.expm1(x),
        in_torch("elu", alpha=0.7),
        away_from_zero,
    ),
    *samples("hardtanh", Where, hardtanh, lambda x: min(max(x, -1.0), 1.0), in_torch("hardtanh"), off_limits(-1, 1)),
    *samples(
        "hardtanh, limits -2 and 0.5",
        Where,
        lambda x: hardtanh(x, -2, 0.5),
        lambda x: min(max(x, -2.0), 0.5),
        in_torch("hardtanh", min_val=-2, max_val=0.5),
        off_limits(-2, 0.5),
    ),
    *samples("relu6", Where, relu6, lambda x: min(max(x, 0.0), 6.0), in_torch("relu6"), off_limits(0, 6)),
]
