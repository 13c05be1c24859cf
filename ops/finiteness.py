"""Which numbers are NaN, infinite or finite, as composites of comparisons; all integers are finite."""

from __future__ import annotations

import math

from graphnn.ops.broadcasting import promoted
from graphnn.ops.comparison import equal, less, not_equal
from graphnn.ops.elementwise import abs
from graphnn.ops.node import Node


def isnan(x: Node) -> Node:
    """Return where `x` is NaN, as bool.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     x = gn.constant([1.0, float("nan"), float("-inf")])
    ...     kinds = [gn.ops.isnan(x), gn.ops.isinf(x), gn.ops.isfinite(x)]
    >>> for kind in gn.Executor(kinds, device="numpy").run({}):
    ...     print(kind)
    [False  True False]
    [False False  True]
    [ True False False]
    """
    (x,) = promoted("isnan", x)
    return not_equal(x, x)  # nothing but NaN differs from itself


def isinf(x: Node) -> Node:
    """Return where `x` is infinite, of either sign, as bool."""
    (x,) = promoted("isinf", x)
    return equal(abs(x), math.inf) if x.dtype.is_floating else not_equal(x, x)


def isfinite(x: Node) -> Node:
    """Return where `x` is neither infinite nor NaN, as bool."""
    (x,) = promoted("isfinite", x)
    return less(abs(x), math.inf) if x.dtype.is_floating else equal(x, x)
