"""Elementwise ops as scalar C expressions: the one table that every compiled target prints from.

An expression is the op's value for one element. Inside a loop over neighbouring elements the compiler turns it into
vector instructions; it therefore has no branches, only selections. NaN and infinity behave as in NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from graphnn.ops import comparison, dtypes, elementwise, logical, rounding, special, trigonometry
from graphnn.ops.broadcasting import Cast
from graphnn.ops.dtypes import DType
from graphnn.ops.node import Node
from graphnn.ops.op import Op
from graphnn.ops.state import Identity

C_TYPES: dict[DType, str] = {
    dtypes.bool: "uint8_t",
    dtypes.uint8: "uint8_t",
    dtypes.int32: "int32_t",
    dtypes.int64: "int64_t",
    dtypes.float32: "float",
    dtypes.float64: "double",
}
"""The element types that compiled code knows; the 16-bit floats go by NumPy."""

Expression = Callable[[Any, DType, Sequence[str]], str]


def literal(value: float, dtype: DType) -> str:
    """Return a number as C text of a type, exact to the last bit."""
    if not dtype.is_floating:
        number = int(value)
        if number == -(2**63):
            return "INT64_MIN"
        return f"{number}LL" if dtype is dtypes.int64 else str(number)
    suffix = "f" if dtype is dtypes.float32 else ""
    if math.isnan(value):
        return f'__builtin_nan{suffix}("")'
    if math.isinf(value):
        return f"{'-' if value < 0 else ''}__builtin_inf{suffix}()"
    return f"{float(value).hex()}{suffix}"


def expression(node: Node, arguments: Sequence[str], dtype: DType | None = None) -> str:
    """Return the C expression of a node's value from those of its inputs.

    Parameters
    ----------
    node : Node
        What is computed.
    arguments : sequence of str
        C expressions of its inputs.
    dtype : DType, optional
        The element type whose arithmetic is used; by default that of the first input.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     y = gn.ops.relu(gn.placeholder("x", (3,)))
    >>> expression(y, ["x[i]"])
    '(x[i] < 0 ? 0 : x[i])'
    """
    return _TABLE[type(node.op)](node.op, dtype or node.inputs[0].dtype, arguments)


def is_in_table(op: Op) -> bool:
    """Whether an op's value for one element has an expression."""
    return type(op) in _TABLE


def has_expression(node: Node) -> bool:
    """Whether compiled code can compute a node elementwise."""
    return is_in_table(node.op) and all(spec.dtype in C_TYPES for spec in (node, *node.inputs))


def _infix(symbol: str) -> Expression:
    return lambda _op, _dtype, x: f"({x[0]} {symbol} {x[1]})"


def _function(name: str) -> Expression:
    """Call a function that exists for float with the suffix f and for double without."""
    return lambda _op, dtype, x: f"{name}{'f' if dtype is dtypes.float32 else ''}({', '.join(x)})"


def _add(_op: Op, dtype: DType, x: Sequence[str]) -> str:
    return f"({x[0]} | {x[1]})" if dtype is dtypes.bool else f"({x[0]} + {x[1]})"


def _multiply(_op: Op, dtype: DType, x: Sequence[str]) -> str:
    return f"({x[0]} & {x[1]})" if dtype is dtypes.bool else f"({x[0]} * {x[1]})"


def _divided(name: str) -> Expression:
    """Call a function of a division, which exists for each floating type and for integers."""
    real = _function(f"gn_{name}")
    return lambda op, dtype, x: real(op, dtype, x) if dtype.is_floating else f"gn_integer_{name}({x[0]}, {x[1]})"


def _power(op: Op, dtype: DType, x: Sequence[str]) -> str:
    if dtype.is_floating:
        return _function("pow")(op, dtype, x)
    return f"gn_integer_power({x[0]}, {x[1]})"


def _larger(_op: Op, dtype: DType, x: Sequence[str]) -> str:
    a, b = x
    return f"({a} >= {b} || {a} != {a} ? {a} : {b})" if dtype.is_floating else f"({a} >= {b} ? {a} : {b})"


def _smaller(_op: Op, dtype: DType, x: Sequence[str]) -> str:
    a, b = x
    return f"({a} <= {b} || {a} != {a} ? {a} : {b})" if dtype.is_floating else f"({a} <= {b} ? {a} : {b})"


