"""Samples of running sums and products along an axis, and of the product over axes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from graphnn.ops import Node
from graphnn.ops.context import apply
from graphnn.ops.product import Prod, prod
from graphnn.ops.scan import Cumprod, Cumsum, LinearRecurrence, Scan, cumprod, cumsum
from op_samples import Input, OpSample
from sample_values import Values, these


def running(x: np.ndarray, axis: int, exclusive: bool, reverse: bool, add: bool) -> np.ndarray:
    """Go along an axis place by place."""
    whole = x.dtype.kind != "f"
    first = np.moveaxis(x.astype(np.int64 if whole else np.float64), axis, 0)
    total = np.full(first.shape[1:], 0 if add else 1, first.dtype)
    rows = list(first)[::-1] if reverse else list(first)
    results = []
    for row in rows:
        after = total + row if add else total * row
        results.append(total if exclusive else after)
        total = after
    joined = np.array(results[::-1] if reverse else results).reshape(first.shape)
    return np.moveaxis(joined, 0, axis).astype(np.int64 if whole else x.dtype)


def zeros_among(*values: float) -> Values:
    """Return a maker of these numbers, whose zeros the gradients have to come to terms with."""
    return these(*values)


SHAPES: tuple[tuple[str, Input, int], ...] = (
    ("rows", Input((None, 5)), 1),
    ("the batch", Input((None, 3)), 0),
    ("a middle axis", Input((2, 4, 3)), -2),
    ("a vector", Input((6,)), 0),
    ("size 1", Input((None, 1)), 1),
    ("nothing", Input((2, 0)), 1),
    ("integers", Input((None, 4), "int32"), 1),
    ("bytes", Input((None, 3), "uint8"), 0),
    ("bool", Input((None, 4), "bool"), 1),
)


def scan_samples(op: type[Scan], function: Callable[..., Node], in_torch: str) -> Iterable[OpSample]:
    """Yield samples of a running sum or product."""
    add = op is Cumsum
    options = [(name, given, axis, False, False) for name, given, axis in SHAPES]
    for exclusive, reverse in ((True, False), (False, True), (True, True)):
        options.append(("rows", Input((None, 4)), 1, exclusive, reverse))
    options += [("the batch", Input((None, 2)), 0, True, True)]
    if not add:
        options += [
            ("a zero", Input((None, 4), values=zeros_among(2, 0, -1.5, 0.5)), 1, False, False),
            ("two zeros", Input((None, 5), values=zeros_among(0.5, 0, 3, 0, 2)), 1, False, False),
            ("a zero at the end", Input((None, 3), values=zeros_among(3, 2, 0)), 1, True, True),
        ]
    for name, given, axis, exclusive, reverse in options:
        flags = "".join(f", {word}" for word, on in (("exclusive", exclusive), ("reverse", reverse)) if on)
        yield OpSample(
            f"{in_torch}, {name}{flags}",
            op,
            (given,),
            lambda x, axis=axis, e=exclusive, r=reverse: function(x, axis, e, r),
            lambda x, axis=axis, e=exclusive, r=reverse: running(x, axis, e, r, add),
            None if flags else lambda x, axis=axis: getattr(x, in_torch)(axis),
            gradient=given.dtype == "float32",
            second_gradient=given.dtype == "float32",
        )


def recurrence(a: np.ndarray, b: np.ndarray, axis: int, reverse: bool) -> np.ndarray:
    """Follow ``h[i + 1] = a[i] · h[i] + b[i]`` place by place."""
    rows = list(zip(np.moveaxis(a, axis, 0), np.moveaxis(b, axis, 0), strict=True))
    h = np.zeros_like(rows[0][0])
    results = []
    for factor, term in rows[::-1] if reverse else rows:
        results.append(h)
        h = factor * h + term
    return np.moveaxis(np.array(results[::-1] if reverse else results), 0, axis)


RECURRENCE = [
    OpSample(
        f"linear recurrence, {name}",
        LinearRecurrence,
        (Input(shape), Input(shape)),
        lambda a, b, axis=axis, reverse=reverse: apply(LinearRecurrence(axis, reverse), a, b),
        lambda a, b, axis=axis, reverse=reverse: recurrence(a, b, axis, reverse),
    )
    for name, shape, axis, reverse in (
        ("rows", (None, 4), 1, False),
        ("rows from the end", (None, 4), 1, True),
        ("the batch", (None, 2), 0, False),
        ("size 1", (2, 1), 1, False),
    )
]


def multiplied(x: np.ndarray, axes: tuple[int, ...], keepdims: bool) -> np.ndarray:
    """Multiply the values that share a place on all other axes."""
    whole = x.dtype.kind != "f"
    result = np.ones([1 if axis in axes else size for axis, size in enumerate(x.shape)], np.int64 if whole else float)
    for place in np.ndindex(*x.shape):
        target = tuple(0 if axis in axes else index for axis, index in enumerate(place))
        result[target] *= int(x[place]) if whole else float(x[place])
    kept = result if keepdims else result.squeeze(axes)
    return kept if whole else kept.astype(x.dtype)


def in_torch(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    for axis in reversed(axes):
        x = x.prod(axis, keepdims)
    return x


PROD = [
    OpSample(
        f"prod, {name}",
        Prod,
        (given,),
        lambda x, axes=axes, keepdims=keepdims: prod(x, axes, keepdims),
        lambda x, axes=axes, keepdims=keepdims: multiplied(x, axes or tuple(range(x.ndim)), keepdims),
        lambda x, axes=axes, keepdims=keepdims: in_torch(x, axes or tuple(range(x.ndim)), keepdims),
        gradient=given.dtype == "float32",
        second_gradient=given.dtype == "float32",
    )
    for name, given, axes, keepdims in (
        ("all axes", Input((None, 2, 2)), None, False),
        ("all axes, kept", Input((None, 2)), None, True),
        ("rows", Input((None, 4)), (1,), False),
        ("rows, kept", Input((None, 4)), (1,), True),
        ("the batch", Input((None, 3)), (0,), False),
        ("two of three axes", Input((None, 3, 2)), (0, 2), False),
        ("static sizes", Input((2, 3, 4)), (1, 2), True),
        ("size 1", Input((None, 1)), (1,), False),
        ("of nothing", Input((3, 0)), (1,), False),
        ("a zero", Input((None, 4), values=zeros_among(2, 0, -1.5, 0.5)), (1,), False),
        ("two zeros", Input((None, 4), values=zeros_among(0, 3, 0, 0.5)), (1,), False),
        ("three zeros", Input((5,), values=zeros_among(0, 3, 0, 0.5, 0)), (0,), False),
        ("zeros on two axes", Input((2, 3), values=zeros_among(0, 3, 0.5)), (0, 1), False),
        ("integers", Input((None, 4), "int32"), (1,), False),
        ("bytes", Input((None, 3), "uint8", these(200, 201, 202)), (1,), False),
        ("bool", Input((None, 2), "bool"), (1,), False),
    )
]

SAMPLES: list[OpSample] = [
    *scan_samples(Cumsum, cumsum, "cumsum"),
    *scan_samples(Cumprod, cumprod, "cumprod"),
    *RECURRENCE,
    *PROD,
]
