"""Reductions that are made of smaller ops: standard deviation, log-sum-exp, any and all."""

from __future__ import annotations

from graphnn.ops import dtypes
from graphnn.ops.broadcasting import cast
from graphnn.ops.comparison import equal, greater, where
from graphnn.ops.elementwise import exp, log
from graphnn.ops.finiteness import isfinite
from graphnn.ops.logical import logical_not
from graphnn.ops.node import Axes, Node, node_method
from graphnn.ops.reduce import max, reduced_shape, sum, variance, widened
from graphnn.ops.shape import located, normalize_axes, reshape
from graphnn.ops.state import stop_gradient
from graphnn.ops.vector_norm import root


@node_method
def std(x: Node, axes: Axes = None, keepdims: bool = False, correction: int = 0) -> Node:
    """Standard deviation over axes, the square root of `variance`; where that is 0, the gradient is 0.

    Parameters
    ----------
    x, axes, keepdims, correction
        As in `variance`, and so are the errors.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     y = gn.constant([1.0, 3.0]).std()
    >>> gn.Executor(y, device="numpy").run({})
    array(1., dtype=float32)
    """
    with located("std", x):
        return cast(root(variance(widened(x), axes, keepdims, correction)), x.dtype)


def logsumexp(x: Node, axes: Axes = None, keepdims: bool = False) -> Node:
    """Return ``log(Σ exp(x))`` over axes without overflow. Its gradient is the softmax.

    Parameters
    ----------
    x : Node
        Of a floating type and any shape. The 16-bit types are computed in float32.
    axes, keepdims
        As in `sum`.

    Raises
    ------
    ShapeError, DTypeError
        If an axis does not exist, occurs twice or has size 0, or `x` is not of a floating type.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     y = gn.ops.logsumexp(gn.constant([[1000.0, 1000.0], [-1000.0, 0.0]]), axes=1)
    >>> gn.Executor(y, device="numpy").run({})
    array([1000.6932,    0.    ], dtype=float32)
    """
    with located("logsumexp", x):
        wide = widened(x)
        reduced = normalize_axes(axes, x.rank)
        largest = stop_gradient(max(wide, reduced, keepdims=True))  # the result does not depend on what is subtracted
        shift = where(isfinite(largest), largest, 0)  # not infinity - infinity
        y = log(sum(exp(wide - shift), reduced, keepdims=True)) + shift
        return cast(reshape(y, reduced_shape(x.shape, reduced, keepdims)), x.dtype)


@node_method
def any(x: Node, axes: Axes = None, keepdims: bool = False) -> Node:  # noqa: A001 - NumPy's and PyTorch's name
    """Return whether an element is True (or not 0) over axes; of no elements none is.

    Parameters
    ----------
    x : Node
        Of any shape and type.
    axes, keepdims
        As in `sum`, and so are the errors.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     x = gn.constant([[0, 1], [1, 1]])
    ...     some, every = x.any(1), x.all(1)
    >>> gn.Executor([some, every], device="numpy").run({})
    [array([ True,  True]), array([False,  True])]
    """
    with located("any", x):
        return greater(sum(cast(x, dtypes.bool), axes, keepdims), 0)


@node_method
def all(x: Node, axes: Axes = None, keepdims: bool = False) -> Node:  # noqa: A001 - NumPy's and PyTorch's name
    """Return whether all elements are True (or not 0) over axes; of no elements all are. See `any`."""
    with located("all", x):
        return equal(sum(logical_not(cast(x, dtypes.bool)), axes, keepdims), 0)
