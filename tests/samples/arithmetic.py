"""Samples of the ops between two numbers, with broadcasting and promotion."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from graphnn.ops import Node, Op
from graphnn.ops.elementwise import (
    Add,
    Divide,
    Maximum,
    Minimum,
    Multiply,
    Power,
    Subtract,
    add,
    divide,
    maximum,
    minimum,
)
from op_samples import Input, OpSample
from sample_values import Values, away_from_zero, each, positive, signed, these, torch_function

BROADCASTS: Sequence[tuple[str, tuple[int | None, ...], tuple[int | None, ...]]] = (
    ("one shape", (None, 4), (None, 4)),
    ("a vector to rows", (None, 2, 3), (3,)),
    ("rows to a vector", (3,), (None, 2, 3)),
    ("both ways", (None, 1, 3), (2, 1)),
    ("axes of size 1", (1, 1), (1, 3)),
    ("a scalar on the right", (None, 2), ()),
    ("scalars", (), ()),
)


def broadcast_samples(
    op: type[Op],
    build: Callable[[Node, Node], Node],
    number: Callable[[Any, Any], Any],
    torch: Callable[..., object],
    values: tuple[Values | None, Values | None] = (None, None),
) -> Iterable[OpSample]:
    """Yield a sample for each way in which two shapes broadcast."""
    for name, left, right in BROADCASTS:
        yield OpSample(
            f"{op.__name__}, {name}",
            op,
            (Input(left, values=values[0]), Input(right, values=values[1])),
            build,
            each(number),
            torch,
        )


def integer_sample(
    op: type[Op],
    dtypes: tuple[str, str],
    build: Callable[..., Node],
    number: Callable[..., Any],
    torch: Callable[..., object],
    values: Values | None = None,
) -> OpSample:
    """Return a sample whose result is not differentiated, for the element types given."""
    inputs = (Input((None, 4), dtypes[0], values), Input((4,), dtypes[1], values))
    name = f"{op.__name__}, {dtypes[0]} and {dtypes[1]}"
    return OpSample(name, op, inputs, build, each(number), torch, gradient=False, second_gradient=False)


ARITHMETIC = [
    *broadcast_samples(Add, lambda a, b: a + b, lambda a, b: a + b, torch_function("add")),
    *broadcast_samples(Subtract, lambda a, b: a - b, lambda a, b: a - b, torch_function("sub")),
    *broadcast_samples(Multiply, lambda a, b: a * b, lambda a, b: a * b, torch_function("mul")),
    *broadcast_samples(Divide, lambda a, b: a / b, lambda a, b: a / b, torch_function("div"), (None, away_from_zero)),
    *broadcast_samples(Power, lambda a, b: a**b, lambda a, b: a**b, torch_function("pow"), (positive, None)),
    *broadcast_samples(Maximum, maximum, lambda a, b: a if a > b else b, torch_function("maximum")),
    *broadcast_samples(Minimum, minimum, lambda a, b: a if a < b else b, torch_function("minimum")),
    integer_sample(Add, ("int32", "int32"), lambda a, b: a + b, lambda a, b: a + b, torch_function("add"), signed),
    integer_sample(
        Add,
        ("uint8", "uint8"),
        lambda a, b: a + b,
        lambda a, b: (a + b) % 256,
        torch_function("add"),
        these(200, 55, 56, 9),
    ),
    integer_sample(Add, ("bool", "bool"), lambda a, b: a + b, lambda a, b: a or b, torch_function("add")),
    integer_sample(Add, ("bool", "int64"), lambda a, b: a + b, lambda a, b: a + b, torch_function("add")),
    integer_sample(Subtract, ("uint8", "uint8"), lambda a, b: a - b, lambda a, b: (a - b) % 256, torch_function("sub")),
    integer_sample(Subtract, ("int32", "int64"), lambda a, b: a - b, lambda a, b: a - b, torch_function("sub"), signed),
    integer_sample(Multiply, ("int64", "uint8"), lambda a, b: a * b, lambda a, b: a * b, torch_function("mul")),
    integer_sample(Multiply, ("bool", "bool"), lambda a, b: a * b, lambda a, b: a and b, torch_function("mul")),
    integer_sample(
        Divide, ("int32", "uint8"), lambda a, b: a / b, lambda a, b: a / b, torch_function("div"), these(1, 2, 7, 100)
    ),
    integer_sample(
        Divide, ("bool", "int32"), lambda a, b: a / b, lambda a, b: a / b, torch_function("div"), these(1, 1, 2, 3)
    ),
    integer_sample(Power, ("int32", "int32"), lambda a, b: a**b, lambda a, b: a**b, torch_function("pow")),
    integer_sample(Maximum, ("int32", "int32"), maximum, max, torch_function("maximum"), signed),
    integer_sample(Minimum, ("uint8", "int64"), minimum, min, torch_function("minimum")),
    integer_sample(Maximum, ("bool", "bool"), maximum, max, torch_function("maximum")),
    OpSample(
        "Add, int32 and float32",
        Add,
        (Input((None, 3), "int32"), Input((3,))),
        lambda a, b: a + b,
        each(lambda a, b: a + b),
        torch_function("add"),
    ),
    OpSample(
        "Multiply, float32 and bool, a mask",
        Multiply,
        (Input((None, 3)), Input((None, 3), "bool")),
        lambda a, b: a * b,
        each(lambda a, b: a if b else 0.0),
        torch_function("mul"),
    ),
    OpSample(
        "Add, a value and itself", Add, (Input((None, 2)),), lambda x: x + x, each(lambda x: 2 * x), lambda x: x + x
    ),
    OpSample(
        "Multiply, a value and itself",
        Multiply,
        (Input((None, 2)),),
        lambda x: x * x,
        each(lambda x: x * x),
        lambda x: x * x,
    ),
    OpSample(
        "Subtract, a number on the left",
        Subtract,
        (Input((None, 2)),),
        lambda x: 1 - x,
        each(lambda x: 1 - x),
        lambda x: 1 - x,
    ),
    OpSample(
        "Divide, a number on the left",
        Divide,
        (Input((None, 2), values=away_from_zero),),
        lambda x: 2 / x,
        each(lambda x: 2 / x),
        lambda x: 2 / x,
    ),
    OpSample(
        "Divide, int32 and a number on the right",
        Divide,
        (Input((None, 2), "int32"),),
        lambda x: divide(x, 2),
        each(lambda x: x / 2),
        lambda x: x / 2,
        gradient=False,
        second_gradient=False,
    ),
    OpSample(
        "Multiply, int32 and a real number",
        Multiply,
        (Input((None, 2), "int32"),),
        lambda x: x * 0.5,
        each(lambda x: x / 2),
        lambda x: x * 0.5,
        gradient=False,
        second_gradient=False,
    ),
    OpSample(
        "Add, an array on the left",
        Add,
        (Input((None, 2)),),
        lambda x: np.array([1, 2], np.int64) + x,
        lambda x: np.stack([x[:, 0] + 1, x[:, 1] + 2], axis=1),
    ),
    OpSample(
        "Add, a list on the right",
        Add,
        (Input((None, 2)),),
        lambda x: add(x, [0.5, -0.5]),
        lambda x: np.stack([x[:, 0] + 0.5, x[:, 1] - 0.5], axis=1),
    ),
    OpSample(
        "Add, no elements",
        Add,
        (Input((0, 2)), Input((2,))),
        lambda a, b: a + b,
        each(lambda a, b: a + b),
        torch_function("add"),
    ),
]

POWER = [
    OpSample(
        f"Power, exponent {exponent}",
        Power,
        (Input((None, 4), values=positive if exponent == 0.5 else away_from_zero),),
        lambda x, exponent=exponent: x**exponent,
        each(lambda x, exponent=exponent: x**exponent),
        lambda x, exponent=exponent: x**exponent,
    )
    for exponent in (0, 1, 2, 3, -1, -2, 0.5)
] + [
    OpSample(
        "Power, a number as base", Power, (Input((None, 4)),), lambda x: 2**x, each(lambda x: 2.0**x), lambda x: 2**x
    ),
    OpSample(
        "Power, base 0 and whole exponents",
        Power,
        (Input((4,), values=these(0, 0, 0, 0)), Input((4,), values=these(0, 1, 2, 3), differentiable=False)),
        lambda a, b: a**b,
        each(lambda a, b: 1.0 if b == 0 else 0.0),
        torch_function("pow"),
    ),
    OpSample(
        "Power, negative bases and whole exponents",
        Power,
        (
            Input((5,), values=these(-2, -1.5, -1, -0.5, -3)),
            Input((5,), values=these(-2, 0, 1, 2, 3), differentiable=False),
        ),
        lambda a, b: a**b,
        each(lambda a, b: a ** int(b)),
        torch_function("pow"),
    ),
    OpSample(
        "Power, whole exponents of float type",
        Power,
        (Input((5,), values=positive), Input((5,), values=these(-2, -1, 0, 1, 2))),
        lambda a, b: a**b,
        each(lambda a, b: a**b),
        torch_function("pow"),
    ),
    OpSample(
        "Power, int32 to negative powers",
        Power,
        (Input((6,), "int32", these(-2, -1, -1, 1, 2, 0)), Input((6,), "int32", these(-1, -3, -2, -1, -2, -1))),
        lambda a, b: a**b,
        each(lambda a, b: int(float(a) ** b) if a else 0),
        torch_function("pow"),
        gradient=False,
        second_gradient=False,
    ),
]

SAMPLES: list[OpSample] = [*ARITHMETIC, *POWER]
