"""Norms of vectors, as composites of elementwise ops and sums."""

from __future__ import annotations

import math

from graphnn.ops.broadcasting import cast
from graphnn.ops.comparison import equal, where
from graphnn.ops.elementwise import abs, power, sqrt
from graphnn.ops.errors import GraphError
from graphnn.ops.node import Axes, Node
from graphnn.ops.reduce import max, min, sum, widened
from graphnn.ops.shape import located
from graphnn.ops.source import caller


def norm(x: Node, ord: float = 2.0, axes: Axes = None, keepdims: bool = False) -> Node:  # noqa: A002 - NumPy's name
    """Return the norm of vectors, ``(Σ |x| ** ord) ** (1 / ord)``, all elements along the axes being one vector.

    Where the gradient has no value, which is at 0, it is 0.

    Parameters
    ----------
    x : Node
        Of a floating type and any shape. The 16-bit types are computed in float32.
    ord : float
        1 is the sum of absolute values, 2 the length, infinity the largest absolute value, minus infinity the smallest;
        otherwise a number above 0.
    axes, keepdims
        As in `sum`. Two axes are one vector as well (NumPy's would be a matrix).

    Raises
    ------
    ShapeError, DTypeError
        If an axis does not exist or occurs twice, or `x` is not of a floating type; GraphError for another order.

    References
    ----------
    PyTorch's ``torch.linalg.vector_norm``.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     x = gn.constant([3.0, -4.0])
    ...     norms = [gn.ops.norm(x), gn.ops.norm(x, 1), gn.ops.norm(x, float("inf"))]
    >>> [float(y) for y in gn.Executor(norms, device="numpy").run({})]
    [5.0, 7.0, 4.0]
    """
    if not (ord > 0 or ord == -math.inf):
        raise GraphError(
            f"norm: there is no order {ord}", expected="a number above 0, or minus infinity", where=str(caller())
        )
    with located("norm", x):
        wide = widened(x)
        if ord == 2:
            y = root(sum(wide * wide, axes, keepdims))
        elif ord == 1:
            y = sum(abs(wide), axes, keepdims)
        elif math.isinf(ord):
            y = (max if ord > 0 else min)(abs(wide), axes, keepdims)
        else:
            y = _power_but_0(sum(_power_but_0(abs(wide), ord), axes, keepdims), 1 / ord)
        return cast(y, x.dtype)


def root(x: Node) -> Node:
    """Square root whose gradient at 0 is 0, not infinite."""
    zero = equal(x, 0)
    return where(zero, 0, sqrt(where(zero, 1, x)))


def _power_but_0(x: Node, exponent: float) -> Node:
    """Power of numbers from 0 up whose gradient at 0 is 0, not infinite."""
    zero = equal(x, 0)
    return where(zero, 0, power(where(zero, 1, x), exponent))
