"""Samples of the functions of one number: unary ops, clip and cast."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from graphnn.ops import Node, Op
from graphnn.ops.broadcasting import Cast, cast
from graphnn.ops.elementwise import (
    Abs,
    Clip,
    Exp,
    Log,
    Negative,
    Relu,
    Sigmoid,
    Sign,
    Sqrt,
    Tanh,
    clip,
    exp,
    log,
    relu,
    sigmoid,
    sign,
    sqrt,
    tanh,
)
from op_samples import Input, OpSample
from sample_values import Values, away_from_zero, each, few_values, positive, signed, these, torch_function


def unary_samples(
    op: type[Op],
    build: Callable[[Node], Node],
    number: Callable[[Any], Any],
    torch: Callable[..., object],
    values: Values | None = None,
) -> Iterable[OpSample]:
    """Yield samples of a function of one number, for shapes of several ranks."""
    shapes: tuple[tuple[int | None, ...], ...] = ((None, 3, 2), (5,), (), (2, 0), (1, 1))
    for shape in shapes:
        written = str(shape).replace("None", "N")
        yield OpSample(f"{op.__name__}, {written}", op, (Input(shape, values=values),), build, each(number), torch)


def whole_sample(
    op: type[Op],
    dtype: str,
    build: Callable[[Node], Node],
    number: Callable[[Any], Any],
    torch: Callable[..., object] | None,
    values: Values | None = None,
) -> OpSample:
    """Return a sample of a function of one number for an integer type or bool."""
    name = f"{op.__name__}, {dtype}"
    inputs = (Input((None, 4), dtype, values),)
    return OpSample(name, op, inputs, build, each(number), torch, gradient=False, second_gradient=False)


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -500 else 0.0


UNARY = [
    *unary_samples(Negative, lambda x: -x, lambda x: -x, torch_function("neg")),
    *unary_samples(Exp, exp, math.exp, torch_function("exp")),
    *unary_samples(Log, log, math.log, torch_function("log"), positive),
    *unary_samples(Sqrt, sqrt, math.sqrt, torch_function("sqrt"), positive),
    *unary_samples(Tanh, tanh, math.tanh, torch_function("tanh")),
    *unary_samples(Sigmoid, sigmoid, logistic, torch_function("sigmoid")),
    *unary_samples(Relu, relu, lambda x: x if x > 0 else 0.0, torch_function("relu"), away_from_zero),
    *unary_samples(Abs, abs, lambda x: x if x > 0 else -x, torch_function("abs"), away_from_zero),
    *unary_samples(Sign, sign, lambda x: 1.0 if x > 0 else -1.0, torch_function("sign"), away_from_zero),
    whole_sample(Negative, "int32", lambda x: -x, lambda x: -x, torch_function("neg"), signed),
    whole_sample(Negative, "uint8", lambda x: -x, lambda x: -x % 256, torch_function("neg")),
    whole_sample(Abs, "int64", abs, lambda x: max(x, -x), torch_function("abs"), signed),
    whole_sample(Abs, "uint8", abs, lambda x: x, torch_function("abs")),
    whole_sample(Sign, "int32", sign, lambda x: (x > 0) - (x < 0), torch_function("sign"), signed),
    whole_sample(Sign, "uint8", sign, lambda x: int(x > 0), torch_function("sign")),
    whole_sample(Relu, "int32", relu, lambda x: max(x, 0), torch_function("relu"), signed),
    whole_sample(Exp, "int32", exp, math.exp, torch_function("exp"), signed),
    whole_sample(Log, "uint8", log, math.log, torch_function("log"), these(1, 2, 100, 255)),
    whole_sample(Sqrt, "int64", sqrt, math.sqrt, torch_function("sqrt")),
    whole_sample(Tanh, "bool", tanh, math.tanh, torch_function("tanh")),
    whole_sample(Sigmoid, "int32", sigmoid, logistic, torch_function("sigmoid"), signed),
    OpSample(
        "Sigmoid, large numbers",
        Sigmoid,
        (Input((6,), values=these(-1000, -88, -20, 20, 88, 1000)),),
        sigmoid,
        each(logistic),
        torch_function("sigmoid"),
    ),
    OpSample(
        "Tanh, large numbers",
        Tanh,
        (Input((4,), values=these(-1000, -9, 9, 1000)),),
        tanh,
        each(math.tanh),
        torch_function("tanh"),
    ),
    OpSample(
        "Exp, negative numbers",
        Exp,
        (Input((3,), values=these(-1000, -50, -1)),),
        exp,
        each(math.exp),
        torch_function("exp"),
    ),
    OpSample(
        "Relu, at 0",
        Relu,
        (Input((3,), values=these(-1, 0, 1)),),
        relu,
        each(lambda x: max(x, 0.0)),
        torch_function("relu"),
        gradient=False,
        second_gradient=False,
    ),
]


def limited(low: float | None, high: float | None) -> Callable[..., np.ndarray]:
    """Return the reference of clip: first not below `low`, then not above `high`."""

    def number(x: float) -> float:
        raised = low if low is not None and x < low else x
        return high if high is not None and raised > high else raised

    return each(number)


CLIP = [
    OpSample(
        f"Clip, {words}, {dtype}",
        Clip,
        (Input((None, 5), dtype, these(-2.0, -0.4, 0.2, 0.7, 3.0) if dtype == "float32" else signed),),
        lambda x, low=low, high=high: clip(x, low, high),
        limited(low, high),
        (lambda x, low=low, high=high: x.clamp(low, high)) if words != "no limit" else None,
        gradient=dtype == "float32",
        second_gradient=dtype == "float32",
    )
    for words, low, high, dtype in (
        ("both limits", -0.5, 0.5, "float32"),
        ("whole limits", -1, 1, "float32"),
        ("low", 0.0, None, "float32"),
        ("high", None, 0.5, "float32"),
        ("no limit", None, None, "float32"),
        ("low above high", 1.0, -1.0, "float32"),
        ("both limits", -2, 3, "int32"),
        ("high", None, 4, "int64"),
        ("fractional limits", -0.5, 2.5, "int32"),
    )
]

# Conversion.


def cast_sample(
    source: str, target: str, number: Callable[[Any], Any], values: Values | None = None, gradient: bool = False
) -> OpSample:
    """Return a sample of cast; conversions that round have no finite differences."""

    def in_torch(x: Any) -> object:
        import torch

        return x.to(getattr(torch, target))

    return OpSample(
        f"Cast, {source} to {target}",
        Cast,
        (Input((None, 4), source, values),),
        lambda x: cast(x, target),
        each(number),
        in_torch,
        gradient,
        gradient,
    )


CAST = [
    cast_sample("float32", "float64", lambda x: x, gradient=True),
    cast_sample("float32", "float16", lambda x: x),
    cast_sample("float32", "bfloat16", lambda x: x),
    cast_sample("float64", "float32", lambda x: x),
    cast_sample("float16", "float32", lambda x: x),
    cast_sample("bfloat16", "float32", lambda x: x),
    cast_sample("bfloat16", "int64", math.trunc, these(-2.5, -0.5, 0.5, 128)),
    cast_sample("float32", "int32", math.trunc, these(-2.75, -0.5, 0.75, 1000)),
    cast_sample("float32", "uint8", math.trunc, these(0, 0.75, 2.5, 255)),
    cast_sample("float32", "bool", lambda x: x != 0, these(-0.5, 0, -0.0, 2)),
    cast_sample("int32", "float32", lambda x: x, signed),
    cast_sample("int64", "int32", lambda x: x, signed),
    cast_sample("int64", "uint8", lambda x: x % 256, these(-1, 255, 256, 300)),
    cast_sample("int32", "bool", lambda x: x != 0, few_values),
    cast_sample("uint8", "float32", lambda x: x),
    cast_sample("uint8", "bfloat16", lambda x: x, these(0, 1, 128, 255)),
    cast_sample("bool", "float32", lambda x: 1.0 if x else 0.0),
    cast_sample("bool", "uint8", lambda x: 1 if x else 0),
]

SAMPLES: list[OpSample] = [*UNARY, *CLIP, *CAST]