def _sign(_op: Op, dtype: DType, x: Sequence[str]) -> str:
    if dtype in (dtypes.uint8, dtypes.bool):
        return f"({x[0]} > 0)"
    order = f"(({x[0]} > 0) - ({x[0]} < 0))"
    return f"({x[0]} != {x[0]} ? {x[0]} : {order})" if dtype.is_floating else order


def _abs(op: Op, dtype: DType, x: Sequence[str]) -> str:
    return _function("__builtin_fabs")(op, dtype, x) if dtype.is_floating else f"({x[0]} < 0 ? -{x[0]} : {x[0]})"


def _clip(op: elementwise.Clip, dtype: DType, x: Sequence[str]) -> str:
    text = x[0]
    if op.low is not None:
        low = literal(op.low, dtype)
        text = f"({text} < {low} ? {low} : {text})"
    if op.high is not None:
        high = literal(op.high, dtype)
        text = f"({text} > {high} ? {high} : {text})"
    return text


def _cast(op: Cast, dtype: DType, x: Sequence[str]) -> str:
    if op.dtype is dtypes.bool:
        return f"({x[0]} != 0)"
    if op.dtype is dtypes.uint8 and dtype.is_floating:
        return f"((uint8_t)(int32_t){x[0]})"  # straight to an unsigned type, a negative number has no meaning
    return f"(({C_TYPES[op.dtype]}){x[0]})"


_TABLE: dict[type[Op], Expression] = {
    elementwise.Add: _add,
    elementwise.Subtract: _infix("-"),
    elementwise.Multiply: _multiply,
    elementwise.Divide: _infix("/"),
    elementwise.Power: _power,
    elementwise.Maximum: _larger,
    elementwise.Minimum: _smaller,
    elementwise.Negative: lambda _op, _dtype, x: f"(-{x[0]})",
    elementwise.Exp: _function("gn_exp"),
    elementwise.Log: _function("gn_log"),
    elementwise.Sqrt: _function("__builtin_sqrt"),
    elementwise.Tanh: _function("gn_tanh"),
    elementwise.Sigmoid: _function("gn_sigmoid"),
    elementwise.Relu: lambda _op, _dtype, x: f"({x[0]} < 0 ? 0 : {x[0]})",
    elementwise.Abs: _abs,
    elementwise.Sign: _sign,
    elementwise.Clip: _clip,
    special.Erf: _function("gn_erf"),
    special.Expm1: _function("gn_expm1"),
    special.Log1p: _function("gn_log1p"),
    special.Softplus: _function("gn_softplus"),
    trigonometry.Sin: _function("gn_sin"),
    trigonometry.Cos: _function("gn_cos"),
    trigonometry.Tan: _function("gn_tan"),
    trigonometry.Asin: _function("gn_asin"),
    trigonometry.Acos: _function("gn_acos"),
    trigonometry.Atan: _function("gn_atan"),
    trigonometry.Atan2: _function("gn_atan2"),
    trigonometry.Sinh: _function("gn_sinh"),
    trigonometry.Cosh: _function("gn_cosh"),
    trigonometry.Asinh: _function("gn_asinh"),
    trigonometry.Acosh: _function("gn_acosh"),
    trigonometry.Atanh: _function("gn_atanh"),
    rounding.Floor: _function("__builtin_floor"),
    rounding.Ceil: _function("__builtin_ceil"),
    rounding.Round: _function("__builtin_rint"),
    rounding.Trunc: _function("__builtin_trunc"),
    rounding.FloorDivide: _divided("floor_divide"),
    rounding.Remainder: _divided("remainder"),
    rounding.Fmod: _divided("fmod"),
    logical.LogicalAnd: _infix("&"),
    logical.LogicalOr: _infix("|"),
    logical.LogicalXor: _infix("^"),
    logical.LogicalNot: lambda _op, _dtype, x: f"(!{x[0]})",
    comparison.Equal: _infix("=="),
    comparison.NotEqual: _infix("!="),
    comparison.Less: _infix("<"),
    comparison.LessEqual: _infix("<="),
    comparison.Greater: _infix(">"),
    comparison.GreaterEqual: _infix(">="),
    comparison.Where: lambda _op, _dtype, x: f"({x[0]} ? {x[1]} : {x[2]})",
    Cast: _cast,
    Identity: lambda _op, _dtype, x: x[0],
}
