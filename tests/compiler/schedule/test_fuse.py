"""Fuse: which nodes share a kernel, which never do, and that groups can always be ordered."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from graphnn import ops
from graphnn.compiler.gradients import gradients
from graphnn.compiler.passes.prune import prune
from graphnn.compiler.pipeline import Options, improve
from graphnn.compiler.schedule.form import Group, verify_schedule
from graphnn.compiler.schedule.fuse import ANCHORS, fuse
from graphnn.compiler.schedule.order import order
from graphnn.compiler.subgraph import Subgraph
from graphnn.compiler.targets.numpy.target import NumpyTarget
from graphnn.ops import Graph, Node, constant, placeholder, variable
from networks import lenet
from random_graphs import random_graph


def groups_of(*fetches: Node, updates: tuple[Node, ...] = (), separate_writes: bool = False) -> list[Group]:
    """Return the groups of a graph, after checking that they can be ordered and verified."""
    subgraph = prune(Subgraph(fetches, updates))
    groups = fuse(subgraph, separate_writes)
    verify_schedule(order(subgraph, groups))
    assert_at_most_one_anchor(groups)
    return groups


def assert_at_most_one_anchor(groups: list[Group]) -> None:
    for group in groups:
        assert sum(isinstance(node.op, ANCHORS) for node in group.nodes) <= 1, group


def names(groups: list[Group]) -> list[str]:
    return [" + ".join(node.op.label for node in group.nodes) for group in groups]


Build = Callable[[Node], Node]

JOINED: dict[str, tuple[Build, list[str]]] = {
    "a chain": (lambda x: ops.exp(ops.tanh(x * 2)), ["multiply + tanh + exp"]),
    "a chain with casts": (lambda x: ops.exp(x.astype("float64") * 2), ["cast + multiply + exp"]),
    "a tree": (lambda x: ops.exp(x) * ops.tanh(x), ["exp + tanh + multiply"]),
    "one node read twice by one other": (lambda x: (lambda y: y * y)(ops.exp(x)), ["exp + multiply"]),
    "a prologue of a reduction": (lambda x: ops.exp(x).sum(1), ["exp + sum"]),
    "an epilogue of a reduction": (lambda x: ops.exp(x.max(1)), ["max + exp"]),
    "both": (lambda x: ops.tanh(ops.exp(x).sum(1)) * 3, ["exp + sum + tanh + multiply"]),
    "an epilogue of a product": (lambda x: ops.relu(x @ np.ones((4, 3), np.float32) + 1.0), ["matmul + add + relu"]),
    "an epilogue of a convolution": (
        lambda x: ops.relu(ops.conv2d(x.reshape((None, 1, 2, 2)), constant(np.ones((3, 1, 1, 1), np.float32))) + 1),
        ["reshape", "conv2d + add + relu"],
    ),
    "a view of a source": (lambda x: ops.exp(x.T), ["transpose + exp"]),
    "a broadcast of a source": (lambda x: x * constant([1.0]).broadcast_to((4,)), ["broadcast_to + multiply"]),
}

APART: dict[str, tuple[Build, list[str]]] = {
    "two readers": (lambda x: (lambda y: ops.tanh(y) * y.sum(0))(ops.exp(x)), ["exp", "sum", "tanh + multiply"]),
    "two reductions in a row": (lambda x: x.sum(1).sum(0), ["sum", "sum"]),
    "two products in a row": (
        lambda x: x @ np.ones((4, 3), np.float32) @ np.ones((3, 2), np.float32),
        ["matmul", "matmul"],
    ),
    "two anchors with a reader": (lambda x: x.sum(1) + x.max(1), ["sum", "max + add"]),
    "a reduction that broadcasts": (lambda x: x - x.mean(0), ["size", "cast", "sum + divide", "subtract"]),
    "a prologue of a product": (lambda x: ops.exp(x) @ np.ones((4, 3), np.float32), ["exp", "matmul"]),
    "a view of a computed value": (lambda x: ops.tanh(ops.exp(x).T), ["exp", "transpose", "tanh"]),
    "an op that is no loop": (lambda x: ops.exp(ops.softmax(ops.exp(x))), ["exp", "softmax", "exp"]),
    "a choice by positions": (lambda x: ops.argmax(ops.exp(x)), ["exp", "argmax"]),
    "a concatenation": (lambda x: ops.concat([ops.exp(x), ops.tanh(x)], 1), ["exp", "tanh", "concat"]),
    "random numbers": (lambda x: x * ops.uniform((None, 4)), ["random_uniform", "multiply"]),
}


@pytest.mark.parametrize("name", JOINED)
def test_joined(name: str) -> None:
    build, expected = JOINED[name]
    with Graph():
        groups = groups_of(build(placeholder("x", (None, 4))))
    assert names(groups) == expected


@pytest.mark.parametrize("name", APART)
def test_kept_apart(name: str) -> None:
    build, expected = APART[name]
    with Graph():
        groups = groups_of(build(placeholder("x", (None, 4))))
    assert sorted(names(groups)) == sorted(expected)


def test_fetched_inner_node_is_not_hidden() -> None:
    with Graph():
        x = placeholder("x", (4,))
        inner = ops.exp(x)
        y = ops.tanh(inner)
    assert names(groups_of(y)) == ["exp + tanh"]
    (first, second) = groups_of(y, inner)
    assert (first.nodes, first.outputs) == ((inner,), (inner,))
    assert second.inputs == (inner,)


def test_update_joins_the_value_that_it_stores() -> None:
    with Graph():
        w, x = variable("w", np.ones(3, np.float32)), placeholder("x", (3,))
        update = ops.assign(w, w - x * 0.1)
    (group,) = groups_of(updates=(update,))
    assert [node.op.label for node in group.nodes] == ["multiply", "subtract", "assign"]
    assert group.root is update
    assert group.outputs == (update,)
    assert set(group.inputs) >= {w, x}


def test_update_with_a_gradient_product() -> None:
    with Graph():
        w, x = variable("w", np.ones((4, 3), np.float32)), placeholder("x", (None, 4))
        (slope,) = gradients(ops.tanh(x @ w), [w])
        update = ops.assign(w, w - slope * 0.1)
    last = groups_of(updates=(update,))[-1]
    assert [node.op.label for node in last.nodes] == ["matmul", "multiply", "subtract", "assign"]


def test_separate_writes_stay_alone() -> None:
    with Graph():
        w, x = variable("w", np.ones(3, np.float32)), placeholder("x", (3,))
        update = ops.assign(w, w - x * 0.1)
    assert names(groups_of(updates=(update,), separate_writes=True)) == ["multiply + subtract", "assign"]


def test_assigns_whose_values_wait_for_each_other_are_groups_of_their_own() -> None:
    """Each would have to come after the other, which reads its variable's old value."""
    with Graph():
        a, b, c, d = (variable(name, np.ones(3, np.float32)) for name in "abcd")
        updates = (ops.assign(a, b * 2), ops.assign(b, c + 1), ops.assign(c, ops.exp(a)), ops.assign(d, ops.tanh(a)))
    groups = groups_of(updates=updates)
    assert sorted(names(groups)) == ["add", "assign", "assign", "assign", "exp", "multiply", "tanh + assign"]


