"""Samples of order along an axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphnn.ops import argsort, sort, topk
from graphnn.ops.gather import Gather
from graphnn.ops.sort import Argsort, TopkIndices
from op_samples import Input, OpSample
from sample_values import few_values


def _positions(line: np.ndarray, descending: bool) -> list[int]:
    """Return positions in order, by inserting one after the other; NaN is above all numbers."""
    order: list[int] = []
    for place, value in enumerate(line.tolist()):

        def before(other: int, value: Any = value) -> bool:
            """Whether what stands at another position stays before this value."""
            known = line[other].item()
            low, high = (value, known) if descending else (known, value)
            return bool(low <= high or high != high)

        count = 0
        while count < len(order) and before(order[count]):
            count += 1
        order.insert(count, place)
    return order


def _along(x: np.ndarray, axis: int, function: Any, dtype: Any) -> np.ndarray:
    """Return the results of a function of each line along an axis."""
    lines = np.moveaxis(x, axis, -1)
    results = [function(lines[place]) for place in np.ndindex(lines.shape[:-1])]
    return np.moveaxis(np.array(results, dtype).reshape(*lines.shape[:-1], -1), -1, axis)


def _ordered(x: np.ndarray, axis: int, descending: bool, count: int | None = None) -> np.ndarray:
    return _along(x, axis, lambda line: line[_positions(line, descending)[:count]], x.dtype)


def _order(x: np.ndarray, axis: int, descending: bool, count: int | None = None) -> np.ndarray:
    return _along(x, axis, lambda line: _positions(line, descending)[:count], np.int64)


def _with_nan(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.where(generator.random(shape) < 0.4, np.nan, generator.integers(-2, 3, shape))


def _sort_samples(
    name: str, given: Input, axis: int = -1, descending: bool = False, *, gradient: bool = True
) -> list[OpSample]:
    """Return a sample of sort and one of argsort."""
    differentiable = given.dtype == "float32" and gradient
    return [
        OpSample(
            f"sort, {name}",
            Gather,
            (given,),
            lambda x: sort(x, axis, descending),
            lambda x: _ordered(x, axis, descending),
            lambda x: x.sort(dim=axis, descending=descending, stable=True).values,
            gradient=differentiable,
            second_gradient=differentiable,
        ),
        OpSample(
            f"argsort, {name}",
            Argsort,
            (given,),
            lambda x: argsort(x, axis, descending),
            lambda x: _order(x, axis, descending),
            lambda x: x.sort(dim=axis, descending=descending, stable=True).indices,
            gradient=False,
            second_gradient=False,
        ),
    ]


SORT = [
    *_sort_samples("rows", Input((None, 5))),
    *_sort_samples("rows, descending", Input((None, 5)), descending=True),
    *_sort_samples("a middle axis", Input((None, 4, 2)), axis=1),
    *_sort_samples("a middle axis, descending", Input((None, 4, 2)), axis=-2, descending=True),
    *_sort_samples("examples of a batch", Input((None, 2)), axis=0),
    *_sort_samples("a vector", Input((6,)), axis=0),
    *_sort_samples("an axis of one", Input((None, 1))),
    *_sort_samples("an empty axis", Input((2, 0)), gradient=False),
    *_sort_samples("equal values", Input((None, 9), values=few_values), gradient=False),
    *_sort_samples("equal values, descending", Input((None, 9), values=few_values), descending=True, gradient=False),
    *_sort_samples("NaN", Input((None, 7), values=_with_nan), gradient=False),
    *_sort_samples("NaN, descending", Input((None, 7), values=_with_nan), descending=True, gradient=False),
    *_sort_samples("integers", Input((None, 6), "int32")),
    *_sort_samples("bytes, descending", Input((None, 6), "uint8"), descending=True),
    *_sort_samples("bool", Input((None, 6), "bool"), descending=True),
]


def _topk_samples(
    name: str, given: Input, k: int, axis: int = -1, largest: bool = True, *, ties: bool = False
) -> list[OpSample]:
    """Return a sample of the values and one of their positions; of equal ones PyTorch may take any."""
    differentiable = given.dtype == "float32" and not ties
    return [
        OpSample(
            f"topk values, {name}",
            Gather,
            (given,),
            lambda x: topk(x, k, axis, largest)[0],
            lambda x: _ordered(x, axis, largest, k),
            lambda x: x.topk(k, axis, largest).values,
            gradient=differentiable,
            second_gradient=differentiable,
        ),
        OpSample(
            f"topk positions, {name}",
            TopkIndices,
            (given,),
            lambda x: topk(x, k, axis, largest)[1],
            lambda x: _order(x, axis, largest, k),
            None if ties else lambda x: x.topk(k, axis, largest).indices,
            gradient=False,
            second_gradient=False,
        ),
    ]


TOPK = [
    *_topk_samples("three classes", Input((None, 10)), 3),
    *_topk_samples("the smallest two", Input((None, 6)), 2, largest=False),
    *_topk_samples("one of a middle axis", Input((None, 5, 2)), 1, axis=1),
    *_topk_samples("all", Input((4,)), 4, axis=0),
    *_topk_samples("equal values", Input((None, 9), values=few_values), 5, ties=True),
    *_topk_samples("NaN", Input((None, 7), values=_with_nan), 4, ties=True),
    *_topk_samples("smallest, NaN", Input((None, 7), values=_with_nan), 6, largest=False, ties=True),
    *_topk_samples("integers", Input((None, 8), "int64"), 3, ties=True),
]

SAMPLES = [*SORT, *TOPK]
