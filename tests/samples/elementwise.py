"""Samples of the ops that work on each element alone: arithmetic, functions of one number, comparison, choice, cast."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from graphnn.ops import Node, Op
from graphnn.ops.broadcasting import Cast, cast
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
from graphnn.ops.elementwise import (
    Abs,
    Add,
    Clip,
    Divide,
    Exp,
    Log,
    Maximum,
    Minimum,
    Multiply,
    Negative,
    Power,
    Relu,
    Sigmoid,
    Sign,
    Sqrt,
    Subtract,
    Tanh,
    add,
    clip,
    divide,
    exp,
    log,
    maximum,
    minimum,
    relu,
    sigmoid,
    sign,
    sqrt,
    tanh,
)
from op_samples import Input, OpSample

# Values and references.


def positive(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return numbers well above 0."""
    return generator.uniform(0.5, 2.0, shape)


def away_from_zero(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return numbers of both signs, none near the kink or pole at 0."""
    return generator.choice([-1.0, 1.0], shape) * generator.uniform(0.3, 2.0, shape)


def few_values(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return -1, 0 and 1, so that many elements of two inputs are equal."""
    return generator.integers(-1, 2, shape)


def signed(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return integers of both signs."""
    return generator.integers(-9, 10, shape)


def these(*values: float) -> Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]:
    """Return a maker of exactly these values."""
    return lambda generator, shape: np.broadcast_to(np.array(values), shape).copy()


def each(function: Callable[..., Any]) -> Callable[..., np.ndarray]:
    """Return the reference that applies a function of Python numbers to one element after the other."""

    def reference(*arrays: np.ndarray) -> np.ndarray:
        spread = np.broadcast_arrays(*arrays)
        results = [
            function(*(value.item() for value in values)) for values in zip(*(a.flat for a in spread), strict=True)
        ]
        return np.array(results).reshape(spread[0].shape)

    return reference


def torch_function(name: str) -> Callable[..., object]:
    """Return a function of PyTorch by name, looked up only when it is called: PyTorch is not always there."""

    def call(*tensors: Any) -> object:
        import torch

        return getattr(torch, name)(*tensors)

    return call


# Two inputs.

BROADCASTS: Sequence[tuple[str, tuple[int | None, ...], tuple[int | None, ...]]] = (
    ("one shape", (None, 4), (None, 4)),
    ("a vector to rows", (None, 2, 3), (3,)),
    ("rows to a vector", (3,), (None, 2, 3)),
    ("both ways", (None, 1, 3), (2, 1)),
    ("axes of size 1", (1, 1), (1, 3)),
    ("a scalar on the right", (None, 2), ()),
    ("scalars", (), ()),
)

Values = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


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
        second_gradient=False,  # PyTorch and we differ from the limit where an exponent is exactly 0
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

# One input.


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

# Comparison and choice.


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

SAMPLES: list[OpSample] = [*ARITHMETIC, *POWER, *UNARY, *CLIP, *COMPARISON, *WHERE, *CAST]
