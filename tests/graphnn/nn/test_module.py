import copy
import gc
import weakref
from typing import Any

import numpy as np
import pytest

from graphnn import nn, ops
from graphnn.compiler.reference import evaluate
from graphnn.ops import Graph, Node, placeholder
from graphnn.ops.errors import GraphError, ShapeError


class Block(nn.Module):
    """Two dense layers of equal width, made without calling `Module.__init__`."""

    def __init__(self, width: int) -> None:
        self.first = nn.Linear(width, width)
        self.last = nn.Linear(width, width, bias=False)

    def forward(self, x: Node) -> Node:
        return x + self.last(ops.relu(self.first(x)))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = [Block(3), Block(3)]
        self.heads = {"mean": nn.Linear(3, 1), "variance": nn.Linear(3, 1)}

    def forward(self, x: Node, doubled: bool = False) -> tuple[Node, Node]:
        for block in self.blocks:
            x = block(x)
        x = 2 * x if doubled else x
        return self.heads["mean"](x), self.heads["variance"](x)


NET_VARIABLES = [
    "blocks.0.first.weight",
    "blocks.0.first.bias",
    "blocks.0.last.weight",
    "blocks.1.first.weight",
    "blocks.1.first.bias",
    "blocks.1.last.weight",
    "heads.mean.weight",
    "heads.mean.bias",
    "heads.variance.weight",
    "heads.variance.bias",
]


def vectors(size: int = 3) -> Node:
    return placeholder("x", (None, size))


def test_names_follow_attributes_lists_and_dicts() -> None:
    with Graph() as graph:
        mean, variance = Net()(vectors(), doubled=True)

    assert mean.shape == variance.shape
    assert list(graph.variables) == NET_VARIABLES


def test_nodes_lie_in_the_scopes_of_their_modules() -> None:
    with Graph() as graph:
        Net()(vectors())

    assert graph["blocks.1.first.matmul"].inputs[1].inputs[0] is graph["blocks.1.first.weight"]
    assert graph["blocks.1.relu"].inputs[0].scope == "blocks.1.first"


def test_a_layer_on_its_own_is_named_after_its_class() -> None:
    with Graph() as graph:
        x = vectors()
        nn.Linear(3, 4)(x), nn.Linear(3, 4)(x)
        nn.Linear(3, 4, name="fc")(x), nn.Linear(3, 4, name="fc")(x)

    assert [name for name in graph.variables if name.endswith("weight")] == [
        "linear.weight",
        "linear_1.weight",
        "fc.weight",
        "fc_1.weight",
    ]


def test_a_module_with_its_own_variables_alone_is_named_after_its_class() -> None:
    class Scale(nn.Module):
        def forward(self, x: Node) -> Node:
            return x * self.variable("factor", (3,), nn.init.ones, trainable=False, dtype="float64")

    with Graph() as graph:
        y = Scale()(vectors())

    assert str(graph["scale.factor"].spec) == "float64 (3,)"
    assert not graph["scale.factor"].op.trainable  # type: ignore[attr-defined]
    assert y.name == "scale.multiply"


def test_a_name_of_its_own_comes_before_attribute_and_key() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__(name="whole")
            self.layer = nn.Linear(3, 3, name="part")

        def forward(self, x: Node) -> Node:
            return self.layer(x)

    model = Named()
    with Graph() as graph:
        model(vectors())

    assert list(graph.variables) == ["whole.part.weight", "whole.part.bias"]
    assert list(model.variables(graph)) == ["layer.weight", "layer.bias"]


def test_a_second_instance_gets_a_number_on_each_scope() -> None:
    def model() -> nn.Sequential:
        return nn.Sequential({"conv1": nn.Conv2d(1, 2, 3), "flatten": nn.Flatten(), "fc1": nn.Linear(2, 1)})

    first, second = model(), model()
    with Graph() as graph:
        x = placeholder("x", (None, 1, 3, 3))
        first(x), second(x)

    assert list(graph.variables) == [
        "conv1.weight", "conv1.bias", "fc1.weight", "fc1.bias",
        "conv1_1.weight", "conv1_1.bias", "fc1_1.weight", "fc1_1.bias",
    ]  # fmt: skip
    assert second.variables(graph)["fc1.weight"] is graph["fc1_1.weight"]


