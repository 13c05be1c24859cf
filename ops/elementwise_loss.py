"""Losses of predictions beside what they should have been, element by element: of numbers, and of probabilities."""

from __future__ import annotations

import math
from typing import Literal

from graphnn.ops.broadcasting import Value, promoted
from graphnn.ops.comparison import equal, where
from graphnn.ops.context import apply
from graphnn.ops.elementwise import abs, clip, exp, log, negative
from graphnn.ops.errors import DTypeError, GraphError, ShapeError
from graphnn.ops.loss import LossReduction, reduced
from graphnn.ops.node import Node
from graphnn.ops.reduce import size
from graphnn.ops.shape import located
from graphnn.ops.source import caller
from graphnn.ops.spec import format_shape
from graphnn.ops.special import Softplus


def mse_loss(input: Value, target: Value, reduction: LossReduction = "mean") -> Node:  # noqa: A002 - PyTorch's name
    """Return the mean squared error ``(input - target) ** 2``.

    Parameters
    ----------
    input, target : Node or array
        Of equal shapes; they do not broadcast, since a target of shape (N,) beside predictions of shape (N, 1) would
        silently give N · N differences.
    reduction : {"mean", "sum", "none"}
        Mean or sum over all elements, or the squares themselves.

    Raises
    ------
    ShapeError, DTypeError
        If the shapes differ or neither is of a floating type; GraphError for another reduction.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     loss = gn.ops.mse_loss(gn.constant([1.0, 2.0]), gn.constant([1.0, 4.0]))
    >>> gn.Executor(loss, device="numpy").run({})
    array(2., dtype=float32)
    """
    difference = _difference("mse_loss", input, target)
    return reduced(difference * difference, None, reduction)


def l1_loss(input: Value, target: Value, reduction: LossReduction = "mean") -> Node:  # noqa: A002 - PyTorch's name
    """Return the mean absolute error ``|input - target|``. The gradient where they are equal is 0.

    Parameters
    ----------
    input, target, reduction
        As in `mse_loss`, and so are the errors.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     loss = gn.ops.l1_loss(gn.constant([1.0, 2.0]), gn.constant([1.0, 4.0]))
    >>> gn.Executor(loss, device="numpy").run({})
    array(1., dtype=float32)
    """
    return reduced(abs(_difference("l1_loss", input, target)), None, reduction)


def huber_loss(
    input: Value,  # noqa: A002 - PyTorch's name
    target: Value,
    reduction: LossReduction = "mean",
    delta: float = 1.0,
) -> Node:
    """Return the Huber loss (1964): squared for small errors, linear for large ones.

    With ``d = input - target``::

        d² / 2                       where |d| < delta
        delta · (|d| - delta / 2)    elsewhere

    Parameters
    ----------
    input, target, reduction
        As in `mse_loss`, and so are the errors.
    delta : float
        Where the one becomes the other, above 0.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     loss = gn.ops.huber_loss(gn.constant([1.0, 2.0]), gn.constant([2.0, 12.0]), "none")
    >>> gn.Executor(loss, device="numpy").run({})
    array([0.5, 9.5], dtype=float32)
    """
    if not 0 < delta < math.inf:
        raise _out_of_range("huber_loss", "delta", delta, "a finite number above 0")
    small, rest = _divided(_difference("huber_loss", input, target), delta)
    return reduced(0.5 * small * small + delta * rest, None, reduction)


def smooth_l1_loss(
    input: Value,  # noqa: A002 - PyTorch's name
    target: Value,
    reduction: LossReduction = "mean",
    beta: float = 1.0,
) -> Node:
    """Return the L1 loss with its kink rounded off (Girshick, 2015).

    With ``d = input - target``::

        d² / (2 · beta)    where |d| < beta
        |d| - beta / 2     elsewhere

    That is the Huber loss divided by beta.

    Parameters
    ----------
    input, target, reduction
        As in `mse_loss`, and so are the errors.
    beta : float
        Where the one becomes the other; 0 gives the L1 loss.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     loss = gn.ops.smooth_l1_loss(
    ...         gn.constant([1.0, 2.0]), gn.constant([2.0, 12.0]), "none", beta=2.0
    ...     )
    >>> gn.Executor(loss, device="numpy").run({})
    array([0.25, 9.  ], dtype=float32)
    """
    if not 0 <= beta < math.inf:
        raise _out_of_range("smooth_l1_loss", "beta", beta, "a finite number of 0 or more")
    small, rest = _divided(_difference("smooth_l1_loss", input, target), beta)
    return reduced(0.5 / beta * small * small + rest if beta else rest, None, reduction)


