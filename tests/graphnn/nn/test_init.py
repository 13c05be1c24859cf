import math
from typing import Any

import numpy as np
import pytest

from graphnn import nn
from graphnn.nn import init
from graphnn.ops import Graph, placeholder
from graphnn.ops.errors import GraphError, ShapeError

SHAPE = (80, 30, 3, 2)  # fan_in 180, fan_out 480


def draw(initializer: init.Initializer, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    values = initializer(np.random.default_rng(5), shape)
    assert values.shape == shape
    assert values.dtype == np.float32
    return values


@pytest.mark.parametrize(
    ("initializer", "bound"),
    [
        (init.uniform(-2.0, 2.0), 2.0),
        (init.kaiming_uniform(), math.sqrt(6 / 180)),
        (init.kaiming_uniform(mode="fan_out"), math.sqrt(6 / 480)),
        (init.kaiming_uniform(a=math.sqrt(5)), 1 / math.sqrt(180)),
        (init.xavier_uniform(), math.sqrt(6 / 660)),
        (init.xavier_uniform(gain=2.0), 2 * math.sqrt(6 / 660)),
    ],
)
def test_uniform_initialisers_fill_their_bounds(initializer: init.Initializer, bound: float) -> None:
    values = draw(initializer)

    assert np.abs(values).max() <= np.float32(bound)
    assert values.min() < -0.999 * bound
    assert values.max() > 0.999 * bound
    assert abs(values.mean()) < 0.02 * bound
    assert math.isclose(values.std(), bound / math.sqrt(3), rel_tol=0.02)


@pytest.mark.parametrize(
    ("initializer", "mean", "std"),
    [
        (init.normal(), 0.0, 1.0),
        (init.normal(3.0, 0.5), 3.0, 0.5),
        (init.kaiming_normal(), 0.0, math.sqrt(2 / 180)),
        (init.kaiming_normal(a=1.0, mode="fan_out"), 0.0, math.sqrt(1 / 480)),
        (init.xavier_normal(), 0.0, math.sqrt(2 / 660)),
        (init.xavier_normal(gain=2.0), 0.0, 2 * math.sqrt(2 / 660)),
    ],
)
def test_normal_initialisers_have_their_moments(initializer: init.Initializer, mean: float, std: float) -> None:
    values = draw(initializer)

    assert abs(values.mean() - mean) < 0.03 * std
    assert math.isclose(values.std(), std, rel_tol=0.02)
    assert 0.25 < (np.abs(values - mean) > std).mean() < 0.39  # 0.317 for a normal, 0.42 for a uniform distribution


@pytest.mark.parametrize(("initializer", "value"), [(init.zeros, 0), (init.ones, 1), (init.constant(0.25), 0.25)])
def test_fixed_values(initializer: init.Initializer, value: float) -> None:
    assert np.array_equal(draw(initializer), np.full(SHAPE, value))


def test_bounds_are_those_of_pytorch(torch: Any) -> None:
    weight = torch.empty(SHAPE)

    pairs: list[tuple[init.Initializer, Any]] = [
        (init.kaiming_uniform(0.3, "fan_out"), lambda: torch.nn.init.kaiming_uniform_(weight, 0.3, "fan_out")),
        (init.kaiming_normal(0.3), lambda: torch.nn.init.kaiming_normal_(weight, 0.3)),
        (init.xavier_uniform(1.5), lambda: torch.nn.init.xavier_uniform_(weight, 1.5)),
        (init.xavier_normal(1.5), lambda: torch.nn.init.xavier_normal_(weight, 1.5)),
    ]
    for ours, theirs in pairs:
        theirs()
        assert math.isclose(draw(ours).std(), float(weight.std()), rel_tol=0.03)


def test_values_depend_on_seed_and_name_alone() -> None:
    def weights(seed: int, model: nn.Module) -> dict[str, np.ndarray]:
        with Graph(seed=seed) as graph:
            model(placeholder("x", (None, 4)))
        return {name: graph.get_value(name) for name in graph.variables}

    def small() -> nn.Module:
        return nn.Sequential({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4)})

    def large() -> nn.Module:
        return nn.Sequential({"new": nn.Linear(4, 4), "b": nn.Linear(4, 4), "a": nn.Linear(4, 4)})

    first, again, other, larger = weights(0, small()), weights(0, small()), weights(1, small()), weights(0, large())

    for name, value in first.items():
        assert np.array_equal(value, again[name])
        assert np.array_equal(value, larger[name])
        assert not np.array_equal(value, other[name])
    assert not np.array_equal(first["a.weight"], first["b.weight"])


def test_fans_need_two_axes() -> None:
    layer = nn.Linear(3, 4, bias_init=init.xavier_uniform())
    with Graph(), pytest.raises(ShapeError, match=r"needs the numbers of inputs and outputs\n(.|\n)*actual: +\(4,\)"):
        layer(placeholder("x", (None, 3)))


def test_an_initial_value_has_the_variables_shape() -> None:
    layer = nn.Linear(3, 4, weight_init=lambda generator, shape: np.zeros(shape[::-1], np.float32))
    with (
        Graph() as graph,
        pytest.raises(ShapeError, match=r"Linear: variable 'linear.weight' has another shape\n.*\(4, 3\)\n.*\(3, 4\)"),
    ):
        layer(placeholder("x", (None, 3)))

    assert not graph.variables


def test_arguments_are_checked() -> None:
    with pytest.raises(GraphError, match=r"no interval\n  expected: low <= high\n  actual:   low = 1, high = 0"):
        init.uniform(1, 0)
    with pytest.raises(GraphError, match=r"std of 0 or more\n  actual:   std = -1"):
        init.normal(0, -1)
    with pytest.raises(GraphError, match=r"there is no mode 'fan'"):
        init.kaiming_uniform(mode="fan")  # type: ignore[arg-type]
    with pytest.raises(GraphError, match=r"there is no mode 'fan'"):
        init.kaiming_normal(mode="fan")  # type: ignore[arg-type]
