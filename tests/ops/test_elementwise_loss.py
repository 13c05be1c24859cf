from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from error_form import refused
from graphnn.compiler.gradients import gradients
from graphnn.compiler.reference import evaluate
from graphnn.ops import (
    Dim,
    Graph,
    Node,
    binary_cross_entropy_with_logits,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    placeholder,
    smooth_l1_loss,
)
from graphnn.ops.errors import DTypeError, GraphError, ShapeError

LOSSES = [mse_loss, l1_loss, huber_loss, smooth_l1_loss, binary_cross_entropy_with_logits, kl_div]
over_losses = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: str(loss.__name__))


@over_losses
def test_arrays_and_integers_beside_real_numbers(loss: Callable[..., Node]) -> None:
    with Graph():
        x, whole = placeholder("x", (2,)), placeholder("whole", (2,), "int64")
        nodes = [loss(x, np.array([1, 2])), loss(x, whole), loss(whole, x), loss(np.array([1, 2]), x)]

    values = evaluate(nodes, {x: np.array([2, 5], np.float32), whole: np.array([1, 2])})

    assert values[0] == values[1]
    assert values[2] == values[3]
    assert {node.dtype.name for node in nodes} == {"float32"}


@over_losses
@pytest.mark.parametrize(("shape", "target"), [((None, 1), (None,)), ((2, 3), (3,)), ((2,), ())])
def test_shapes_do_not_broadcast(loss: Callable[..., Node], shape: Any, target: Any) -> None:
    with Graph():
        x, y = placeholder("x", shape), placeholder("y", target)

        with refused(ShapeError, f"{loss.__name__}: input and target differ in shape", at="loss(x, y)", actual="'x'"):
            loss(x, y)


@over_losses
def test_integers_whose_difference_would_wrap_around_are_refused(loss: Callable[..., Node]) -> None:
    with Graph():
        x = placeholder("x", (2,), "uint8")

        with refused(DTypeError, f"{loss.__name__}: neither input nor target is of a floating type", at="loss(x, x)"):
            loss(x, x)


@over_losses
def test_a_reduction_that_does_not_exist(loss: Callable[..., Node]) -> None:
    with Graph():
        x = placeholder("x", (None, 3))

        with refused(GraphError, "there is no reduction 'average'", at='"average"', expected="'mean', 'sum' or 'none'"):
            loss(x, x, reduction="average")


@over_losses
def test_each_element_has_a_loss(loss: Callable[..., Node]) -> None:
    with Graph():
        x, y = placeholder("x", (None, 3)), placeholder("y", (None, 3))

        assert loss(x, y, "none").shape == (Dim(1), 3)
        assert loss(x, y).shape == ()


# What special numbers give.


def compare_with_torch(name: str, loss: Callable[..., Node], x: list[float], y: list[float], **options: Any) -> None:
    """Compare each loss and its gradient by the input."""
    torch = pytest.importorskip("torch")
    arrays = np.array(x, np.float32), np.array(y, np.float32)
    with Graph():
        a, b = (placeholder(key, (len(x),)) for key in "ab")
        value = loss(a, b, "none", **options)
        nodes = [value, *gradients(value, [a])]
    found = evaluate(nodes, dict(zip((a, b), arrays, strict=True)))
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    expected = getattr(torch.nn.functional, name)(*tensors, reduction="none", **options)
    slopes = torch.autograd.grad(expected.sum(), [tensors[0]])
    for actual, wanted in zip(found, (expected, *slopes), strict=True):
        np.testing.assert_allclose(actual, wanted.detach().numpy(), rtol=1e-6, atol=1e-7)


def test_answers_that_are_certain() -> None:
    compare_with_torch(
        "binary_cross_entropy_with_logits",
        binary_cross_entropy_with_logits,
        [0, 0, 100, 100, -100, -100, 3e38, -3e38, np.inf, np.nan, -30],
        [0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 1],
    )


def test_a_certain_and_right_answer_keeps_its_digits() -> None:
    with Graph():
        x, y = placeholder("x", (2,)), placeholder("y", (2,))
        value = binary_cross_entropy_with_logits(x, y, "none")

    (found,) = evaluate([value], {x: np.array([30, -30], np.float32), y: np.array([1, 0], np.float32)})

    np.testing.assert_allclose(found, np.log1p(np.exp(-30)), rtol=1e-6)


def test_distances_that_are_infinite() -> None:
    for name, loss in (("l1_loss", l1_loss), ("huber_loss", huber_loss), ("smooth_l1_loss", smooth_l1_loss)):
        compare_with_torch(name, loss, [0, 1, -1, 1e30, np.inf, -np.inf], [0, 0, 0, 0, 0, 0])


def test_probabilities_of_0_add_nothing() -> None:
    inf = np.inf
    compare_with_torch("kl_div", kl_div, [-1, -2, -inf, -1], [0, 1, 0.5, -0.5])
    with Graph():
        x, t = placeholder("x", (2,)), placeholder("t", (2,))
        slopes = gradients(kl_div(x, t, "sum"), [x, t])

    by_input, by_target = evaluate(slopes, {x: np.array([-1, -2], np.float32), t: np.array([0, 1], np.float32)})

    assert by_input.tolist() == [0, -1]
    assert by_target.tolist() == [1, 3]


# Options.


@pytest.mark.parametrize("option", ["weight", "pos_weight"])
def test_weights_broadcast_to_the_losses(option: str) -> None:
    with Graph():
        x = placeholder("x", (None, 3))

        with refused(ShapeError, "a weight does not broadcast", at="np.ones((2, 1, 3))", expected="(N, 3)"):
            binary_cross_entropy_with_logits(x, x, **{option: np.ones((2, 1, 3))})  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [0, -1, float("inf"), float("nan")])
def test_the_border_of_huber_is_above_0(number: float) -> None:
    with Graph():
        x = placeholder("x", (None, 3))

        with refused(GraphError, f"huber_loss: delta is {number}", at="delta=number", expected="above 0"):
            huber_loss(x, x, delta=number)


@pytest.mark.parametrize("number", [-1, float("inf"), float("nan")])
def test_the_border_of_smooth_l1_is_not_below_0(number: float) -> None:
    with Graph():
        x = placeholder("x", (None, 3))

        with refused(GraphError, f"smooth_l1_loss: beta is {number}", at="beta=number", expected="0 or more"):
            smooth_l1_loss(x, x, beta=number)


def test_a_scalar_has_no_batch() -> None:
    with Graph():
        x = placeholder("x", ())

        with refused(ShapeError, "kl_div: there is no first axis", at="batchmean"):
            kl_div(x, x, "batchmean")
