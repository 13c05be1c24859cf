"""Activation functions that are made of smaller ops; relu, sigmoid and tanh are ops of `elementwise`."""

from __future__ import annotations

import math
from typing import Literal

from graphnn.ops import dtypes
from graphnn.ops.broadcasting import cast, promoted
from graphnn.ops.comparison import where
from graphnn.ops.elementwise import sigmoid, tanh, unary
from graphnn.ops.errors import GraphError
from graphnn.ops.node import Node
from graphnn.ops.source import caller
from graphnn.ops.special import Softplus, erf, expm1

Approximation = Literal["none", "tanh"]


def gelu(x: Node, approximate: Approximation = "none") -> Node:
    """Gaussian error linear unit: ``x · Φ(x)``, with ``Φ(x) = (1 + erf(x / √2)) / 2`` (Hendrycks and Gimpel, 2016).

    Parameters
    ----------
    x : Node
        Of any shape; integers become float32, and the 16-bit types are computed in float32.
    approximate : {"none", "tanh"}
        "tanh" takes ``Φ(x) ≈ (1 + tanh(√(2/π) · (x + 0.044715 · x³))) / 2``, as GPT-2 does.

    Raises
    ------
    GraphError
        For another approximation.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     y = gn.ops.gelu(gn.constant([-1.0, 0.0, 1.0]))
    >>> gn.Executor(y, device="numpy").run({}).round(5)
    array([-0.15866,  0.     ,  0.84134], dtype=float32)
    """
    if approximate not in ("none", "tanh"):
        raise GraphError(
            f"gelu: there is no approximation {approximate!r}",
            expected="'none' or 'tanh'",
            where=str(caller()),
            hint='approximate="tanh" is the one of GPT-2',
        )
    x, dtype = _widened("gelu", x)
    if approximate == "tanh":
        bell = tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x)))
    else:
        bell = erf(x * math.sqrt(0.5))
    return cast(0.5 * x * (1 + bell), dtype)


def silu(x: Node) -> Node:
    """Sigmoid linear unit, also called swish: ``x · sigmoid(x)`` (Elfwing, Uchibe and Doya, 2017)."""
    x, dtype = _widened("silu", x)
    return cast(x * sigmoid(x), dtype)


def softplus(x: Node, beta: float = 1.0) -> Node:
    """Smooth relative of relu: ``log(1 + e ** (beta · x)) / beta``.

    It doesn't overflow and has all derivatives everywhere, so that it needs no threshold above which it is x.

    Parameters
    ----------
    x : Node
        Of any shape; integers become float32.
    beta : float
        Above 0; the larger, the nearer to relu.

    Raises
    ------
    GraphError
        If `beta` is not above 0.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     y = gn.ops.softplus(gn.constant([-1000.0, 0.0, 1000.0]))
    >>> gn.Executor(y, device="numpy").run({})
    array([0.000000e+00, 6.931472e-01, 1.000000e+03], dtype=float32)
    """
    if not beta > 0:
        raise GraphError(f"softplus: beta is {beta}", expected="a number above 0", where=str(caller()))
    if beta == 1:
        return unary(Softplus(), x)
    x, dtype = _widened("softplus", x)
    return cast(unary(Softplus(), x * beta) / beta, dtype)


def leaky_relu(x: Node, negative_slope: float = 0.01) -> Node:
    """``x`` above 0, ``negative_slope · x`` elsewhere; the gradient at 0 is `negative_slope`, as in PyTorch."""
    return where(x > 0, x, negative_slope * x)


def elu(x: Node, alpha: float = 1.0) -> Node:
    """Exponential linear unit: x above 0, ``alpha · (e ** x - 1)`` elsewhere (Clevert and others, 2015).

    The gradient at 0 is `alpha`, as in PyTorch.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     y = gn.ops.elu(gn.constant([-1000.0, 0.0, 1000.0]))
    >>> gn.Executor(y, device="numpy").run({})
    array([  -1.,    0., 1000.], dtype=float32)
    """
    x, dtype = _widened("elu", x)
    above = x > 0
    below = where(above, 0, x)  # or the exponential of a large x, infinite, would make a NaN of the gradient's 0
    return cast(where(above, x, alpha * expm1(below)), dtype)


def hardtanh(x: Node, min_val: float = -1.0, max_val: float = 1.0) -> Node:
    """Limit to ``min_val … max_val``. The gradient at the limits is 0, as in PyTorch (that of `clip` is 1).

    Parameters
    ----------
    x : Node
        Of any shape; integers become float32.
    min_val, max_val : float
        The limits, the first below the second.

    Raises
    ------
    GraphError
        If `min_val` is not below `max_val`.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     y = gn.ops.hardtanh(gn.constant([-2.0, 0.5, 2.0]))
    >>> gn.Executor(y, device="numpy").run({})
    array([-1. ,  0.5,  1. ], dtype=float32)
    """
    if not min_val < max_val:
        raise GraphError(
            f"hardtanh: the limits are {min_val} and {max_val}",
            expected="the first below the second",
            where=str(caller()),
        )
    return where(x <= min_val, min_val, where(x >= max_val, max_val, x))


def relu6(x: Node) -> Node:
    """``min(max(x, 0), 6)``; the gradient at 0 and at 6 is 0."""
    return hardtanh(x, 0.0, 6.0)


def _widened(label: str, x: Node) -> tuple[Node, dtypes.DType]:
    """Return x in a type to compute in, and the type of the result.

    The 16-bit types are computed in float32 and rounded once, at the end, as PyTorch's kernels do; integers and bool
    become float32.
    """
    (x,) = promoted(label, x)
    result = x.dtype if x.dtype.is_floating else dtypes.float32
    return cast(x, dtypes.float32) if result.itemsize == 2 else cast(x, result), result
