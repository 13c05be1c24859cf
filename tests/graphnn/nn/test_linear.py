import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphnn import nn
from graphnn.ops import Graph, placeholder
from graphnn.ops.errors import GraphError, ShapeError

CompareWithTorch = Callable[[nn.Layer, Any, np.ndarray], None]


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5, 3), (2, 5, 3), (2, 1, 5, 3)])
def test_linear_is_that_of_pytorch(
    torch: Any, assert_same_as_torch: CompareWithTorch, shape: tuple[int, ...], bias: bool
) -> None:
    assert_same_as_torch(nn.Linear(3, 4, bias=bias), torch.nn.Linear(3, 4, bias=bias), numbers(*shape))


def test_a_vector_is_one_example() -> None:
    with Graph():
        assert nn.Linear(3, 4)(placeholder("x", (3,))).shape == (4,)


def test_default_weights_fill_the_bounds_of_pytorch() -> None:
    with Graph(seed=3) as graph:
        nn.Linear(100, 200)(placeholder("x", (None, 100)))

    weight, bias = graph.get_value("linear.weight"), graph.get_value("linear.bias")

    assert weight.dtype == bias.dtype == np.float32
    for values in (weight, bias):
        assert 0.09 < np.abs(values).max() <= np.float32(0.1)  # 1 / sqrt(100)
        assert abs(values.mean()) < 0.015
    assert math.isclose(weight.std(), 0.1 / math.sqrt(3), rel_tol=0.02)


def test_initialisers_can_be_chosen() -> None:
    with Graph() as graph:
        nn.Linear(3, 4, weight_init=nn.init.constant(0.5), bias_init=nn.init.ones)(placeholder("x", (None, 3)))

    assert np.array_equal(graph.get_value("linear.weight"), np.full((4, 3), 0.5))
    assert np.array_equal(graph.get_value("linear.bias"), np.ones(4))


def test_a_wrong_size_is_named_with_the_layer_and_the_users_line() -> None:
    model = nn.Sequential({"fc1": nn.Linear(400, 120)})
    with Graph():
        x = placeholder("x", (None, 256))
        with pytest.raises(ShapeError) as raised:
            model(x)

    error = raised.value
    assert error.message == "Linear 'fc1' can't take this input"
    assert error.expected == "in_features = 400 as the size of the last axis"
    assert error.actual == "float32 (N, 256) ('x')"
    assert re.search(r"test_linear\.py:\d+: model\(x\)$", error.where)
    assert error.hint == "nn.Linear(256, 120) would take it"


def test_images_of_the_right_number_of_elements_are_to_be_flattened() -> None:
    with Graph(), pytest.raises(ShapeError, match=r"flatten the input first"):
        nn.Linear(784, 10)(placeholder("x", (None, 1, 28, 28)))


def test_a_scalar_is_no_input() -> None:
    with Graph(), pytest.raises(ShapeError, match=r"Linear 'linear' can't take this input"):
        nn.Linear(1, 2)(placeholder("x", ()))


@pytest.mark.parametrize("sizes", [(0, 3), (3, 0), (-1, 3), (2.5, 3), ("3", 3)])
def test_sizes_are_positive_integers(sizes: tuple[Any, Any]) -> None:
    with pytest.raises(GraphError, match=r"Linear: (in|out)_features is .*\n  expected: an integer of 1 or more"):
        nn.Linear(*sizes)
