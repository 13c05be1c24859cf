from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphnn import nn


@pytest.mark.parametrize("axes", [(), (1,), (2,), (1, 2), (2, -1), (-2, -1)])
def test_flatten_is_that_of_pytorch(
    torch: Any, assert_same_as_torch: Callable[[nn.Layer, Any, np.ndarray], None], axes: tuple[int, ...]
) -> None:
    x = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)

    assert_same_as_torch(nn.Flatten(*axes), torch.nn.Flatten(*axes), x)
