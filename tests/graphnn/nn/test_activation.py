from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphnn import nn


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *[(name, {}) for name in ("ELU", "GELU", "LeakyReLU", "ReLU", "Sigmoid", "SiLU", "Softplus", "Tanh")],
        ("GELU", {"approximate": "tanh"}),
        ("Softplus", {"beta": 0.5}),
        ("LeakyReLU", {"negative_slope": 0.2}),
        ("ELU", {"alpha": 0.7}),
    ],
)
def test_activations_are_those_of_pytorch(
    torch: Any, assert_same_as_torch: Callable[[nn.Layer, Any, np.ndarray], None], name: str, arguments: dict[str, Any]
) -> None:
    x = np.linspace(-9, 9, 20, dtype=np.float32).reshape(4, 5)

    assert_same_as_torch(getattr(nn, name)(**arguments), getattr(torch.nn, name)(**arguments), x)