def test_assign_of_a_source_or_a_view_is_a_group_of_its_own() -> None:
    with Graph():
        w, v = variable("w", np.ones((2, 2), np.float32)), variable("v", np.ones((2, 2), np.float32))
        x = placeholder("x", (2, 2))
        updates = (ops.assign(w, x), ops.assign(v, ops.exp(x).T))
    assert names(groups_of(updates=updates)) == ["assign", "exp", "transpose", "assign"]


def test_sole_reader_takes_only_one_anchor() -> None:
    with Graph():
        x, w = placeholder("x", (None, 4)), constant(np.ones((4, 4), np.float32))
        groups = groups_of((x @ w) + (x @ w.T) * (x @ (w * 2)))
    assert sum("matmul" in each for each in names(groups)) == 3


def test_no_path_leaves_a_group_and_comes_back() -> None:
    with Graph():
        x = placeholder("x", (4,))
        a = ops.exp(x)
        b = a.sum()
        y = ops.tanh(a) * b
    groups = groups_of(y)
    assert sorted(names(groups)) == ["exp", "sum", "tanh + multiply"]


@pytest.mark.parametrize("separate_writes", [False, True])
def test_training_step_of_lenet(separate_writes: bool) -> None:
    network = lenet()
    groups = groups_of(network.loss, updates=tuple(network.updates), separate_writes=separate_writes)
    assert len(groups) < 0.8 * sum(len(group.nodes) for group in groups)


@pytest.mark.parametrize("seed", range(100, 120))
def test_random_graphs_can_be_ordered(seed: int) -> None:
    found = random_graph(seed)
    raw = Subgraph(tuple(found.fetches), tuple(found.updates))
    subgraph = improve(raw, Options(NumpyTarget(), 5, bool(found.updates)))[-1][1]
    for separate in (False, True):
        groups = fuse(subgraph, separate)
        assert_at_most_one_anchor(groups)
        for writes_last in (False, True) if separate else (False,):
            verify_schedule(order(subgraph, groups, writes_last))