def test_a_second_named_instance_gets_a_number_on_its_own_scope() -> None:
    with Graph() as graph:
        x = vectors()
        for _ in range(2):
            nn.Sequential({"fc": nn.Linear(3, 3)}, name="net")(x)

    assert [name for name in graph.variables if "weight" in name] == ["net.fc.weight", "net_1.fc.weight"]


def test_variables_of_a_second_module_without_scope_get_a_number() -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            self.fc = nn.Linear(3, 3)

        def forward(self, x: Node) -> Node:
            return self.fc(x) + self.variable("shift", (3,), nn.init.zeros)

    with Graph() as graph:
        x = vectors()
        Shifted()(x), Shifted()(x)

    assert [name for name in graph.variables if "fc" not in name] == ["shift", "shift_1"]


def test_open_scopes_come_first() -> None:
    with Graph() as graph:
        x = vectors()
        for tower in ("left", "right"):
            with graph.scope(tower):
                Block(3)(x)

    assert [name for name in graph.variables if "bias" in name] == ["left.first.bias", "right.first.bias"]


def test_a_second_call_reuses_variables_wherever_it_stands() -> None:
    model = Net()
    with Graph() as graph:
        x = vectors()
        first, _ = model(x)
        with graph.scope("again"):
            second, _ = model(x)
            third, _ = model(2 * x)

    assert list(graph.variables) == NET_VARIABLES
    assert second.name == "again.heads.mean.add"
    assert third.name == "again.heads.mean.add_1"
    values = evaluate([first, second, third], {x: np.eye(3, dtype=np.float32)})
    assert np.array_equal(values[0], values[1])
    assert not np.array_equal(values[0], values[2])


def test_a_second_call_of_a_second_instance_stays_in_its_scopes() -> None:
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    with Graph():
        x = vectors()
        assert [layer(x).name for layer in (first, second, first, second)] == [
            "linear.add",
            "linear_1.add",
            "linear.add_1",
            "linear_1.add_1",
        ]


def test_another_graph_has_variables_of_its_own() -> None:
    layer = nn.Linear(3, 3)
    with Graph(seed=0) as first:
        nn.Linear(3, 3)(vectors())
        layer(vectors(3) if "x" not in first else first["x"])
    with Graph(seed=0) as second:
        layer(vectors())

    assert list(first.variables)[2:] == ["linear_1.weight", "linear_1.bias"]
    assert list(second.variables) == ["linear.weight", "linear.bias"]
    assert np.array_equal(first.get_value("linear.weight"), second.get_value("linear.weight"))
    second.set_value("linear.weight", np.zeros((3, 3), np.float32))
    assert first.get_value("linear_1.weight").any()


def test_a_module_does_not_keep_a_graph_alive() -> None:
    layer = nn.Linear(3, 3)
    with Graph() as graph:
        layer(vectors())
    ghost = weakref.ref(graph)

    del graph
    gc.collect()

    assert ghost() is None


def test_nodes_go_to_the_graph_of_the_input() -> None:
    with Graph() as outer:
        x = vectors()
        with Graph() as inner:
            y = nn.Linear(3, 3)(x)

    assert y.graph is outer
    assert len(outer.variables) == 2
    assert not inner.nodes


def test_without_nodes_the_open_graph_counts() -> None:
    class Table(nn.Module):
        def forward(self) -> Node:
            return self.variable("rows", (2, 3), nn.init.normal())

    with Graph() as graph:
        assert Table()() is graph["table.rows"]
    with pytest.raises(GraphError, match="no graph is open here"):
        Table()()


def test_a_copy_is_a_module_of_its_own() -> None:
    layer = nn.Linear(3, 3)
    with Graph() as graph:
        x = vectors()
        layer(x)
        copy.deepcopy(layer)(x)

    assert list(graph.variables) == ["linear.weight", "linear.bias", "linear_1.weight", "linear_1.bias"]


def test_a_part_called_past_its_owner_keeps_its_place() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            self.block = Block(3)

        def forward(self, x: Node) -> Node:
            return self.block(self.block.last(x))

    with Graph() as graph:
        Model()(vectors())

    assert list(graph.variables) == ["block.last.weight", "block.first.weight", "block.first.bias"]


