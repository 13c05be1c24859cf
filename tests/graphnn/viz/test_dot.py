import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

import graphnn as gn
from graphnn import ops
from graphnn.viz.dot import quoted

STRING = r'"(?:[^"\\]|\\.)*"'
TOKEN = re.compile(rf"\s*({STRING}|->|[\[\]{{}};,=]|[\w.\-]+)")
COLORS = {
    "#cfe2f3": "placeholder",
    "#fff2cc": "variable",
    "#eeeeee": "constant",
    "#d9ead3": "op",
    "#f4cccc": "gradient",
    "#d9d2e9": "update",
}


def shown(literal: str) -> str:
    """Return what Graphviz shows for a quoted string."""
    text = re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], literal[1:-1])
    return text.replace("&amp;", "&")


@dataclass
class Drawing:
    """A parsed file: the attributes of each node with the labels of the clusters around it, and the edges."""

    nodes: dict[str, dict[str, str]] = field(default_factory=dict)
    clusters: dict[str, tuple[str, ...]] = field(default_factory=dict)
    edges: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def find(self, name: str) -> str:
        """Return the id of the node of that name."""
        (found,) = (node for node, given in self.nodes.items() if given["label"].split("\n")[1] == name)
        return found

    def kind(self, name: str) -> str:
        return COLORS[self.nodes[self.find(name)]["fillcolor"]]

    def label(self, name: str) -> list[str]:
        return self.nodes[self.find(name)]["label"].split("\n")

    def inputs(self, name: str) -> list[str]:
        target = self.find(name)
        return [self.nodes[tail]["label"].split("\n")[1] for tail, head, _ in self.edges if head == target]


def parse(text: str) -> Drawing:
    """Read the part of the language that is written here; whatever else stands in the text is an AssertionError."""
    tokens = TOKEN.findall(text)
    assert "".join(tokens) == re.sub(rf"({STRING})|\s+", lambda match: match[1] or "", text)
    drawing = Drawing()
    labels: list[list[str]] = []
    clusters: set[str] = set()

    def take(expected: str = "") -> str:
        token = tokens.pop(0)
        assert not expected or token == expected, (expected, token)
        return token

    def attributes() -> dict[str, str]:
        found = {}
        take("[")
        while tokens[0] != "]":
            key = take()
            take("=")
            value = take()
            found[key] = shown(value) if value.startswith('"') else value
            if tokens[0] == ",":
                take(",")
        take("]")
        take(";")
        return found

    take("digraph")
    take("graphnn")
    take("{")
    labels.append([])
    while labels:
        token = take()
        if token == "}":
            labels.pop()
        elif token in ("graph", "node"):
            attributes()
        elif token == "subgraph":
            cluster = take()
            assert cluster.startswith("cluster_")
            assert cluster not in clusters
            clusters.add(cluster)
            take("{")
            take("label")
            take("=")
            labels.append([*labels[-1], shown(take())])
            take(";")
        elif tokens[0] == "->":
            take("->")
            head = take()
            assert {token, head} <= drawing.nodes.keys()
            given = attributes() if tokens[0] == "[" else {}
            if not given:
                take(";")
            drawing.edges.append((token, head, given))
        else:
            assert token not in drawing.nodes
            drawing.nodes[token] = attributes()
            drawing.clusters[token] = tuple(labels[-1])
    assert not tokens
    return drawing


def exported(shown: gn.Graph | gn.Executor, folder: Path) -> Drawing:
    path = folder / "graph.dot"
    gn.viz.export(shown, path)
    return parse(path.read_text(encoding="utf-8"))


@pytest.fixture
def network() -> gn.Graph:
    """Return a small network with its gradients and an optimiser's updates."""
    with gn.Graph(seed=0) as graph:
        x = gn.placeholder("x", (None, 4))
        y = gn.placeholder("y", (None,), "int32")
        with graph.scope("body"), graph.scope("first"):
            hidden = ops.relu(x @ gn.variable("weight", np.ones((4, 3), np.float32)))
        with graph.scope("body"), graph.scope("second"):
            logits = hidden @ gn.variable("weight", np.ones((3, 2), np.float32))
        loss = ops.cross_entropy(logits, y)
        graph.updates_made = gn.optim.SGD(0.1, momentum=0.9).minimize(loss)  # type: ignore[attr-defined]
        graph.loss = loss  # type: ignore[attr-defined]
    return graph


def test_every_node_and_every_input_is_drawn(network: gn.Graph, tmp_path: Path) -> None:
    drawing = exported(network, tmp_path)

    assert len(drawing.nodes) == len(network.nodes)
    for node in network.nodes:
        if node.op.label == "assign":
            continue
        assert drawing.inputs(node.name)[: len(node.inputs)] == [given.name for given in node.inputs]
        assert drawing.label(node.name) == [node.op.label, node.name, str(node.spec)]