def binary_cross_entropy_with_logits(
    input: Value,  # noqa: A002 - PyTorch's name
    target: Value,
    reduction: LossReduction = "mean",
    *,
    weight: Value | None = None,
    pos_weight: Value | None = None,
) -> Node:
    """Return the cross-entropy of yes-or-no answers under the sigmoid of logits, computed without overflow.

    With the logit x and the target t, ``weight · (pos_weight · t · softplus(-x) + (1 - t) · softplus(x))``, where
    ``softplus(x) = log(1 + exp(x)) = -log(1 - sigmoid(x))``.

    Parameters
    ----------
    input : Node or array
        Logits; any shape.
    target : Node or array
        The probability that the answer is yes, from 0 to 1; of the same shape.
    reduction : {"mean", "sum", "none"}
        Mean or sum over all elements (as in PyTorch, a mean is not divided by weights), or one loss for each.
    weight, pos_weight : Node or array, optional
        By what each loss is multiplied, and each positive answer's; they broadcast to the shape of `input`.

    Raises
    ------
    ShapeError, DTypeError
        If the shapes differ, a weight does not broadcast, or neither `input` nor `target` is of a floating type;
        GraphError for another reduction.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     logits = gn.constant([1000.0, -1000.0])
    ...     loss = gn.ops.binary_cross_entropy_with_logits(logits, [1.0, 1.0], "none")
    >>> gn.Executor(loss, device="numpy").run({})
    array([   0., 1000.], dtype=float32)
    """
    label = "binary_cross_entropy_with_logits"
    logits, wanted = _pair(label, input, target)
    missed = wanted * apply(Softplus(), negative(logits))
    if pos_weight is not None:
        missed = _weighted(label, missed, pos_weight)
    losses = missed + (1 - wanted) * apply(Softplus(), logits)
    if weight is not None:
        losses = _weighted(label, losses, weight)
    return reduced(losses, None, reduction)


def kl_div(
    input: Value,  # noqa: A002 - PyTorch's name
    target: Value,
    reduction: LossReduction | Literal["batchmean"] = "mean",
    log_target: bool = False,
) -> Node:
    """Return the divergence of Kullback and Leibler: how far predicted probabilities are from the wanted ones.

    For a predicted log-probability x and a wanted probability t, ``t · (log(t) - x)``, which is 0 where t is.

    Parameters
    ----------
    input : Node or array
        Logarithms of the predicted probabilities, such as `log_softmax` gives; any shape.
    target : Node or array
        The wanted probabilities; of the same shape.
    reduction : {"mean", "batchmean", "sum", "none"}
        As in PyTorch, ``"mean"`` divides the sum by the number of all elements; ``"batchmean"``, by the size of the
        first axis, is the divergence itself.
    log_target : bool
        Whether the target is given as logarithms, too.

    Raises
    ------
    ShapeError, DTypeError
        If the shapes differ, there is no axis for ``"batchmean"``, or neither is of a floating type; GraphError for
        another reduction.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     predicted = gn.ops.log(gn.constant([[0.5, 0.5]]))
    ...     loss = gn.ops.kl_div(predicted, [[1.0, 0.0]], "batchmean")
    >>> gn.Executor(loss, device="numpy").run({})
    array(0.6931472, dtype=float32)
    """
    predicted, wanted = _pair("kl_div", input, target)
    if log_target:
        losses = exp(wanted) * (wanted - predicted)
    else:
        # The logarithm of 0 would make NaN of 0 · log(0), which is 0; a negative number is to give NaN.
        losses = wanted * log(where(equal(wanted, 0), 1, wanted)) - wanted * predicted
    if reduction != "batchmean":
        return reduced(losses, None, reduction)
    with located("kl_div", predicted, wanted):
        if not predicted.rank:
            raise ShapeError("there is no first axis", expected="a batch in axis 0", hint="'sum' is the same here")
    return losses.sum() / size(predicted, 0)


def _pair(label: str, input: Value, target: Value) -> tuple[Node, Node]:  # noqa: A002 - as in the functions
    """Return predictions and targets as nodes of one shape and floating type."""
    predicted, wanted = promoted(label, input, target)
    with located(label, predicted, wanted):
        if predicted.shape != wanted.shape:
            raise ShapeError(
                "input and target differ in shape",
                expected="equal shapes",
                hint="reshape one of them, or broadcast_to if repetition is meant",
            )
        if not predicted.dtype.is_floating:
            raise DTypeError(
                "neither input nor target is of a floating type",
                expected="float16, bfloat16, float32 or float64",
                hint="convert one of them with .astype('float32')",
            )
    return predicted, wanted


def _difference(label: str, input: Value, target: Value) -> Node:  # noqa: A002 - as in the functions
    predicted, wanted = _pair(label, input, target)
    return predicted - wanted


def _divided(difference: Node, border: float) -> tuple[Node, Node]:
    """Return the part of each difference up to a border, and the length of what is beyond it."""
    small = clip(difference, -border, border)
    return small, abs(difference - small)


def _weighted(label: str, losses: Node, weight: Value) -> Node:
    weighted = losses * weight
    with located(label, losses):
        if weighted.shape != losses.shape:
            raise ShapeError(
                "a weight does not broadcast to the shape of the losses",
                expected=f"a shape that broadcasts to {format_shape(losses.shape)}",
                hint="reshape it",
            )
    return weighted


def _out_of_range(label: str, name: str, number: float, expected: str) -> GraphError:
    return GraphError(f"{label}: {name} is {number}", expected=expected, where=str(caller()), hint=f"{name}=1.0")
