from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphnn import nn


@pytest.mark.parametrize("name", ["ReLU", "Sigmoid", "Tanh"])
def test_activations_are_those_of_pytorch(
    torch: Any, assert_same_as_torch: Callable[[nn.Layer, Any, np.ndarray], None], name: str
) -> None:
    x = np.linspace(-9, 9, 20, dtype=np.float32).reshape(4, 5)

    assert_same_as_torch(getattr(nn, name)(), getattr(torch.nn, name)(), x)
