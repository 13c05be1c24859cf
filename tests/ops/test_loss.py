from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphnn.compiler.gradients import gradients
from graphnn.compiler.reference import evaluate
from graphnn.ops import Dim, Graph, Node, constant, cross_entropy, mse_loss, placeholder, softmax
from graphnn.ops.errors import DTypeError, GraphError, ShapeError
from graphnn.ops.loss import CrossEntropy
from graphnn.ops.spec import TensorSpec

# Cross-entropy.


@pytest.mark.parametrize(
    ("row", "label"),
    [
        ([-np.inf, 0.0, 1.0], 0),
        ([-np.inf, 0.0, 1.0], 2),
        ([-np.inf, -np.inf, -np.inf], 1),
        ([np.inf, 0.0, 1.0], 1),
        ([np.nan, 0.0, 1.0], 1),
        ([3e38, 0.0, -3e38], 2),
        ([88.0, -1e4, 1e4], 1),
    ],
)
def test_special_logits_and_their_gradient_are_those_of_pytorch(row: list[float], label: int) -> None:
    torch = pytest.importorskip("torch")
    values = np.array([row], np.float32)
    with Graph():
        logits = placeholder("logits", (1, 3))
        loss = cross_entropy(logits, constant([label]))
        (gradient,) = gradients(loss, [logits])

    tensor = torch.tensor(values, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(tensor, torch.tensor([label]))
    (expected_gradient,) = torch.autograd.grad(expected, tensor)

    actual, actual_gradient = evaluate([loss, gradient], {logits: values})
    np.testing.assert_allclose(actual, expected.detach().numpy(), rtol=1e-6)
    np.testing.assert_allclose(actual_gradient, expected_gradient.numpy(), rtol=1e-6, atol=1e-7)


def test_the_gradient_is_softmax_minus_one_at_the_label() -> None:
    values = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    labels = np.array([2, 0, 3])
    with Graph():
        x = placeholder("x", (None, 4))
        y = placeholder("y", (None,), "int64")
        (gradient,) = gradients(cross_entropy(x, y), [x])
        probabilities = softmax(x)

    actual, expected = evaluate([gradient, probabilities], {x: values, y: labels})

    expected[np.arange(3), labels] -= 1
    np.testing.assert_allclose(actual, expected / 3, rtol=1e-6)


def test_the_mean_is_over_the_examples_of_the_run() -> None:
    generator = np.random.default_rng(1)
    with Graph():
        x = placeholder("x", (None, 3, 2))
        y = placeholder("y", (None, 2), "int32")
        mean, each = cross_entropy(x, y), cross_entropy(x, y, reduction="none")

    assert each.shape == (Dim(1), 2)
    for batch in (1, 5):
        feeds = {
            x: generator.standard_normal((batch, 3, 2)).astype(np.float32),
            y: generator.integers(0, 3, (batch, 2)).astype(np.int32),
        }
        actual, losses = evaluate([mean, each], feeds)
        np.testing.assert_allclose(actual, losses.astype(np.float64).mean(), rtol=1e-6)


def test_labels_that_are_fed_are_bound_by_the_number_of_classes() -> None:
    op = CrossEntropy()

    bounds = op.index_bounds(TensorSpec((None, 7, 5), "float32"), TensorSpec((None, 7), "int64"))

    assert bounds == {1: (0, 5)}


def test_a_certain_and_right_prediction_costs_nothing_and_not_minus_nothing() -> None:
    with Graph():
        loss = cross_entropy(constant([1000.0, 0.0]), constant(0), "none")

    (value,) = evaluate([loss], {})

    assert value == 0
    assert not np.signbit(value)


@pytest.mark.parametrize("label", [-1, 3])
def test_a_computed_label_that_is_no_class_is_refused(label: int) -> None:
    with Graph():
        loss = cross_entropy(constant(np.zeros((2, 3), np.float32)), constant([0, label]))

    with pytest.raises(IndexError, match=f"{label} is (negative|out of bounds)"):
        evaluate([loss], {})


def test_a_transpose_is_added_only_where_classes_are_not_last() -> None:
    def ops_of(shape: tuple[int | None, ...], labels: tuple[int | None, ...]) -> list[str]:
        with Graph() as graph:
            cross_entropy(placeholder("x", shape), placeholder("y", labels, "int64"), "none")
        return [node.op.label for node in graph.nodes]

    assert ops_of((None, 3), (None,)) == ["placeholder", "placeholder", "cross_entropy"]
    assert ops_of((None, 3, 2), (None, 2)) == ["placeholder", "placeholder", "transpose", "cross_entropy"]


@pytest.mark.parametrize("dtype", ["float32", "bool"])
def test_labels_must_be_integers(dtype: str) -> None:
    with Graph():
        logits, labels = placeholder("logits", (None, 3)), placeholder("labels", (None,), dtype)

        with pytest.raises(DTypeError, match="cross_entropy 'cross_entropy': the labels are not integers") as caught:
            cross_entropy(logits, labels)

    assert "astype('int64')" in caught.value.hint
    assert f"labels {dtype} (N,) ('labels')" in caught.value.actual
    assert "test_loss.py" in caught.value.where


def test_logits_must_be_floating() -> None:
    with Graph():
        logits, labels = placeholder("logits", (None, 3), "int32"), placeholder("labels", (None,), "int64")

        with pytest.raises(DTypeError, match="the logits are not of a floating type"):
            cross_entropy(logits, labels)


@pytest.mark.parametrize(
    ("logits", "labels", "expected"),
    [
        ((None, 3), (None, 1), "(N,)"),
        ((None, 3), (None, 3), "(N,)"),
        ((4, 3), (5,), "(4,)"),
        ((4, 3), (None,), "(4,)"),
        ((3,), (1,), "()"),
        ((None, 3, 2), (None, 3), "(N, 2)"),
        ((None, 3, 2, 5), (None, 2), "(N, 2, 5)"),
    ],
)
def test_labels_must_have_the_shape_of_the_examples(
    logits: tuple[int | None, ...], labels: tuple[int | None, ...], expected: str
) -> None:
    with Graph():
        x, y = placeholder("x", logits), placeholder("y", labels, "int64")

        with pytest.raises(ShapeError, match="the labels do not fit the logits") as caught:
            cross_entropy(x, y)

    assert f"labels of shape {expected}:" in caught.value.expected


@pytest.mark.parametrize(("logits", "labels"), [((), ()), ((None,), ()), ((2, 0), (2,))])
def test_there_must_be_classes(logits: tuple[int | None, ...], labels: tuple[int, ...]) -> None:
    with Graph():
        x, y = placeholder("x", logits), placeholder("y", labels, "int64")

        with pytest.raises(ShapeError, match="the logits have no axis of classes"):
            cross_entropy(x, y)


@pytest.mark.parametrize("loss", [cross_entropy, mse_loss])
def test_a_reduction_that_does_not_exist(loss: Callable[..., Node]) -> None:
    with Graph():
        x = placeholder("x", (None, 3))
        y = placeholder("y", (None,), "int64") if loss is cross_entropy else x

        with pytest.raises(GraphError, match="there is no reduction 'average'") as caught:
            loss(x, y, reduction="average")

    assert caught.value.expected == "'mean', 'sum' or 'none'"
    assert "test_loss.py" in caught.value.where


# Mean squared error.


def test_mse_takes_arrays_and_integers_beside_real_numbers() -> None:
    with Graph():
        x = placeholder("x", (2,))
        whole = placeholder("whole", (2,), "int64")
        from_array = mse_loss(x, np.array([1, 2]))
        from_integers = mse_loss(whole, x)

    values = evaluate([from_array, from_integers], {x: np.array([2, 5], np.float32), whole: np.array([1, 2])})

    assert values[0] == values[1] == 5.0
    assert from_array.dtype.name == from_integers.dtype.name == "float32"


@pytest.mark.parametrize(("shape", "target"), [((None, 1), (None,)), ((2, 3), (3,)), ((2,), ())])
def test_mse_does_not_broadcast(shape: Any, target: Any) -> None:
    with Graph():
        x, y = placeholder("x", shape), placeholder("y", target)

        with pytest.raises(ShapeError, match="mse_loss: input and target differ in shape") as caught:
            mse_loss(x, y)

    assert "'x'" in caught.value.actual
    assert "'y'" in caught.value.actual


def test_mse_refuses_integers_whose_difference_would_wrap_around() -> None:
    with Graph():
        x = placeholder("x", (2,), "uint8")

        with pytest.raises(DTypeError, match="mse_loss: neither input nor target is of a floating type"):
            mse_loss(x, x)
