"""Samples of logic on bool, and of any and all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from graphnn.ops import Node, Op
from graphnn.ops.aggregation import all, any
from graphnn.ops.logical import (
    LogicalAnd,
    LogicalNot,
    LogicalOr,
    LogicalXor,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
)
from graphnn.ops.reduce import Sum
from op_samples import Input, OpSample
from sample_values import each, few_values, torch_function


def binary_samples(
    op: type[Op],
    function: Callable[[Any, Any], Node],
    operator: Callable[[Any, Any], Any],
    torch: Callable[..., object],
) -> Iterable[OpSample]:
    """Yield samples of an op on two bool values, by the function and by the operator."""
    inputs = {
        "one shape": (Input((None, 5), "bool"), Input((None, 5), "bool")),
        "broadcast": (Input((None, 1, 4), "bool"), Input((3, 1), "bool")),
        "the first broadcasts": (Input((4,), "bool"), Input((None, 4), "bool")),
        "scalars": (Input((), "bool"), Input((), "bool")),
        "nothing": (Input((2, 0), "bool"), Input((1,), "bool")),
    }
    name = op.__name__
    for words, given in inputs.items():
        yield OpSample(f"{name}, {words}", op, given, function, each(operator), torch, False, False)
    yield OpSample(f"{name}, operator", op, inputs["one shape"], operator, each(operator), torch, False, False)
    yield OpSample(
        f"{name}, a value on the left",
        op,
        (Input((None, 4), "bool"),),
        lambda x: operator(True, x),
        each(lambda x: operator(True, x)),
        gradient=False,
        second_gradient=False,
    )


LOGICAL = [
    *binary_samples(LogicalAnd, logical_and, lambda a, b: a & b, torch_function("logical_and")),
    *binary_samples(LogicalOr, logical_or, lambda a, b: a | b, torch_function("logical_or")),
    *binary_samples(LogicalXor, logical_xor, lambda a, b: a ^ b, torch_function("logical_xor")),
    *(
        OpSample(
            f"LogicalNot, {words}",
            LogicalNot,
            (Input((None, 4), "bool"),),
            build,
            each(lambda x: not x),
            torch_function("logical_not"),
            False,
            False,
        )
        for words, build in (("function", logical_not), ("operator", lambda x: ~x))
    ),
    OpSample(
        "LogicalAnd, two comparisons",
        LogicalAnd,
        (Input((None, 6)), Input((6,))),
        lambda a, b: (a > b) & ~(a > 1),
        each(lambda a, b: b < a <= 1),
        lambda a, b: (a > b) & ~(a > 1),
        False,
        False,
    ),
]


def _along(x: np.ndarray, axes: Sequence[int], keepdims: bool, all_hold: bool) -> np.ndarray:
    """Count what is not 0 among the values that share a place on all other axes."""
    shape = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
    held, seen = np.zeros(shape, int), np.zeros(shape, int)
    for place in np.ndindex(*x.shape):
        target = tuple(0 if axis in axes else index for axis, index in enumerate(place))
        held[target] += bool(x[place] != 0)
        seen[target] += 1
    result = held == seen if all_hold else held > 0
    return result if keepdims else result.squeeze(tuple(axes))


def truth_samples(function: Callable[..., Node], all_hold: bool) -> Iterable[OpSample]:
    """Yield samples of any or all."""
    name = "all" if all_hold else "any"
    for words, given, axes, keepdims in (
        ("all axes", Input((None, 3), "bool"), (0, 1), False),
        ("rows", Input((None, 2), "bool"), (1,), False),
        ("rows, kept", Input((None, 2), "bool"), (1,), True),
        ("the batch", Input((None, 8), "bool"), (0,), False),
        ("two of three axes", Input((None, 2, 2), "bool"), (0, 2), True),
        ("static sizes", Input((4, 2, 3), "bool"), (1,), False),
        ("size 1", Input((None, 1), "bool"), (1,), False),
        ("of nothing", Input((3, 0), "bool"), (1,), False),
        ("integers", Input((None, 2), "int32", few_values), (1,), False),
        ("real numbers", Input((None, 2), values=few_values), (1,), False),
    ):
        yield OpSample(
            f"{name}, {words}",
            Sum,
            (given,),
            lambda x, axes=axes, keepdims=keepdims: function(x, [axis - x.rank for axis in axes], keepdims),
            lambda x, axes=axes, keepdims=keepdims: _along(x, axes, keepdims, all_hold),
            lambda x, axes=axes, keepdims=keepdims: getattr(x, name)(axes, keepdims),
            gradient=False,
            second_gradient=False,
        )


SAMPLES: list[OpSample] = [*LOGICAL, *truth_samples(any, all_hold=False), *truth_samples(all, all_hold=True)]
