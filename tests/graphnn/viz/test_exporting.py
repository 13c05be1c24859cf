import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from graphnn import ops, viz
from graphnn.viz import exporting


def network() -> tuple[gn.Graph, gn.Node, gn.Node]:
    with gn.Graph() as graph:
        x = gn.placeholder("x", (None, 2), "uint8")
        with graph.scope("layer"):
            weight = gn.variable("weight", np.ones((2, 3), np.float32))
            y = (x.astype("float32") / 255.0) @ weight
        loss = ops.clip(y, 0.0, float("inf")).sum()
        (slope,) = gn.gradients(loss, [weight])
        update = ops.assign(weight, weight - 0.1 * slope)
    return graph, loss, update


def read(path: Path) -> Any:
    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is no JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def test_json_of_a_graph(tmp_path: Path) -> None:
    graph, _, update = network()

    viz.export(graph, tmp_path / "graph.json")

    data = read(tmp_path / "graph.json")
    assert (data["graphnn"], data["shows"]) == (gn.__version__, "graph")
    assert data.keys() == {"graphnn", "shows", "nodes"}
    nodes = data["nodes"]
    assert [entry["id"] for entry in nodes] == list(range(len(graph.nodes)))
    for entry, node in zip(nodes, graph.nodes, strict=True):
        assert entry["name"] == node.name
        assert entry["op"] == node.op.label
        assert [nodes[given]["name"] for given in entry["inputs"]] == [given.name for given in node.inputs]
        assert entry["dtype"] == str(node.dtype)
        assert entry["scope"] == node.scope
        assert entry["source"] == f"{node.source.file}:{node.source.line}"
        assert entry["grad_of"] == (None if node.grad_of is None else node.grad_of.name)
        assert (entry["kind"] == "gradient") == (node.grad_of is not None)
    by_name = {entry["name"]: entry for entry in nodes}
    assert by_name["x"]["kind"] == "placeholder"
    assert by_name["x"]["shape"] == ["N", 2]
    assert by_name["layer.weight"]["shape"] == [2, 3]
    assert by_name["layer.weight"]["attributes"] == {"spec": "float32 (2, 3)", "trainable": True}
    assert by_name["layer.cast"]["attributes"] == {"dtype": "float32"}
    assert by_name["sum"]["attributes"] == {"axes": [0, 1], "keepdims": False}
    assert by_name[update.name]["kind"] == "update"
    assert "value" not in by_name["layer.constant"]["attributes"]


def test_json_of_an_executor_has_its_plan(tmp_path: Path) -> None:
    _, loss, update = network()
    executor = gn.Executor([loss], [update], device="numpy", max_batch=8)

    viz.export(executor, tmp_path / "plan.json")

    data = read(tmp_path / "plan.json")
    plan = executor.plan
    assert data["shows"] == "plan"
    assert [entry["name"] for entry in data["nodes"]] == [node.name for node in plan.subgraph.nodes]
    assert [data["nodes"][fetched]["name"] for fetched in data["fetches"]] == [
        node.name for node in plan.subgraph.fetches
    ]
    assert data["plan"]["arena_bytes"] == plan.arena_bytes
    assert data["plan"]["max_batch"] == 8
    assert len(data["plan"]["steps"]) == len(plan.steps)
    entries = dict(zip(plan.subgraph.nodes, data["nodes"], strict=True))
    for step in plan.steps:
        if step.node in entries:  # copies that the planner adds are steps without a node of their own
            assert entries[step.node]["kernel"] == step.kernel
            assert entries[step.node]["group"] == step.group
            assert entries[step.node]["origin"] == [node.name for node in step.node.users_nodes]
    assert entries[next(iter(plan.feeds))]["group"] is None


def test_constants_of_any_number_are_json(tmp_path: Path) -> None:
    with gn.Graph() as graph:
        ops.clip(gn.placeholder("x", ()), float("-inf"), 1.5)

    viz.export(graph, tmp_path / "graph.json")

    (clip,) = (entry for entry in read(tmp_path / "graph.json")["nodes"] if entry["name"] == "clip")
    assert clip["attributes"] == {"low": "-inf", "high": 1.5}


@pytest.mark.parametrize("name", ["graph.DOT", "Graph.Json"])
def test_suffix_in_capitals(name: str, tmp_path: Path) -> None:
    viz.export(network()[0], tmp_path / name)

    assert list(tmp_path.iterdir()) == [tmp_path / name]


@pytest.mark.parametrize(("name", "actual"), [("graph.svg", ".svg"), ("graph", "no suffix"), (".dot", "no suffix")])
def test_other_suffixes_are_refused(name: str, actual: str, tmp_path: Path) -> None:
    with pytest.raises(gn.GraphError, match=rf"expected: \.dot or \.json\n  actual:   {actual}\n(.|\n)*test_exporting"):
        viz.export(network()[0], tmp_path / name)

    assert not list(tmp_path.iterdir())


def test_only_graphs_and_executors(tmp_path: Path) -> None:
    with pytest.raises(gn.GraphError, match=r"only a graph or an executor(.|\n)*<sum"):
        viz.export(network()[1], tmp_path / "graph.dot")  # type: ignore[arg-type]  # refused is what is tested


def test_takes_the_place_of_an_older_file(tmp_path: Path) -> None:
    path = tmp_path / "graph.dot"
    path.write_text("old")

    viz.export(network()[0], str(path))

    assert path.read_text(encoding="utf-8").startswith("digraph")
    assert list(tmp_path.iterdir()) == [path]


def test_failure_leaves_the_older_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "graph.dot"
    path.write_text("old")

    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(gn.GraphError, match=r"graph\.dot' can't be written: No space left on device(.|\n)*test_export"):
        viz.export(network()[0], path)

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_format_is_made_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> str:
        raise RuntimeError("no text")

    monkeypatch.setitem(exporting.FORMATS, ".dot", broken)
    with pytest.raises(RuntimeError, match="no text"):
        viz.export(network()[0], tmp_path / "graph.dot")

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["missing/graph.dot", "file/graph.dot", "folder.dot"])
def test_places_that_cannot_be_written(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "folder.dot").mkdir()
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(gn.GraphError, match=rf"{place}' can't be written: \w(.|\n)*test_exporting\.py"):
        viz.export(network()[0], tmp_path / place)

    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(gn.GraphError, match="can't be written: Permission denied"):
            viz.export(network()[0], tmp_path / "graph.dot")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.skipif(os.name != "posix", reason="modes and links are those of POSIX")
def test_file_has_usual_mode_and_links_stay(tmp_path: Path) -> None:
    real, link, usual = tmp_path / "real.dot", tmp_path / "link.dot", tmp_path / "usual"
    real.write_text("old")
    link.symlink_to(real)
    usual.touch()

    viz.export(network()[0], link)

    assert link.is_symlink()
    assert real.read_text(encoding="utf-8").startswith("digraph")
    assert real.stat().st_mode == usual.stat().st_mode
