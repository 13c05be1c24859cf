"""The generator of random graphs: what it makes is valid, finite, repeatable, and of all kinds."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from graphnn import ops
from graphnn.compiler.reference import evaluate
from graphnn.compiler.subgraph import Subgraph, topological, verify_subgraph
from graphnn.ops import Graph, Op, dtypes
from graphnn.ops.state import Assign, Constant, Placeholder, Variable
from random_graphs import RandomGraph, evaluate_into, is_steady, random_graph

SEEDS = range(50)

MODULES = (
    *("avg_pool", "broadcasting", "comparison", "conv", "elementwise", "index", "loss", "matmul", "max_pool", "norm"),
    *("random", "reduce", "shape", "slicing", "state"),
)
RARE = {"Identity", "MaxPool2dGather"}
"""Ops of the compiler, and of second gradients."""


@cache
def graph_of(seed: int) -> RandomGraph:
    return random_graph(seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_graph_is_valid_and_its_values_finite(seed: int) -> None:
    graph, fetches, feeds, updates = graph_of(seed)
    assert len(graph.nodes) >= 60
    verify_subgraph(Subgraph(tuple(fetches), tuple(updates)), "the generator")
    for node, value in zip(fetches, evaluate(fetches, feeds, training=bool(updates)), strict=True):
        assert np.isfinite(value).all(), node
        assert np.abs(value.astype(np.float64)).max(initial=0.0) < 1e4, node


@pytest.mark.parametrize("seed", SEEDS[::10])
def test_a_seed_gives_the_same_graph_again(seed: int) -> None:
    first, second = graph_of(seed), random_graph(seed)
    assert [repr(node) for node in first.graph.nodes] == [repr(node) for node in second.graph.nodes]
    assert [node.name for node in first.fetches] == [node.name for node in second.fetches]
    assert [node.name for node in first.updates] == [node.name for node in second.updates]
    for one, other in zip(first.feeds.values(), second.feeds.values(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_values_while_growing_are_those_of_the_reference() -> None:
    graph, fetches, feeds, _ = next(found for found in map(graph_of, SEEDS) if found.updates)
    values: dict[ops.Node, np.ndarray] = {}
    evaluate_into(values, graph.nodes, feeds, training=True)
    for node, value in zip(fetches, evaluate(fetches, feeds, training=True), strict=True):
        np.testing.assert_array_equal(values[node], value)


def leaves(kind: type[Op]) -> set[type[Op]]:
    derived = [child for child in kind.__subclasses__() if child.__module__.startswith("graphnn.ops.")]
    return set().union(*map(leaves, derived)) if derived else {kind}


def test_all_ops_occur() -> None:
    found = {type(node.op) for seed in SEEDS for node in graph_of(seed).graph.nodes}
    wanted = {kind for kind in leaves(Op) if kind.__module__.removeprefix("graphnn.ops.") in MODULES}
    missing = {kind.__name__ for kind in wanted - found} - RARE
    assert {kind.__module__.removeprefix("graphnn.ops.") for kind in found} == set(MODULES)
    assert len(missing) <= 3, missing


def test_all_that_passes_work_on_occurs() -> None:
    graphs = [graph_of(seed) for seed in SEEDS]
    fetched = [node for found in graphs for node in found.fetches]
    assert {bool(found.updates) for found in graphs} == {True, False}
    assert {value.shape[0] for found in graphs for node, value in found.feeds.items() if node.spec.has_batch} == {
        1,
        2,
        3,
        4,
    }
    assert {dtypes.bool, dtypes.int32, dtypes.int64, dtypes.float32} <= {node.dtype for node in fetched}
    assert any(node.spec.has_batch for node in fetched)
    for kind in (Placeholder, Variable, Assign):
        assert any(isinstance(node.op, kind) for node in fetched), kind
    for found in graphs:
        needed = topological([*found.fetches, *found.updates])
        assert len(needed) < len(found.graph.nodes), "nothing is dead"
        targets = [update.inputs[0] for update in found.updates]
        assert len(targets) == len(set(targets))
    live = [node for found in graphs for node in topological([*found.fetches, *found.updates])]
    assert any(node.inputs and all(isinstance(given.op, Constant) for given in node.inputs) for node in live)
    assert len({(node.op, node.inputs) for node in live}) < len(live), "nothing is computed twice"


def test_graphs_in_which_rounding_decides_are_not_steady() -> None:
    with Graph() as graph:
        x = ops.placeholder("x", (2,))
        steady = ops.exp(x) * ops.exp(-x) + 0.5
        decides = ops.sign(steady - 1.5)
    feeds = {x: np.array([0.3, -0.7], np.float32)}
    assert is_steady(RandomGraph(graph, [steady], feeds, []))
    assert not is_steady(RandomGraph(graph, [decides], feeds, []))


def test_values_that_are_not_finite_are_not_steady() -> None:
    with Graph() as graph:
        x = ops.placeholder("x", (1,))
        y = ops.log(x)
    assert not is_steady(RandomGraph(graph, [y], {x: np.zeros(1, np.float32)}, []))
