from typing import Any

import numpy as np
import pytest

from graphnn import nn
from graphnn.ops import Graph
from graphnn.ops.errors import GraphError


@pytest.mark.parametrize("value", [np.zeros((2, 3), np.float32), [1.0, 2.0], None])
def test_a_layer_takes_nodes_only(value: Any) -> None:
    with (
        Graph(),
        pytest.raises(GraphError, match=r"Linear takes a node\n  actual:   \w+\n  at: .*\n  try: .*placeholder"),
    ):
        nn.Linear(3, 4)(value)


def test_a_layer_needs_a_forward() -> None:
    class Empty(nn.Layer):
        pass

    with Graph() as graph, pytest.raises(NotImplementedError, match=r"Empty has no forward\(self, x\)"):
        Empty()(graph.random_step)
