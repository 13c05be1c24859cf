"""Elements in other places: flip, roll, tile, repeat_interleave. All are made of slices, joins and broadcasts."""

from __future__ import annotations

import builtins
from collections.abc import Iterable

from graphnn.ops.errors import ShapeError
from graphnn.ops.node import Axes, Node
from graphnn.ops.shape import broadcast_to, located, normalize_axes, normalize_axis, reshape
from graphnn.ops.slicing import concat, cut_along, take_spans
from graphnn.ops.spans import is_integer, slice_span
from graphnn.ops.spec import Dim, Extent


def flip(x: Node, axes: Axes = None) -> Node:
    """Reverse the order along axes.

    Parameters
    ----------
    x : Node
        Of any shape.
    axes : int or iterable of int, optional
        Negative ones are counted from the last; None means all. The batch axis can't be reversed.

    Raises
    ------
    ShapeError
        If an axis does not exist, occurs twice or is the batch.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     y = gn.ops.flip(gn.constant([[1, 2, 3], [4, 5, 6]]), axes=1)
    >>> gn.Executor(y, device="numpy").run()
    array([[3, 2, 1],
           [6, 5, 4]])
    """
    with located("flip", x):
        reversed_axes = normalize_axes(axes, x.rank)
        steps = [-1 if axis in reversed_axes else 1 for axis in range(x.rank)]
        sizes = zip(x.shape, steps, strict=True)
        spans = [slice_span(size, builtins.slice(None, None, step)) for size, step in sizes]
    return take_spans(x, spans)


def roll(x: Node, shifts: int | Iterable[int], axes: int | Iterable[int]) -> Node:
    """Shift elements along axes; those that leave at one end come in again at the other.

    ``y[(i + shift) % size] = x[i]`` along each axis.

    Parameters
    ----------
    x : Node
        Of any shape.
    shifts : int or iterable of int
        A shift for each of `axes`; negative ones go towards the beginning.
    axes : int or iterable of int
        Negative ones are counted from the last. The batch axis can't be rolled.

    Raises
    ------
    ShapeError
        If the numbers of shifts and axes differ, or an axis does not exist, occurs twice or is the batch.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     y = gn.ops.roll(gn.constant([[1, 2, 3, 4]]), 1, axes=1)
    >>> gn.Executor(y, device="numpy").run()
    array([[4, 1, 2, 3]])
    """
    with located("roll", x):
        moves = tuple(shifts) if isinstance(shifts, Iterable) else (shifts,)
        along = tuple(axes) if isinstance(axes, Iterable) else (axes,)
        normalize_axes(along, x.rank)
        if len(moves) != len(along) or not all(map(is_integer, moves)):
            raise ShapeError(f"the shifts are {shifts} for the axes {axes}", expected="an integer for each axis")
        sizes = [_static_size(x, normalize_axis(axis, x.rank)) for axis in along]
    for axis, size, move in zip(along, sizes, moves, strict=True):
        shift = move % size if size else 0
        if shift:
            position = axis % x.rank
            head, tail = cut_along(x, position, (size - shift, shift))
            x = concat((tail, head), position)
    return x


def _static_size(x: Node, axis: int) -> int:
    size = x.shape[axis]
    if isinstance(size, Dim):
        raise ShapeError(
            f"the batch axis of size {size} can't be rolled: its positions differ from run to run",
            expected="axes of fixed size",
            hint="roll the data before feeding, or ops.take(x, indices)",
        )
    return size


def tile(x: Node, repeats: int | Iterable[int]) -> Node:
    """Repeat a value as a whole along its axes (ONNX Tile): ``[a, b]`` twice is ``[a, b, a, b]``.

    Parameters
    ----------
    x : Node
        Of any shape. Tiling its batch k times gives an axis of k·N.
    repeats : int or iterable of int
        How often, for each axis, counted from the last; an axis without a number stays. If there are more numbers
        than axes, the result has as many axes as numbers.

    Raises
    ------
    ShapeError
        If a number is below 1.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     x = gn.placeholder("x", (None, 3))
    ...     gn.ops.tile(x, (1, 2)).shape, gn.ops.tile(x, (2, 1)).shape, gn.ops.tile(x, (4, 1, 1)).shape
    ((N, 6), (2·N, 3), (4, N, 3))
    """
    given = tuple(repeats) if isinstance(repeats, Iterable) else (repeats,)
    with located("tile", x):
        _require_repeats(given)
    rank = max(x.rank, len(given))
    counts = (*(1,) * (rank - len(given)), *given)
    sizes = (*(1,) * (rank - x.rank), *x.shape)
    single: list[Extent] = []
    several: list[Extent] = []
    for count, size in zip(counts, sizes, strict=True):
        single += [size] if count == 1 else [1, size]
        several += [size] if count == 1 else [count, size]
    repeated = broadcast_to(reshape(x, single), several)
    return reshape(repeated, [size * count for count, size in zip(counts, sizes, strict=True)])


def repeat_interleave(x: Node, repeats: int, axis: int) -> Node:
    """Repeat each entry of an axis (NumPy ``repeat``): ``[a, b]`` twice is ``[a, a, b, b]``.

    Parameters
    ----------
    x : Node
        Of any shape but a scalar's.
    repeats : int
        How often.
    axis : int
        Negative ones are counted from the last. The batch axis becomes one of repeats·N.

    Raises
    ------
    ShapeError
        If the axis does not exist or `repeats` is below 1.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     gn.ops.repeat_interleave(gn.placeholder("x", (None, 3)), 2, axis=0).shape
    (2·N, 3)
    """
    with located("repeat_interleave", x):
        position = normalize_axis(axis, x.rank)
        _require_repeats((repeats,))
    if repeats == 1:
        return x
    before, size, after = x.shape[:position], x.shape[position], x.shape[position + 1 :]
    several: tuple[Extent, ...] = (*before, size, repeats, *after)
    repeated = broadcast_to(reshape(x, (*before, size, 1, *after)), several)
    return reshape(repeated, (*before, size * repeats, *after))


def _require_repeats(repeats: tuple[int, ...]) -> None:
    if not all(is_integer(count) and count >= 1 for count in repeats):
        shown = repeats[0] if len(repeats) == 1 else repeats
        raise ShapeError(f"repeats is {shown}", expected="integers of 1 or more", hint="1 leaves an axis as it is")
