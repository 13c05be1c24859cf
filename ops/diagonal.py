"""Diagonals and triangles of matrices: diagonal, trace, tril, triu."""

from __future__ import annotations

import builtins

import numpy as np

from graphnn.ops.comparison import where
from graphnn.ops.errors import ShapeError
from graphnn.ops.node import Node
from graphnn.ops.reduce import sum
from graphnn.ops.shape import located, normalize_axis, reshape, transpose
from graphnn.ops.slicing import take_spans
from graphnn.ops.spans import slice_span
from graphnn.ops.spec import Dim
from graphnn.ops.state import constant


def diagonal(x: Node, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Node:
    """Return the diagonals of matrices: ``y[..., i] = x[..., i, i + offset]``, a view where nothing is moved.

    Parameters
    ----------
    x : Node
        Of two axes or more.
    offset : int
        How far to the right of the main diagonal; negative ones are below it.
    axis1, axis2 : int
        The rows and the columns of the matrices. Neither may be the batch.

    Returns
    -------
    Node
        The other axes, then one along the diagonal, which is empty where the offset leads out of the matrix.

    Raises
    ------
    ShapeError
        If the axes do not exist, are the same, or one is the batch.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     x = gn.placeholder("x", (None, 3, 4))
    ...     gn.ops.diagonal(x, axis1=1, axis2=2).shape, gn.ops.diagonal(x, 2, 1, 2).shape
    ((N, 3), (N, 2))
    """
    with located("diagonal", x):
        rows, columns = normalize_axis(axis1, x.rank), normalize_axis(axis2, x.rank)
        if rows == columns:
            raise ShapeError(
                f"axis1 and axis2 are both {rows}", expected="two axes", hint="the rows and columns of a matrix"
            )
        height, width = _matrix_size(x, rows, columns)
    others = [axis for axis in range(x.rank) if axis not in (rows, columns)]
    lines = transpose(x, (*others, rows, columns))
    elements = reshape(lines, (*lines.shape[:-2], height * width))
    count = max(0, min(height, width - offset) if offset >= 0 else min(height + offset, width))
    start = offset if offset >= 0 else -offset * width
    along = slice_span(height * width, builtins.slice(start, start + count * (width + 1), width + 1))
    return take_spans(elements, [*((0, size, 1) for size in elements.shape[:-1]), along])


def _matrix_size(x: Node, rows: int, columns: int) -> tuple[int, int]:
    height, width = x.shape[rows], x.shape[columns]
    if isinstance(height, Dim) or isinstance(width, Dim):
        raise ShapeError(
            f"the matrices are of size {height} by {width}, which differs from run to run",
            expected="rows and columns of fixed size",
            hint="choose the axes of the matrices, such as axis1=-2, axis2=-1",
        )
    return height, width


def trace(x: Node, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Node:
    """Sum the diagonals of matrices: ``y = Σ x[..., i, i + offset]``.

    Parameters and errors are those of `diagonal`; sums of integers are int64, as in `sum`.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     y = gn.ops.trace(gn.constant([[1.0, 2.0], [3.0, 4.0]]))
    >>> gn.Executor(y, device="numpy").run()
    array(5., dtype=float32)
    """
    return sum(diagonal(x, offset, axis1, axis2), -1)


def tril(x: Node, diagonal: int = 0) -> Node:
    """Keep the lower triangles of matrices, the last two axes, and put 0 elsewhere (ONNX Trilu).

    Parameters
    ----------
    x : Node
        Of two axes or more; the last two are of fixed size.
    diagonal : int
        The last diagonal that is kept: 0 is the main one, larger ones are above it.

    Raises
    ------
    ShapeError
        If there are fewer axes, or one of the last two is the batch.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     y = gn.ops.tril(gn.constant([[1.0, 2.0], [3.0, 4.0]]))
    >>> gn.Executor(y, device="numpy").run()
    array([[1., 0.],
           [3., 4.]], dtype=float32)
    """
    return _triangle("tril", x, diagonal)


def triu(x: Node, diagonal: int = 0) -> Node:
    """Keep the upper triangles of matrices, the last two axes, and put 0 elsewhere (ONNX Trilu).

    Parameters and errors are those of `tril`; `diagonal` is the first one that is kept.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     y = gn.ops.triu(gn.constant([[1.0, 2.0], [3.0, 4.0]]), 1)
    >>> gn.Executor(y, device="numpy").run()
    array([[0., 2.],
           [0., 0.]], dtype=float32)
    """
    return _triangle("triu", x, diagonal)


def _triangle(label: str, x: Node, diagonal: int) -> Node:
    with located(label, x):
        if x.rank < 2:
            raise ShapeError(
                f"x has {x.rank} axes", expected="two axes or more: rows and columns", hint="reshape x first"
            )
        ones = np.ones(_matrix_size(x, x.rank - 2, x.rank - 1), np.bool_)
    with x.graph:
        kept = constant(np.tril(ones, diagonal) if label == "tril" else np.triu(ones, diagonal))
    return where(kept, x, False)  # 0 of whatever type x has