def test_a_module_shared_by_two_owners_keeps_its_first_name() -> None:
    shared = nn.Linear(3, 3, bias=False)

    class Owner(nn.Module):
        def __init__(self, layer: nn.Module) -> None:
            self.tied = layer

        def forward(self, x: Node) -> Node:
            y: Node = self.tied(x)
            return y

    model = nn.Sequential({"encoder": Owner(shared), "decoder": Owner(shared)})
    with Graph() as graph:
        y = model(vectors())

    assert list(graph.variables) == ["encoder.tied.weight"]
    assert y.name == "decoder.tied.matmul"
    assert list(model.variables(graph)) == ["encoder.tied.weight"]


def test_modules_that_hold_each_other_are_gone_through_once() -> None:
    class Part(nn.Module):
        owner: nn.Module

        def forward(self, x: Node) -> Node:
            return x * self.variable("factor", (3,), nn.init.ones)

    class Owner(nn.Module):
        def __init__(self) -> None:
            self.part = Part()
            self.part.owner = self

        def forward(self, x: Node) -> Any:
            return nn.Linear(3, 3)(self.part(x))  # a layer that is no part of anything

    with Graph() as graph:
        Owner()(vectors())

    assert list(graph.variables) == ["part.factor", "linear.weight", "linear.bias"]


def test_a_failed_first_call_leaves_the_name_free() -> None:
    layer = nn.Linear(3, 3)
    with Graph() as graph:
        with pytest.raises(ShapeError):
            layer(placeholder("wrong", (None, 4)))
        nn.Linear(4, 4)(graph["wrong"])
        layer(vectors())

    assert [name for name in graph.variables if "weight" in name] == ["linear.weight", "linear_1.weight"]
    assert graph["linear.weight"].shape == (4, 4)


def test_a_failed_call_leaves_parts_that_were_made_in_place() -> None:
    model = nn.Sequential({"a": nn.Linear(3, 3), "b": nn.Linear(4, 4)}, name="net")
    with Graph() as graph:
        x = vectors()
        for _ in range(2):
            with pytest.raises(ShapeError, match=r"Linear 'net\.b'"):
                model(x)

    assert list(graph.variables) == ["net.a.weight", "net.a.bias"]


def test_variables_are_made_within_the_call_only() -> None:
    layer = nn.Linear(3, 3)
    with Graph():
        x = vectors()
        with pytest.raises(GraphError, match=r"Linear makes its variable 'weight' only while it is called"):
            layer.forward(x)
        with pytest.raises(GraphError, match=r"Linear makes its variable 'extra' only while it is called"):
            layer.variable("extra", (3,), nn.init.zeros)


def test_a_variable_keeps_its_shape() -> None:
    class Scale(nn.Module):
        def forward(self, x: Node) -> Node:
            return x * self.variable("factor", x.shape[1:], nn.init.ones)  # type: ignore[arg-type]

    scale = Scale()
    with Graph():
        scale(vectors())
        with pytest.raises(
            ShapeError,
            match=r"Scale: variable 'scale.factor' has another shape\n  expected: \(4,\)\n  actual:   \(3,\)",
        ):
            scale(placeholder("wider", (None, 4)))


def test_variables_before_the_first_call_are_none() -> None:
    with Graph() as graph:
        assert Net().variables() == {}
    assert Net().variables(graph) == {}


def test_parts_are_named_as_in_pytorch(torch: Any) -> None:
    def twin(width: int) -> Any:
        block = torch.nn.Module()
        block.first = torch.nn.Linear(width, width)
        block.last = torch.nn.Linear(width, width, bias=False)
        return block

    theirs = torch.nn.Module()
    theirs.blocks = torch.nn.ModuleList([twin(3), twin(3)])
    theirs.heads = torch.nn.ModuleDict({"mean": torch.nn.Linear(3, 1), "variance": torch.nn.Linear(3, 1)})
    ours = Net()
    with Graph() as graph:
        ours(vectors())

    assert list(ours.variables(graph)) == [name for name, _ in theirs.named_parameters()]
