"""Samples of comparison and of choice by the outcome."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from graphnn.ops import Node, Op
from graphnn.ops.comparison import (
    Equal,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    NotEqual,
    Where,
    equal,
    greater,
    greater_equal,
    less,
    less_equal,
    not_equal,
    where,
)
from op_samples import Input, OpSample
from sample_values import away_from_zero, each, few_values, these, torch_function


def comparison_samples(
    op: type[Op], build: Callable[[Any, Any], Node], number: Callable[[Any, Any], bool], torch: Callable[..., object]
) -> Iterable[OpSample]:
    """Yield samples of a comparison in which about a third of the elements are equal."""
    inputs = {
        "float32, broadcast": (Input((None, 1, 4), values=few_values), Input((3, 1), values=few_values)),
        "int32": (Input((None, 4), "int32", few_values), Input((4,), "int32", few_values)),
        "bool": (Input((None, 4), "bool"), Input((None, 4), "bool")),
        "uint8 and float32": (Input((None, 4), "uint8"), Input((4,), values=these(0, 2.5, 3, 6))),
        "int64 and a scalar": (Input((None, 4), "int64", few_values), Input((), "int32", few_values)),
    }
    for name, given in inputs.items():
        yield OpSample(f"{op.__name__}, {name}", op, given, build, each(number), torch, False, False)
    only = (Input((None, 4), values=few_values),)
    torch_number: Callable[..., object] = lambda x: torch(x, 0)  # noqa: E731 - one line beside its use
    yield OpSample(
        f"{op.__name__}, a number",
        op,
        only,
        lambda x: build(x, 0),
        each(lambda x: number(x, 0)),
        torch_number,
        False,
        False,
    )


COMPARISON = [
    *comparison_samples(Equal, equal, lambda a, b: a == b, torch_function("eq")),
    *comparison_samples(NotEqual, not_equal, lambda a, b: a != b, torch_function("ne")),
    *comparison_samples(Less, less, lambda a, b: a < b, torch_function("lt")),
    *comparison_samples(LessEqual, less_equal, lambda a, b: a <= b, torch_function("le")),
    *comparison_samples(Greater, greater, lambda a, b: a > b, torch_function("gt")),
    *comparison_samples(GreaterEqual, greater_equal, lambda a, b: a >= b, torch_function("ge")),
]


def chosen(condition: bool, a: Any, b: Any) -> Any:
    return a if condition else b


def where_sample(name: str, *inputs: Input, gradient: bool = True) -> OpSample:
    """Return a sample of where over three inputs."""
    return OpSample(f"Where, {name}", Where, inputs, where, each(chosen), torch_function("where"), gradient, gradient)


MASK = Input((None, 4), "bool")

WHERE = [
    where_sample("one shape", MASK, Input((None, 4)), Input((None, 4))),
    where_sample("the condition broadcasts", Input((4,), "bool"), Input((None, 4)), Input((None, 4))),
    where_sample("the choices broadcast", Input((None, 2, 3), "bool"), Input((3,)), Input((2, 1))),
    where_sample("all broadcast", Input((2, 1), "bool"), Input((None, 1, 1)), Input((3,))),
    where_sample("scalars", Input((), "bool"), Input(()), Input(())),
    where_sample("int32", MASK, Input((None, 4), "int32"), Input((4,), "int32"), gradient=False),
    where_sample("bool", MASK, Input((None, 4), "bool"), Input((4,), "bool"), gradient=False),
    where_sample("uint8 and float32", MASK, Input((None, 4), "uint8"), Input((4,))),
    OpSample(
        "Where, a number on the right",
        Where,
        (MASK, Input((None, 4))),
        lambda condition, a: where(condition, a, 0),
        each(lambda condition, a: a if condition else 0.0),
        lambda condition, a: a.where(condition, 0),
    ),
    OpSample(
        "Where, a number on the left",
        Where,
        (MASK, Input((None, 4))),
        lambda condition, b: where(condition, -0.5, b),
        each(lambda condition, b: -0.5 if condition else b),
    ),
    OpSample(
        "Where, two numbers",
        Where,
        (MASK,),
        lambda condition: where(condition, 1, 0.5),
        each(lambda condition: 1.0 if condition else 0.5),
        gradient=False,
        second_gradient=False,
    ),
    OpSample(
        "Where, a compared value",
        Where,
        (Input((None, 4), values=away_from_zero), Input((4,))),
        lambda a, b: where(a > 0, a * b, b),
        each(lambda a, b: a * b if a > 0 else b),
        lambda a, b: (a * b).where(a > 0, b),
    ),
    OpSample(
        "Where, an array as condition",
        Where,
        (Input((None, 2)),),
        lambda x: where(np.array([True, False]), x, 0),
        lambda x: np.stack([x[:, 0], 0 * x[:, 1]], axis=1),
    ),
]

SAMPLES: list[OpSample] = [*COMPARISON, *WHERE]
