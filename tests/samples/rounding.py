"""Samples of rounding, and of division with a remainder."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from graphnn.ops import Node, Op
from graphnn.ops.rounding import (
    Ceil,
    Floor,
    FloorDivide,
    Fmod,
    Remainder,
    Round,
    Trunc,
    ceil,
    floor,
    floor_divide,
    fmod,
    remainder,
    round,
    trunc,
)
from op_samples import Input, OpSample
from sample_values import Values, each, signed, these, torch_function
from samples.elementwise import unary_samples


def off_steps(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return numbers that are neither whole nor halves."""
    return generator.integers(-4, 4, shape) + generator.choice([0.2, 0.3, 0.7, 0.9], shape)


def half_to_even(x: float) -> float:
    below = math.floor(x)
    if x - below == 0.5:
        return float(below if below % 2 == 0 else below + 1)
    return float(math.floor(x + 0.5))


ROUNDING = [
    *unary_samples(Floor, floor, math.floor, torch_function("floor"), off_steps),
    *unary_samples(Ceil, ceil, math.ceil, torch_function("ceil"), off_steps),
    *unary_samples(Round, round, half_to_even, torch_function("round"), off_steps),
    *unary_samples(Trunc, trunc, math.trunc, torch_function("trunc"), off_steps),
    *(
        OpSample(
            f"{op.__name__}, at the steps",
            op,
            (Input((8,), values=these(-2.5, -1.5, -1, -0.5, 0.5, 1, 1.5, 2.5)),),
            build,
            each(number),
            torch_function(op.__name__.lower()),
            gradient=False,
            second_gradient=False,
        )
        for op, build, number in (
            (Floor, floor, math.floor),
            (Ceil, ceil, math.ceil),
            (Round, round, half_to_even),
            (Trunc, trunc, math.trunc),
        )
    ),
]


def divisor(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return integers of both signs, without 0."""
    return generator.choice([-5, -3, -2, -1, 1, 2, 3, 5], shape)


def small_divisor(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return generator.integers(1, 4, shape)


def rounded_down(a: Any, b: Any) -> object:
    """PyTorch's floor_divide, which has no gradient under that name."""
    import torch

    return torch.div(a, b, rounding_mode="floor")


def spread(low: float, high: float) -> Values:
    """Return a maker of numbers of both signs, low … high apart from 0."""
    return lambda generator, shape: generator.choice([-1.0, 1.0], shape) * generator.uniform(low, high, shape)


DIVIDEND, DIVISOR = spread(3.0, 9.0), spread(0.7, 1.9)


def division_samples(
    op: type[Op],
    function: Callable[[Any, Any], Node],
    operator: Callable[[Any, Any], Any],
    number: Callable[[Any, Any], Any],
    torch: Callable[..., object],
) -> Iterable[OpSample]:
    """Yield samples of one of the divisions; all results are off the steps."""

    def sample(words: str, given: tuple[Input, Input], build: Callable[[Any, Any], Node], real: bool) -> OpSample:
        return OpSample(f"{op.__name__}, {words}", op, given, build, each(number), torch, real, real)

    reals = (Input((None, 5), values=DIVIDEND), Input((None, 5), values=DIVISOR))
    yield sample("real numbers", reals, function, real=True)
    yield sample("operator", reals, operator, real=True)
    yield sample(
        "broadcast", (Input((None, 1, 4), values=DIVIDEND), Input((3, 1), values=DIVISOR)), function, real=True
    )
    yield sample("scalars", (Input((), values=DIVIDEND), Input((), values=DIVISOR)), function, real=True)
    yield sample("int32", (Input((None, 6), "int32", signed), Input((6,), "int32", divisor)), function, real=False)
    yield sample("int64", (Input((None, 6), "int64", signed), Input((6,), "int64", divisor)), function, real=False)
    yield sample("uint8", (Input((None, 6), "uint8"), Input((6,), "uint8", small_divisor)), function, real=False)
    yield OpSample(
        f"{op.__name__}, a number",
        op,
        (Input((None, 4), values=off_steps),),
        lambda a: operator(a, 1.5),
        each(lambda a: number(a, 1.5)),
        lambda a: torch(a, 1.5),
    )
    yield OpSample(
        f"{op.__name__}, the number first",
        op,
        (Input((None, 4), values=DIVISOR),),
        lambda b: operator(7.25, b),
        each(lambda b: number(7.25, b)),
    )


DIVISION = [
    *division_samples(FloorDivide, floor_divide, lambda a, b: a // b, lambda a, b: a // b, rounded_down),
    *division_samples(Remainder, remainder, lambda a, b: a % b, lambda a, b: a % b, torch_function("remainder")),
    *division_samples(
        Fmod,
        fmod,
        fmod,
        lambda a, b: math.fmod(a, b) if isinstance(a, float) or isinstance(b, float) else int(math.fmod(a, b)),
        torch_function("fmod"),
    ),
]

SAMPLES: list[OpSample] = [*ROUNDING, *DIVISION]
