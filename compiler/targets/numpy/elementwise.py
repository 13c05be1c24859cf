"""Elementwise ops as NumPy ufuncs that write where the plan says."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from graphnn.compiler.targets.numpy.registry import Run, kernel
from graphnn.ops import comparison, elementwise, logical, rounding, special, trigonometry
from graphnn.ops.broadcasting import Cast
from graphnn.ops.dtypes import float32
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
    special.Expm1: np.expm1,
    special.Log1p: np.log1p,
    trigonometry.Sin: np.sin,
    trigonometry.Cos: np.cos,
    trigonometry.Tan: np.tan,
    trigonometry.Asin: np.arcsin,
    trigonometry.Acos: np.arccos,
    trigonometry.Atan: np.arctan,
    trigonometry.Atan2: np.arctan2,
    trigonometry.Sinh: np.sinh,
    trigonometry.Cosh: np.cosh,
    trigonometry.Asinh: np.arcsinh,
    trigonometry.Acosh: np.arccosh,
    trigonometry.Atanh: np.arctanh,
    rounding.Floor: np.floor,
    rounding.Ceil: np.ceil,
    rounding.Round: np.rint,
    rounding.Trunc: np.trunc,
    rounding.FloorDivide: np.floor_divide,
    rounding.Remainder: np.remainder,
    rounding.Fmod: np.fmod,
    logical.LogicalAnd: np.logical_and,
    logical.LogicalOr: np.logical_or,
    logical.LogicalXor: np.logical_xor,
    logical.LogicalNot: np.logical_not,
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


@kernel(special.Softplus, in_place=(0,))
def bind_softplus(_: Op, out: np.ndarray, inputs: Sequence[np.ndarray], __: Sequence[np.ndarray]) -> Run:
    """``log(exp(x) + exp(0))``, which NumPy computes without overflow."""
    return partial(np.logaddexp, inputs[0], np.zeros((), out.dtype), out=out)


ERF_IS_1 = np.float32(3.925)
ERF_UPPER = tuple(
    np.float32(c)
    for c in (1.9869295e-08, -1.9565731e-06, 1.4217025e-04, 3.7191606e-03, 5.0631163e-02, 2.0036482e-01, 1.1283791)
)
ERF_LOWER = tuple(np.float32(c) for c in (9.5996100e-04, 1.4389992e-02, 1.1517984e-01, 5.1090033e-01, 1.0))


def _erf_workspaces(_: special.Erf, out: TensorSpec, __: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    return (out, out, out) if out.dtype is float32 else ()


@kernel(special.Erf, workspaces=_erf_workspaces, in_place=(0,))
def bind_erf(op: special.Erf, out: np.ndarray, inputs: Sequence[np.ndarray], workspaces: Sequence[np.ndarray]) -> Run:
    """``x · p(x²) / q(x²)`` up to 8 units in the last place in float32; the op's meaning in float64.

    The polynomials are a fit of graphnn's own for |x| up to `ERF_IS_1`, with a relative error of 5e-8.
    """
    if out.dtype != np.float32:
        return lambda: np.copyto(out, op.evaluate(TensorSpec(out.shape, out.dtype), inputs[0]))
    square, upper, lower = workspaces

    def run() -> None:
        np.clip(inputs[0], -ERF_IS_1, ERF_IS_1, out=out)
        np.multiply(out, out, out=square)
        _polynomial(ERF_UPPER, square, upper)
        _polynomial(ERF_LOWER, square, lower)
        np.divide(upper, lower, out=upper)
        np.multiply(out, upper, out=out)
        np.clip(out, np.float32(-1), np.float32(1), out=out)

    return run


def _polynomial(coefficients: Sequence[np.float32], x: np.ndarray, out: np.ndarray) -> None:
    """Write a polynomial's value, highest power first."""
    np.multiply(x, coefficients[0], out=out)
    for coefficient in coefficients[1:-1]:
        np.add(out, coefficient, out=out)
        np.multiply(out, x, out=out)
    np.add(out, coefficients[-1], out=out)


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
