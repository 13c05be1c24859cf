from typing import Any

import pytest

from graphnn import nn, ops
from graphnn.ops import Graph, placeholder
from graphnn.ops.errors import GraphError


def test_positional_layers_are_numbered() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    with Graph() as graph:
        y = model(placeholder("x", (None, 3)))

    assert y.shape[1:] == (2,)
    assert list(graph.variables) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert "1.relu" in graph


def test_layers_are_found_by_position_and_key() -> None:
    first, last = nn.Linear(3, 4), nn.Linear(4, 2)
    model = nn.Sequential({"first": first, "last": last})

    assert model["last"] is model[1] is model[-1] is last
    assert len(model) == 2
    assert list(model) == [first, last]


def test_a_layer_that_stands_twice_shares_its_variables() -> None:
    shared = nn.Linear(3, 3)
    with Graph() as graph:
        nn.Sequential(shared, nn.Tanh(), shared)(placeholder("x", (None, 3)))

    assert list(graph.variables) == ["0.weight", "0.bias"]


def test_an_empty_one_returns_its_input() -> None:
    with Graph():
        x = placeholder("x", (None, 3))
        assert nn.Sequential()(x) is x


@pytest.mark.parametrize("key", ["", "a.b", 0])
def test_keys_are_names_of_scopes(key: Any) -> None:
    with pytest.raises(GraphError, match=r"can't be a key\n  expected: a string without dots"):
        nn.Sequential({key: nn.ReLU()})


def test_layers_are_modules() -> None:
    with pytest.raises(GraphError, match=r"layer '1' is no module(.|\n)*try: +make one of the class: ReLU\(\.\.\.\)"):
        nn.Sequential(nn.Linear(3, 4), nn.ReLU)  # type: ignore[arg-type]
    with pytest.raises(GraphError, match=r"layer '0' is no module(.|\n)*derive a class with forward\(self, x\)"):
        nn.Sequential(ops.relu)  # type: ignore[arg-type]


def test_the_representation_shows_settings_and_parts() -> None:
    model = nn.Sequential({"fc": nn.Linear(3, 4), "inner": nn.Sequential(nn.MaxPool2d(2), nn.ReLU())})

    assert repr(model) == (
        "Sequential(\n"
        "  (fc): Linear(in_features=3, out_features=4, bias=True)\n"
        "  (inner): Sequential(\n"
        "    (0): MaxPool2d(kernel_size=(2, 2), stride=(2, 2), padding=((0, 0), (0, 0)), dilation=(1, 1), "
        "ceil_mode=False)\n"
        "    (1): ReLU()\n"
        "  )\n"
        ")"
    )
