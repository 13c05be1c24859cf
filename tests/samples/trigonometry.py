"""Samples of the circular and hyperbolic functions and their inverses."""

from __future__ import annotations

import math

import numpy as np

from graphnn.ops.trigonometry import (
    Acos,
    Acosh,
    Asin,
    Asinh,
    Atan,
    Atan2,
    Atanh,
    Cos,
    Cosh,
    Sin,
    Sinh,
    Tan,
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    cos,
    cosh,
    sin,
    sinh,
    tan,
)
from op_samples import Input, OpSample
from sample_values import Values, away_from_zero, each, few_values, positive, signed, these, torch_function
from samples.elementwise import unary_samples, whole_sample


def within(low: float, high: float) -> Values:
    """Return a maker of numbers from an interval."""
    return lambda generator, shape: generator.uniform(low, high, shape)


UNARY = [
    *unary_samples(Sin, sin, math.sin, torch_function("sin")),
    *unary_samples(Cos, cos, math.cos, torch_function("cos")),
    *unary_samples(Tan, tan, math.tan, torch_function("tan"), within(-1.1, 1.1)),
    *unary_samples(Asin, asin, math.asin, torch_function("asin"), within(-0.9, 0.9)),
    *unary_samples(Acos, acos, math.acos, torch_function("acos"), within(-0.9, 0.9)),
    *unary_samples(Atan, atan, math.atan, torch_function("atan")),
    *unary_samples(Sinh, sinh, math.sinh, torch_function("sinh")),
    *unary_samples(Cosh, cosh, math.cosh, torch_function("cosh")),
    *unary_samples(Asinh, asinh, math.asinh, torch_function("asinh")),
    *unary_samples(Acosh, acosh, math.acosh, torch_function("acosh"), within(1.2, 4.0)),
    *unary_samples(Atanh, atanh, math.atanh, torch_function("atanh"), within(-0.9, 0.9)),
    whole_sample(Sin, "int32", sin, math.sin, torch_function("sin"), signed),
    whole_sample(Cos, "uint8", cos, math.cos, torch_function("cos")),
    whole_sample(Asinh, "int64", asinh, math.asinh, torch_function("asinh"), signed),
    whole_sample(Asin, "bool", asin, math.asin, torch_function("asin")),
]

FAR = [
    OpSample(
        f"{op.__name__}, large numbers",
        op,
        (Input((6,), values=these(-60000, -9999, -100, 100, 9999, 60000)),),
        build,
        each(number),
        torch_function(op.__name__.lower()),
        gradient=False,  # a step of a finite difference is lost
        second_gradient=False,
    )
    for op, build, number in ((Sin, sin, math.sin), (Cos, cos, math.cos), (Tan, tan, math.tan), (Atan, atan, math.atan))
]


def atan2_sample(name: str, *inputs: Input, gradient: bool = True) -> OpSample:
    """Return a sample of atan2 over two inputs."""
    build, reference = atan2, each(math.atan2)
    return OpSample(
        f"Atan2, {name}", Atan2, inputs, build, reference, torch_function("atan2"), gradient, gradient, 2e-5
    )


ATAN2 = [
    atan2_sample("one shape", Input((None, 5), values=away_from_zero), Input((None, 5), values=away_from_zero)),
    atan2_sample("y broadcasts", Input((4,), values=away_from_zero), Input((None, 4), values=positive)),
    atan2_sample("x broadcasts", Input((None, 3, 4), values=away_from_zero), Input((3, 1), values=away_from_zero)),
    atan2_sample("scalars", Input((), values=positive), Input((), values=away_from_zero)),
    atan2_sample("axes", Input((None, 9), values=few_values), Input((9,), values=few_values), gradient=False),
    atan2_sample("integers", Input((None, 4), "int32", signed), Input((4,), "uint8"), gradient=False),
    OpSample(
        "Atan2, a number",
        Atan2,
        (Input((None, 4), values=away_from_zero),),
        lambda y: atan2(y, -1),
        each(lambda y: math.atan2(y, -1)),
    ),
    OpSample(
        "Atan2, the number first",
        Atan2,
        (Input((None, 4), values=away_from_zero),),
        lambda x: atan2(np.float32(1), x),
        each(lambda x: math.atan2(1, x)),
    ),
]

SAMPLES: list[OpSample] = [*UNARY, *FAR, *ATAN2]
