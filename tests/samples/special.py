"""Samples of erf, expm1 and log1p, of fixed powers, and of which numbers are finite."""

from __future__ import annotations

import math

import numpy as np

from graphnn.ops.comparison import Equal, Less, NotEqual
from graphnn.ops.elementwise import Divide, Multiply, Sqrt
from graphnn.ops.finiteness import isfinite, isinf, isnan
from graphnn.ops.powers import reciprocal, rsqrt, square
from graphnn.ops.special import Erf, Expm1, Log1p, erf, expm1, log1p
from op_samples import Input, OpSample
from sample_values import away_from_zero, each, positive, signed, these, torch_function
from samples.elementwise import unary_samples, whole_sample

SPECIAL = [
    *unary_samples(Erf, erf, math.erf, torch_function("erf")),
    *unary_samples(Expm1, expm1, math.expm1, torch_function("expm1")),
    *unary_samples(Log1p, log1p, math.log1p, torch_function("log1p"), lambda g, shape: g.uniform(-0.8, 3.0, shape)),
    whole_sample(Erf, "int32", erf, math.erf, torch_function("erf"), signed),
    whole_sample(Expm1, "uint8", expm1, math.expm1, torch_function("expm1")),
    whole_sample(Log1p, "int64", log1p, math.log1p, torch_function("log1p")),
    OpSample(
        "Erf, large and small numbers",
        Erf,
        (Input((8,), values=these(-1000, -4, -1e-3, -1e-30, 1e-30, 0.9, 3.9, 1000)),),
        erf,
        each(math.erf),
        torch_function("erf"),
    ),
    *(
        OpSample(
            f"{op.__name__}, scaled up near 0",
            op,
            (Input((4,), values=these(-3e-6, -1e-9, 1e-9, 3e-6)),),
            lambda x, build=build: build(x) * 1e4,
            each(lambda x, number=number: number(x) * 1e4),
            gradient=False,  # a step of a finite difference is larger
            second_gradient=False,
        )
        for op, build, number in ((Expm1, expm1, math.expm1), (Log1p, log1p, math.log1p))
    ),
]

POWERS = [
    OpSample(
        f"{function.__name__}, {dtype} {shape}".replace("None", "N"),
        op,
        (Input(shape, dtype, values),),
        function,
        each(number),
        torch_function(function.__name__),
        gradient=dtype == "float32",
        second_gradient=dtype == "float32",
    )
    for op, function, number, real, whole in (
        (Multiply, square, lambda x: x * x, None, signed),
        (Divide, reciprocal, lambda x: 1 / x, away_from_zero, these(-3, 1, 2, 7)),
        (Sqrt, rsqrt, lambda x: 1 / math.sqrt(x), positive, these(1, 2, 4, 9)),
    )
    for dtype, shape, values in (
        ("float32", (None, 3), real),
        ("float32", (), real),
        ("int32", (None, 4), whole),
    )
]


def _every_kind(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return generator.choice([np.nan, np.inf, -np.inf, 0.0, 1.5, -2.0], shape)


FINITENESS = [
    OpSample(
        f"{function.__name__}, {dtype}",
        op,
        (Input((None, 9), dtype, _every_kind if dtype == "float32" else None),),
        function,
        each(number),
        torch_function(function.__name__),
        gradient=False,
        second_gradient=False,
    )
    for dtype in ("float32", "int32", "bool")
    for op, function, number in (
        (NotEqual, isnan, math.isnan),
        (Equal if dtype == "float32" else NotEqual, isinf, math.isinf),
        (Less if dtype == "float32" else Equal, isfinite, math.isfinite),
    )
]

SAMPLES: list[OpSample] = [*SPECIAL, *POWERS, *FINITENESS]
