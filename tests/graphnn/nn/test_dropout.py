from typing import Any

import numpy as np
import pytest

from graphnn import nn
from graphnn.compiler.reference import evaluate
from graphnn.ops import Graph, placeholder
from graphnn.ops.errors import GraphError


def test_training_drops_and_scales_evaluation_does_nothing() -> None:
    with Graph(seed=0):
        x = placeholder("x", (None, 1000))
        y = nn.Dropout(0.25)(x)
    ones = np.ones((2, 1000), np.float32)

    (dropped,) = evaluate([y], {x: ones}, training=True)
    (kept,) = evaluate([y], {x: ones}, training=False)

    assert set(np.unique(dropped)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs((dropped == 0).mean() - 0.25) < 0.04
    assert np.array_equal(kept, ones)


def test_two_layers_drop_different_elements() -> None:
    with Graph(seed=0):
        x = placeholder("x", (None, 1000))
        layer = nn.Dropout()
        results = [layer(x), layer(x), nn.Dropout()(x)]

    masks = [value == 0 for value in evaluate(results, {x: np.ones((1, 1000), np.float32)}, training=True)]

    for first, second in [(0, 1), (0, 2), (1, 2)]:
        assert not np.array_equal(masks[first], masks[second])


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan")])
def test_p_is_a_probability(p: Any) -> None:
    with pytest.raises(
        GraphError, match=r"Dropout: p is .*\n  expected: a probability from 0 to 1\n  at: .*test_dropout"
    ):
        nn.Dropout(p)
