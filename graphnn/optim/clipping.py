"""Limits for gradients, against steps that are too long."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, reduce
from operator import add

from graphnn.ops import dtypes
from graphnn.ops.context import apply
from graphnn.ops.elementwise import Sqrt, clip
from graphnn.ops.errors import GraphError
from graphnn.ops.node import Node
from graphnn.ops.source import caller


def clip_grad_norm(gradients: Sequence[Node], max_norm: float) -> tuple[list[Node], Node]:
    """Scale gradients together so that their norm is at most `max_norm`, as PyTorch's ``clip_grad_norm_``.

    ::

        norm = sqrt(Σ g²), over all elements of all gradients
        g ← g · min(1, max_norm / (norm + 1e-6))

    Parameters
    ----------
    gradients : sequence of Node
        Of floating types. Where one has an infinite or NaN element, all become NaN or 0.
    max_norm : float
        Above 0.

    Returns
    -------
    tuple of (list of Node, Node)
        The gradients, and the norm before.

    Raises
    ------
    GraphError
        If there are no gradients, or the limit is not above 0.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     (a, b), norm = clip_grad_norm([gn.constant([3.0]), gn.constant([4.0, 0.0])], max_norm=1.0)
    >>> [value.round(4).tolist() for value in gn.Executor([a, b, norm], device="numpy").run()]
    [[0.6000000238418579], [0.800000011920929, 0.0], 5.0]
    """
    _require("clip_grad_norm", gradients, "max_norm", max_norm)
    return clipped_by_norm(gradients, max_norm)


def clip_grad_value(gradients: Sequence[Node], clip_value: float) -> list[Node]:
    """Limit each element of gradients to ``-clip_value … clip_value``, as PyTorch's ``clip_grad_value_``.

    Parameters
    ----------
    gradients : sequence of Node
        Of floating types.
    clip_value : float
        Above 0.

    Raises
    ------
    GraphError
        If there are no gradients, or the limit is not above 0.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     (clipped,) = clip_grad_value([gn.constant([3.0, -0.5])], 1.0)
    >>> gn.Executor(clipped, device="numpy").run()
    array([ 1. , -0.5], dtype=float32)
    """
    _require("clip_grad_value", gradients, "clip_value", clip_value)
    return [clip(gradient, -clip_value, clip_value) for gradient in gradients]


def clipped_by_norm(gradients: Sequence[Node], max_norm: float, name: str | None = None) -> tuple[list[Node], Node]:
    """Do what `clip_grad_norm` does; `name` is that of the norm."""
    wide = dtypes.promote(dtypes.float32, *(gradient.dtype for gradient in gradients))  # squares of halves overflow
    widened = [gradient.astype(wide) for gradient in gradients]
    norm = apply(Sqrt(), reduce(add, [(gradient * gradient).sum() for gradient in widened]), name=name)
    share_as = cache(clip(max_norm / (norm + 1e-6), high=1.0).astype)
    return [gradient * share_as(gradient.dtype) for gradient in gradients], norm


def _require(function: str, gradients: Sequence[Node], limit_name: str, limit: float) -> None:
    if gradients and limit > 0:
        return
    raise GraphError(
        f"{function}: {limit_name} is {limit}" if gradients else f"{function} got no gradients",
        expected="a number above 0" if gradients else "one gradient or more",
        where=str(caller()),
        hint=f"{function}(gn.gradients(loss, weights), 1.0)",
    )
