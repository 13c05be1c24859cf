"""Values cut into parts, and parts joined along a new axis: split, chunk, unstack, stack."""

from __future__ import annotations

from collections.abc import Iterable

from graphnn.ops.broadcasting import Value, promoted
from graphnn.ops.errors import ShapeError
from graphnn.ops.node import Node
from graphnn.ops.shape import expand_dims, located, normalize_axis, reshape
from graphnn.ops.slicing import concat, cut_along
from graphnn.ops.spans import is_integer
from graphnn.ops.spec import Dim, Extent, format_shape


def split(x: Node, split_size: Extent | Iterable[Extent], axis: int = 0) -> tuple[Node, ...]:
    """Cut a value into parts along an axis, each of a given size (ONNX Split); `concat` joins them again.

    Parameters
    ----------
    x : Node
        Of any shape but a scalar's.
    split_size : int, Dim or iterable of them
        The size of each part, the last one being smaller where it does not divide the axis; or a size for every part.
        Sizes along a batch axis are multiples of the batch size N: ``Dim(1)`` is N.
    axis : int
        Negative ones are counted from the last.

    Returns
    -------
    tuple of Node

    Raises
    ------
    ShapeError
        If the axis does not exist, a size is no size, or the sizes do not add up to that of the axis.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     x = gn.placeholder("x", (None, 7))
    ...     [part.shape for part in gn.ops.split(x, 3, axis=1)]
    ...     [part.shape for part in gn.ops.split(x, (2, 5), axis=1)]
    [(N, 3), (N, 3), (N, 1)]
    [(N, 2), (N, 5)]
    """
    with located("split", x):
        position = normalize_axis(axis, x.rank)
        size = x.shape[position]
        whole = _count(size, size)
        if isinstance(split_size, Iterable):
            counts = [_count(part, size) for part in split_size]
        else:
            each = _count(split_size, size)
            if each < 1:
                raise ShapeError(f"the size of a part is {split_size}", expected="1 or more", hint="give a larger one")
            counts = [min(each, whole - start) for start in range(0, whole, each)] or [0]
        if sum(counts) != whole or min(counts) < 0:
            raise ShapeError(
                f"sizes of parts that add up to {_extent(sum(counts), size)}",
                expected=f"{size}, the size of axis {position} of {format_shape(x.shape)}",
                hint="x[:, a:b] takes one part and leaves the rest",
            )
    return cut_along(x, position, [_extent(count, size) for count in counts])


def _count(part: Extent, whole: Extent) -> int:
    """Return a size in units of 1, or of N along a batch axis."""
    if isinstance(whole, Dim) and isinstance(part, Dim):
        return part.multiple
    if not isinstance(whole, Dim) and is_integer(part) and not isinstance(part, Dim):
        return int(part)
    raise ShapeError(
        f"{part!r} is no size of a part of {whole}",
        expected="multiples of the batch size N, such as Dim(1)" if isinstance(whole, Dim) else "integers",
        hint="ops.take(x, indices) picks examples of a batch" if isinstance(whole, Dim) else "give a number for each",
    )


def _extent(count: int, whole: Extent) -> Extent:
    return Dim(count) if isinstance(whole, Dim) else count


def chunk(x: Node, chunks: int, axis: int = 0) -> tuple[Node, ...]:
    """Cut a value into equal parts along an axis.

    Parameters
    ----------
    x : Node
        Of any shape but a scalar's.
    chunks : int
        The number of parts; it divides the size of the axis. A batch axis of 2·N gives two parts of N.
    axis : int
        Negative ones are counted from the last.

    Raises
    ------
    ShapeError
        If the axis does not exist, or can't be cut into so many equal parts.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     [part.shape for part in gn.ops.chunk(gn.placeholder("x", (None, 6)), 2, axis=1)]
    [(N, 3), (N, 3)]
    """
    with located("chunk", x):
        position = normalize_axis(axis, x.rank)
        size = x.shape[position]
        if not is_integer(chunks) or chunks < 1 or _count(size, size) % chunks:
            raise ShapeError(
                f"an axis of size {size} can't be cut into {chunks} equal parts",
                expected="a number of parts that divides it",
                hint="ops.split(x, sizes, axis) gives parts of different sizes",
            )
    return cut_along(x, position, [_extent(_count(size, size) // chunks, size)] * chunks)


def unstack(x: Node, axis: int = 0) -> tuple[Node, ...]:
    """Return the entries of an axis, each without that axis (PyTorch ``unbind``); `stack` joins them again.

    Raises
    ------
    ShapeError
        If the axis does not exist or is the batch, whose size differs from run to run.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     steps = gn.ops.unstack(gn.placeholder("sequences", (None, 5, 8)), axis=1)
    >>> len(steps), steps[0].shape
    (5, (N, 8))
    """
    with located("unstack", x):
        position = normalize_axis(axis, x.rank)
        size = x.shape[position]
        if isinstance(size, Dim):
            raise ShapeError(
                f"the batch axis of size {size} can't be unstacked: its size differs from run to run",
                expected="an axis of fixed size",
                hint="ops.take(x, index) picks an example",
            )
    shape = (*x.shape[:position], *x.shape[position + 1 :])
    return tuple(reshape(part, shape) for part in cut_along(x, position, [1] * size))


def stack(nodes: Iterable[Value], axis: int = 0) -> Node:
    """Join nodes of one shape along a new axis; element types are promoted, arrays become constants.

    Parameters
    ----------
    nodes : iterable of Node or array
        Of equal shapes.
    axis : int
        Where the new axis is in the result; negative ones are counted from its last.

    Raises
    ------
    ShapeError
        If the shapes differ or the result has no such axis.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     x = gn.placeholder("x", (None, 3))
    ...     gn.ops.stack([x, x * 2], axis=1).shape, gn.ops.stack([x, x], axis=-1).shape
    ((N, 2, 3), (N, 3, 2))
    """
    parts = promoted("stack", *nodes)
    with located("stack", *parts):
        position = normalize_axis(axis, parts[0].rank + 1)
        if any(part.shape != parts[0].shape for part in parts):
            raise ShapeError(
                "the inputs differ in shape",
                expected="one shape for all of them",
                hint="ops.concat joins along an axis that is there already",
            )
    return concat([expand_dims(part, position) for part in parts], position)
