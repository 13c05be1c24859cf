"""Elementwise ops as NumPy ufuncs that write where the plan says."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from graphnn.compiler.targets.numpy.registry import Run, kernel
from graphnn.ops import comparison, elementwise
from graphnn.ops.broadcasting import Cast
from graphnn.ops.op import Op
from graphnn.ops.spec import TensorSpec
from graphnn.ops.state import Identity

UFUNCS: dict[type[Op], np.ufunc] = {
    elementwise.Add: np.add,
    elementwise.Subtract: np.subtract,
    elementwise.Multiply: np.multiply,
    elementwise.Divide: np.divide,
    elementwise.Maximum: np.maximum,
    elementwise.Minimum: np.minimum,
    elementwise.Negative: np.negative,
    elementwise.Exp: np.exp,
    elementwise.Log: np.log,
    elementwise.Sqrt: np.sqrt,
    elementwise.Tanh: np.tanh,
    elementwise.Abs: np.absolute,
    elementwise.Sign: np.sign,
    comparison.Equal: np.equal,
    comparison.NotEqual: np.not_equal,
    comparison.Less: np.less,
    comparison.LessEqual: np.less_equal,
    comparison.Greater: np.greater,
    comparison.GreaterEqual: np.greater_equal,
}
"""The ops that are one ufunc."""


@kernel(*UFUNCS, in_place=(0, 1))
def bind_ufunc(op: Op, out: np.ndarray, inputs: Sequence[np.ndarray], _: Sequence[np.ndarray]) -> Run:
    """One call of the op's ufunc."""
    return partial(UFUNCS[type(op)], *inputs, out=out)


@kernel(elementwise.Power, in_place=(0, 1))
def bind_power(op: elementwise.Power, out: np.ndarray, inputs: Sequence[np.ndarray], _: Sequence[np.ndarray]) -> Run:
    """The ufunc for real numbers; NumPy refuses negative integer exponents, so integers go by the op's meaning."""
    if out.dtype.kind == "f":
        return partial(np.power, *inputs, out=out)
    return lambda: np.copyto(out, op.evaluate(TensorSpec(out.shape, out.dtype), *inputs))


@kernel(elementwise.Relu, in_place=(0,))
def bind_relu(_: Op, out: np.ndarray, inputs: Sequence[np.ndarray], __: Sequence[np.ndarray]) -> Run:
    """The larger of the input and 0."""
    return partial(np.maximum, inputs[0], np.zeros((), out.dtype), out=out)


@kernel(elementwise.Clip, in_place=(0,))
def bind_clip(op: elementwise.Clip, out: np.ndarray, inputs: Sequence[np.ndarray], _: Sequence[np.ndarray]) -> Run:
    """The larger of the input and the low limit, then the smaller of that and the high one."""
    low = None if op.low is None else np.asarray(op.low, out.dtype)
    high = None if op.high is None else np.asarray(op.high, out.dtype)

    def run() -> None:
        source = inputs[0]
        if low is not None:
            source = np.maximum(source, low, out=out)
        if high is not None:
            source = np.minimum(source, high, out=out)
        if source is not out:
            np.copyto(out, source)

    return run


@kernel(elementwise.Sigmoid, in_place=(0,))
def bind_sigmoid(_: Op, out: np.ndarray, inputs: Sequence[np.ndarray], __: Sequence[np.ndarray]) -> Run:
    """``1 / (1 + exp(-x))``: where exp overflows to infinity, the quotient is the right 0."""
    one = np.ones((), out.dtype)

    def run() -> None:
        np.negative(inputs[0], out=out)
        np.exp(out, out=out)
        np.add(out, one, out=out)
        np.divide(one, out, out=out)

    return run


def _mask(_: Op, __: TensorSpec, inputs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    return (inputs[0],)


@kernel(comparison.Where, workspaces=_mask, in_place=(1, 2))
def bind_where(_: Op, out: np.ndarray, inputs: Sequence[np.ndarray], workspaces: Sequence[np.ndarray]) -> Run:
    """Masked copies; the branch whose memory the result took is left where it is."""
    condition, a, b = inputs
    negated = workspaces[0]

    def overwrite_a() -> None:
        np.logical_not(condition, out=negated)
        np.copyto(out, b, where=negated)

    def overwrite_b() -> None:
        if not same_memory(out, b):
            np.copyto(out, b)
        np.copyto(out, a, where=condition)

    return overwrite_a if same_memory(out, a) else overwrite_b


@kernel(Cast, Identity)
def bind_copy(_: Any, out: np.ndarray, inputs: Sequence[np.ndarray], __: Sequence[np.ndarray]) -> Run:
    """A copy that converts."""
    return partial(np.copyto, out, inputs[0], casting="unsafe")


def same_memory(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays show the same elements in the same order."""
    interfaces = a.__array_interface__, b.__array_interface__
    return interfaces[0]["data"] == interfaces[1]["data"] and a.strides == b.strides and a.shape == b.shape