def test_scopes_are_nested_clusters(network: gn.Graph, tmp_path: Path) -> None:
    drawing = exported(network, tmp_path)

    assert drawing.clusters[drawing.find("x")] == ()
    assert drawing.clusters[drawing.find("body.first.relu")] == ("body", "first")
    assert drawing.clusters[drawing.find("body.second.weight")] == ("body", "second")
    gradients = [node for node in network.nodes if node.grad_of is not None]
    assert gradients
    for node in gradients:
        assert drawing.clusters[drawing.find(node.name)][0] == "gradient"


def test_colors_tell_kinds(network: gn.Graph, tmp_path: Path) -> None:
    drawing = exported(network, tmp_path)

    assert drawing.kind("x") == "placeholder"
    assert drawing.kind("body.first.weight") == "variable"
    assert drawing.kind("sgd.momentum.body.first.weight") == "variable"
    assert drawing.kind("sgd.learning_rate") == "constant"
    assert drawing.kind("body.first.relu") == "op"
    assert drawing.kind("cross_entropy") == "op"
    assert drawing.kind("sgd.assign") == "update"
    assert drawing.kind("sgd.multiply") == "update"  # the optimiser's arithmetic
    for node in network.nodes:
        assert (drawing.kind(node.name) == "gradient") == (node.grad_of is not None)


def test_gradients_differ_in_more_than_color(network: gn.Graph, tmp_path: Path) -> None:
    drawing = exported(network, tmp_path)

    for node in network.nodes:
        given = drawing.nodes[drawing.find(node.name)]
        assert ("dashed" in given.get("style", "")) == (node.grad_of is not None)
        assert ("gradient of" in given["tooltip"]) == (node.grad_of is not None)


def test_assign_points_at_its_variable(network: gn.Graph, tmp_path: Path) -> None:
    drawing = exported(network, tmp_path)

    for node in network.nodes:
        if node.op.label == "assign":
            variable, value = node.inputs
            assert drawing.inputs(node.name) == [value.name]
            (edge,) = (
                given for tail, head, given in drawing.edges
                if tail == drawing.find(node.name) and head == drawing.find(variable.name)
            )  # fmt: skip
            assert edge == {"style": "dashed", "constraint": "false"}


def test_an_executor_is_drawn_by_groups(network: gn.Graph, tmp_path: Path) -> None:
    executor = gn.Executor(
        [network.loss],  # type: ignore[attr-defined]
        network.updates_made,  # type: ignore[attr-defined]
        device="numpy",
        max_batch=5,
    )
    plan = executor.plan
    drawing = exported(executor, tmp_path)

    assert len(drawing.nodes) == len(plan.subgraph.nodes)
    groups: dict[int, set[str]] = {}
    for step in plan.steps:
        groups.setdefault(step.group, set()).update(
            f"n{plan.subgraph.nodes.index(node)}" for node in step.nodes if node in plan.subgraph.nodes
        )
    assert any(len(members) > 1 for members in groups.values())
    for group, members in groups.items():
        for member in members:
            assert drawing.clusters[member] == ((f"group {group}",) if len(members) > 1 else ())
    assert sum(bool(clusters) for clusters in drawing.clusters.values()) == sum(
        len(members) for members in groups.values() if len(members) > 1
    )


def test_a_kernel_of_another_name_is_named(tmp_path: Path) -> None:
    with gn.Graph():
        x = gn.placeholder("x", (2,))
        kept = gn.variable("kept", [0.0, 0.0], trainable=False)
        update = ops.assign(kept, x)  # nothing computes x, so it has to be copied
    executor = gn.Executor([x.sum()], [update], device="numpy")
    assert [step.kernel for step in executor.plan.steps if step.node.op.label == "assign"] == ["copy"]

    drawing = exported(executor, tmp_path)

    assert drawing.label("assign")[0] == "assign (kernel copy)"
    assert drawing.label("sum")[0] == "sum"


@pytest.mark.parametrize("name", ['a "b"', "back\\slash", "a\\n", "a &lt; b", "{}[]<>|;", "größe→", "two\nlines"])
def test_odd_names_are_shown_as_they_are(name: str, tmp_path: Path) -> None:
    with gn.Graph() as graph, graph.scope(name):
        gn.placeholder("x", (None, 2))

    drawing = exported(graph, tmp_path)

    ((node, given),) = drawing.nodes.items()
    assert given["label"] == f"placeholder\n{name}.x\nfloat32 (N, 2)"
    assert drawing.clusters[node] == (name,)


def test_quoted() -> None:
    assert quoted('\\"\n&') == r'"\\\"\n&amp;"'


def test_empty_graph(tmp_path: Path) -> None:
    assert exported(gn.Graph(), tmp_path) == Drawing()
