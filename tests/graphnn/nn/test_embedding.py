from typing import Any

import numpy as np
import pytest

from error_form import refused
from graphnn import nn
from graphnn.compiler.gradients import gradients
from graphnn.compiler.reference import evaluate
from graphnn.ops import Dim, Graph, placeholder
from graphnn.ops.errors import DTypeError, GraphError

WORDS = np.array([[1, 2, 4], [4, 4, 0]])


@pytest.mark.parametrize("options", [{}, {"padding_idx": 4}, {"padding_idx": -5}, {"padding_idx": 3}])
def test_embedding_is_that_of_pytorch(torch: Any, options: dict[str, Any]) -> None:
    layer, twin = nn.Embedding(5, 3, **options), torch.nn.Embedding(5, 3, **options)
    with Graph(seed=1) as graph:
        words = placeholder("words", (None, 3), "int64")
        y = layer(words)
        weight = layer.variables()["weight"]
        dy = placeholder("dy", y.shape)
        (slope,) = gradients((y * dy).sum(), [weight])
    assert [name for name, _ in twin.named_parameters()] == ["weight"]
    zeros = ~twin.weight.detach().numpy().any(axis=1)
    np.testing.assert_array_equal(~graph.get_value(weight).any(axis=1), zeros)
    twin.weight.data = torch.tensor(graph.get_value(weight))
    expected = twin(torch.tensor(WORDS))
    weights = np.random.default_rng(2).standard_normal(expected.shape).astype(np.float32)
    (expected_slope,) = torch.autograd.grad((expected * torch.tensor(weights)).sum(), [twin.weight])

    actual, actual_slope = evaluate([y, slope], {words: WORDS, dy: weights})

    np.testing.assert_array_equal(actual, expected.detach().numpy())
    np.testing.assert_allclose(actual_slope, expected_slope.numpy(), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_the_padding_counts_from_either_end(dtype: str) -> None:
    layer = nn.Embedding(300, 2, padding_idx=-299)
    with Graph():
        words = placeholder("words", (None,), dtype)
        y = layer(words)
        assert y.shape == (Dim(1), 2)
        (slope,) = gradients(y, [layer.variables()["weight"]])
    given = np.array([1, 2, 1] if dtype == "uint8" else [1, 2, -299], dtype)
    (actual,) = evaluate([slope], {words: given})
    assert np.flatnonzero(actual.any(axis=1)).tolist() == [2]


def test_default_weights_are_normal() -> None:
    with Graph(seed=3) as graph:
        nn.Embedding(1000, 20)(placeholder("words", (None,), "int32"))
    weight = graph.get_value("embedding.weight")
    assert weight.dtype == np.float32
    assert abs(weight.mean()) < 0.03
    assert abs(weight.std() - 1) < 0.03


def test_the_table_can_be_chosen_and_is_copied() -> None:
    table = np.ones((4, 2), np.float32)
    with Graph() as graph:
        nn.Embedding(4, 2, padding_idx=1, weight_init=lambda generator, shape: table)(placeholder("x", (2,), "int32"))
    assert graph.get_value("embedding.weight").tolist() == [[1, 1], [0, 0], [1, 1], [1, 1]]
    assert table.all()


def test_indices_are_integers() -> None:
    with Graph():
        x = placeholder("x", (None,))
        with pytest.raises(DTypeError, match="the indices are no integers"):
            nn.Embedding(4, 2)(x)


@pytest.mark.parametrize("padding_idx", [4, -5])
def test_the_padding_is_in_the_table(padding_idx: int) -> None:
    with refused(GraphError, f"Embedding: padding_idx is {padding_idx}", at="nn.Embedding(4", expected="from -4 to 3"):
        nn.Embedding(4, 2, padding_idx)


def test_sizes_are_positive() -> None:
    with pytest.raises(GraphError, match="Embedding: num_embeddings is 0"):
        nn.Embedding(0, 2)
    with pytest.raises(GraphError, match="Embedding: embedding_dim is -1"):
        nn.Embedding(4, -1)
