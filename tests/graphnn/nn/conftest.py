from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphnn.compiler.gradients import gradients
from graphnn.compiler.reference import evaluate
from graphnn.nn import Layer
from graphnn.ops import Graph, placeholder


@pytest.fixture
def torch() -> Any:
    module: Any = pytest.importorskip("torch", reason="PyTorch is not installed")
    module.set_num_threads(1)
    return module


@pytest.fixture
def assert_same_as_torch(torch: Any) -> Callable[[Layer, Any, np.ndarray], None]:
    """Compare a layer with PyTorch's: names and shapes of variables, the result, all gradients."""

    def check(layer: Layer, twin: Any, x: np.ndarray) -> None:
        with Graph(seed=1) as graph:
            given = placeholder("given", (None, *x.shape[1:]), x.dtype)
            y = layer(given)
            dy = placeholder("dy", y.shape)
            variables = layer.variables(graph)
            slopes = gradients((y * dy).sum(), [given, *variables.values()])
        parameters = dict(twin.named_parameters())
        assert list(variables) == list(parameters)
        for name, node in variables.items():
            assert node.shape == tuple(parameters[name].shape)
            parameters[name].data = torch.tensor(graph.get_value(node))
        tensor = torch.tensor(x, requires_grad=True)
        expected = twin(tensor)
        weights = np.random.default_rng(2).standard_normal(expected.shape).astype(np.float32)
        expected_slopes = torch.autograd.grad((expected * torch.tensor(weights)).sum(), [tensor, *parameters.values()])

        actual, *actual_slopes = evaluate([y, *slopes], {given: x, dy: weights})

        np.testing.assert_allclose(actual, expected.detach().numpy(), rtol=1e-5, atol=1e-6)
        for ours, theirs in zip(actual_slopes, expected_slopes, strict=True):
            np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-5, atol=1e-5)

    return check
