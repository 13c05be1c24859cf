from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from error_form import refused
from graphnn.compiler.gradients import gradients
from graphnn.compiler.reference import evaluate
from graphnn.ops import Dim, Graph, Node, constant, cross_entropy, nll_loss, placeholder, softmax
from graphnn.ops.errors import DTypeError, FeedError, GraphError, ShapeError
from graphnn.ops.loss import CrossEntropy, NegativeLogLikelihood
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


@pytest.mark.parametrize("loss", [cross_entropy, nll_loss])
def test_a_reduction_that_does_not_exist(loss: Callable[..., Node]) -> None:
    with Graph():
        x, y = placeholder("x", (None, 3)), placeholder("y", (None,), "int64")

        with refused(GraphError, "there is no reduction 'average'", at='"average"', expected="'mean', 'sum' or 'none'"):
            loss(x, y, reduction="average")


# Weights, labels that do not count, smoothing, probabilities.


@pytest.mark.parametrize("loss", [cross_entropy, nll_loss])
@pytest.mark.parametrize("weight", [None, [1.0, 2.0, 3.0]])
def test_a_mean_over_nothing_is_nan_and_a_sum_is_0(loss: Callable[..., Node], weight: Any) -> None:
    with Graph():
        x, y = constant(np.ones((2, 3), np.float32)), constant([-1, -1])
        values = [loss(x, y, reduction, weight=weight, ignore_index=-1) for reduction in ("mean", "sum", "none")]

    mean, total, each = evaluate(values, {})

    assert np.isnan(mean)
    assert total == 0
    assert each.tolist() == [0, 0]


def test_what_does_not_count_may_be_infinite() -> None:
    values = np.array([[0, -np.inf], [0, 0], [np.inf, np.inf]], np.float32)
    with Graph():
        x = placeholder("x", (3, 2))
        loss = cross_entropy(x, constant([7, 1, 7]), ignore_index=7)
        (gradient,) = gradients(loss, [x])

    value, slope = evaluate([loss, gradient], {x: values})

    np.testing.assert_allclose(value, np.log(2), rtol=1e-6)
    np.testing.assert_allclose(slope[:2], np.array([[0, 0], [0.5, -0.5]]), rtol=1e-6)


def test_a_weight_is_picked_not_multiplied() -> None:
    with Graph():
        x, y = constant(np.zeros((2, 3), np.float32)), constant([0, 2])
        loss = cross_entropy(x, y, "none", weight=np.array([1, np.inf, 2]))

    (value,) = evaluate([loss], {})

    np.testing.assert_allclose(value, np.log(3) * np.array([1, 2]), rtol=1e-6)


def test_sums_of_counts_do_not_overflow_in_halves() -> None:
    with Graph():
        x = constant(np.zeros((70_000, 2), np.float16))
        labels = constant(np.where(np.arange(70_000) < 3, -100, 1))
        mean = cross_entropy(x, labels, ignore_index=-100, weight=[1.0, 60_000.0])

    (value,) = evaluate([mean], {})

    np.testing.assert_allclose(value, np.log(2), rtol=1e-3)
    assert value.dtype == np.float16


@pytest.mark.parametrize("device", ["numpy", "cpu"])
@pytest.mark.parametrize("loss", [cross_entropy, nll_loss])
@pytest.mark.parametrize("dtype", ["int32", "uint8"])
def test_labels_are_checked_in_the_feed_beside_those_to_ignore(
    loss: Callable[..., Node], dtype: str, device: str
) -> None:
    with Graph():
        x, y = placeholder("x", (None, 3)), placeholder("y", (None,), dtype)
        each = loss(x, y, "none", ignore_index=200)
    executor = gn.Executor(each, device=device, max_batch=3)
    rows = np.zeros((3, 3), np.float32)

    value = executor.run({x: rows, y: np.array([200, 2, 0], dtype)})

    assert (value == 0).tolist() == [True, loss is nll_loss, loss is nll_loss]
    with pytest.raises(FeedError, match=r"'y' is fed an index out of range") as caught:
        executor.run({x: rows, y: np.array([200, 3, 0], dtype)})
    assert caught.value.expected == "integers from 0 to 2"
    assert caught.value.actual == "3"


def test_without_options_the_graph_is_the_op_and_its_mean() -> None:
    def ops_of(**options: Any) -> list[str]:
        with Graph() as graph:
            cross_entropy(placeholder("x", (None, 3)), placeholder("y", (None,), "int64"), **options)
        return [node.op.label for node in graph.nodes if node.op.label != "placeholder"]

    assert ops_of() == ops_of(label_smoothing=0.0, weight=None, ignore_index=None)
    assert ops_of() == ["cross_entropy", "sum", "size", "cast", "divide"]


def test_log_likelihoods_are_bound_by_the_number_of_classes() -> None:
    op = NegativeLogLikelihood()

    assert op.index_bounds(TensorSpec((None, 7, 5), "float32"), TensorSpec((None, 7), "int64")) == {1: (0, 5)}


def test_log_likelihoods_have_classes() -> None:
    with Graph():
        x, y = placeholder("x", (None,)), placeholder("y", (), "int64")

        with refused(
            ShapeError, "the log_probabilities have no axis of classes", at="nll_loss", expected="number of classes"
        ):
            nll_loss(x, y)


def test_probabilities_are_not_ignored() -> None:
    with Graph():
        x = placeholder("x", (None, 3))

        with refused(GraphError, "ignore_index has no meaning for probabilities", at="ignore_index=-100"):
            cross_entropy(x, x, ignore_index=-100)


def test_probabilities_of_another_type_are_promoted() -> None:
    with Graph():
        loss = cross_entropy(placeholder("x", (None, 3)), placeholder("p", (None, 3), "float64"))

    assert loss.dtype.name == "float64"


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_smoothing_is_a_share(share: float) -> None:
    with Graph():
        x, y = placeholder("x", (None, 3)), placeholder("y", (None,), "int64")

        with refused(GraphError, f"label_smoothing is {share}", at="label_smoothing=share", expected="from 0 to 1"):
            cross_entropy(x, y, label_smoothing=share)


@pytest.mark.parametrize("weight", [[1.0, 2.0], 1.0, [[1.0, 2.0, 3.0]]])
def test_each_class_has_a_weight(weight: Any) -> None:
    with Graph():
        x, y = placeholder("x", (None, 3)), placeholder("y", (None,), "int64")

        for labels in (y, x):
            with refused(ShapeError, "the class weights do not fit", at="weight=weight", expected="shape (3,)"):
                cross_entropy(x, labels, weight=weight)
