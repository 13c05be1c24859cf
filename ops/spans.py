"""Which positions of an axis an index means: Python's integers and slices, in one form per meaning.

The batch axis has no positions that are known beforehand, so it can only be taken whole.
"""

from __future__ import annotations

import operator
from types import EllipsisType
from typing import Any

import numpy as np

from graphnn.ops.errors import GraphError, ShapeError
from graphnn.ops.spec import Dim, Extent

Span = tuple[int, Extent, int]
"""Start, stop and step of the positions taken from one axis, as `range` means them; a batch axis stops at its size."""

FAR_END = 2**31 - 1
"""A stop from here on means "up to the end", as in ONNX files."""


def is_integer(value: object) -> bool:
    """Whether a value is a Python or NumPy integer, and no bool."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def slice_span(size: Extent, bounds: slice) -> Span:
    """Return the positions that Python's ``start:stop:step`` means on an axis of this size.

    Examples
    --------
    >>> slice_span(10, slice(None, -1, 4)), slice_span(10, slice(None, None, -5))
    ((0, 9, 4), (9, 3, -5))
    >>> slice_span(Dim(1), slice(None))
    (0, N, 1)
    """
    start, stop, step = bounds.start, bounds.stop, bounds.step
    if not all(bound is None or is_integer(bound) or _is_batch(bound, size) for bound in (start, stop, step)):
        raise _index_error(f"{bounds}")
    if isinstance(size, Dim):
        to_end = stop is None or stop == size or (is_integer(stop) and stop >= FAR_END)
        if start not in (None, 0) or not to_end or step not in (None, 1):
            raise _batch_slice_error(size)
        return 0, size, 1
    if step == 0:
        raise ShapeError("a slice has step 0", expected="a positive or negative step")
    positions = range(size)[bounds]
    if len(positions) < 2:
        return (positions[0], positions[0] + 1, 1) if positions else (0, 0, 1)
    return positions[0], positions[-1] + (1 if positions.step > 0 else -1), positions.step


def integer_span(size: Extent, position: Any) -> Span:
    """Return the one position that an integer means, negative ones counted from the end."""
    if isinstance(size, Dim):
        raise ShapeError(
            f"the batch axis of size {size} can't be indexed by {position}",
            expected="the whole axis, as in x[:, 0]",
            hint="ops.take(x, index) picks an example",
        )
    start = operator.index(position)
    if not -size <= start < size:
        raise ShapeError(f"the index {start} is outside of an axis of size {size}")
    return start % size, start % size + 1, 1


def extent_of(size: Extent, span: Span) -> Extent:
    """Return how many positions a span takes from an axis, or raise a ShapeError where it does not fit."""
    start, stop, step = span
    if isinstance(size, Dim) or isinstance(stop, Dim):
        if span != (0, size, 1):
            raise _batch_slice_error(size)
        return size
    positions = range(start, stop, step)
    if positions and not (0 <= positions[0] < size and 0 <= positions[-1] < size):
        raise ShapeError(f"the slice {start}:{stop}:{step} is outside of an axis of size {size}")
    return len(positions)


def one_item_per_axis(index: object, rank: int) -> tuple[object, ...]:
    """Return the integer or slice for each axis, and None for each new axis, with no Ellipsis left."""
    items = index if isinstance(index, tuple) else (index,)
    for item in items:
        if not (item is None or isinstance(item, slice | EllipsisType) or is_integer(item)):
            raise _index_error(type(item).__name__)
    ellipses = [number for number, item in enumerate(items) if item is ...]
    missing = rank - sum(item is not None and item is not ... for item in items)
    if len(ellipses) > 1 or missing < 0:
        raise ShapeError("there are too many indices", expected=f"at most {rank}, besides None and one ...")
    cut = ellipses[0] if ellipses else len(items)
    return items[:cut] + (slice(None),) * missing + items[cut + 1 :]


def _is_batch(bound: object, size: Extent) -> bool:
    return isinstance(bound, Dim) and isinstance(size, Dim)


def _batch_slice_error(size: Extent) -> ShapeError:
    return ShapeError(
        f"the batch axis of size {size} can't be sliced: its positions differ from run to run",
        expected="the whole axis, as in x[:, 0]",
        hint="ops.take(x, indices) picks examples; or slice the data before feeding",
    )


def _index_error(kind: str) -> GraphError:
    return GraphError(
        f"a node can't be indexed by {kind}",
        expected="integers, slices of integers, None and ...",
        hint="ops.take(x, indices, axis) picks by positions, ops.where(condition, a, b) chooses by value",
    )
