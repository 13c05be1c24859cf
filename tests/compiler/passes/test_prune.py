"""Prune: what is fetched or assigned stays, assigns become their values, all else goes."""

from __future__ import annotations

import pytest

from compiler_checks import labels, structure
from graphnn import ops
from graphnn.compiler.passes.prune import prune
from graphnn.compiler.subgraph import Subgraph, verify_subgraph
from graphnn.ops import Graph, placeholder, variable
from graphnn.ops.errors import GraphError


def test_what_nothing_needs_is_gone() -> None:
    with Graph():
        x, other = placeholder("x", (2,)), placeholder("other", (2,))
        y = ops.exp(x)
        ops.tanh(y + other)
    pruned = prune(Subgraph((y,)))
    assert pruned.nodes == (x, y)
    assert pruned.fetches == (y,)
    assert pruned.updates == ()


def test_needed_nodes_are_the_users_own() -> None:
    with Graph():
        x, w = placeholder("x", (2,)), variable("w", [1.0, 2.0])
        y = ops.exp(x * w)
        update = ops.assign(w, y)
    subgraph = Subgraph((y, x, y), (update,))
    assert prune(subgraph) == subgraph


def test_fetched_assign_becomes_its_value_and_is_carried_out() -> None:
    with Graph():
        w = variable("w", [1.0])
        value = w + 1
        update = ops.assign(w, value)
    pruned = prune(Subgraph((update,)))
    assert pruned.fetches == (value,)
    assert pruned.updates == (update,)


def test_reader_of_an_assign_reads_its_value_and_the_assign_is_carried_out() -> None:
    with Graph():
        w, v = variable("w", [1.0]), variable("v", [0.0])
        value = w + 1
        stored = ops.assign(w, value)
        y = stored * stored
        chained = ops.assign(v, stored)
        expected = value * value
    pruned = prune(Subgraph((y,), (chained,)))
    verify_subgraph(pruned, "prune")
    assert structure(pruned.fetches) == structure([expected])
    assert [update.inputs for update in pruned.updates] == [(w, value), (v, value)]
    assert [update.users_nodes for update in pruned.updates] == [(stored,), (chained,)]


def test_assigns_are_in_order_of_creation() -> None:
    with Graph():
        variables = [variable(f"v{number}", 0.0) for number in range(4)]
        updates = [ops.assign(each, each + 1) for each in variables]
    assert prune(Subgraph((), tuple(updates[::-1]))).updates == tuple(updates)
    assert prune(Subgraph((updates[3], updates[1]), (updates[2],))).updates == tuple(updates[1:])


def test_assign_given_twice_is_carried_out_once() -> None:
    with Graph():
        w = variable("w", 0.0)
        update = ops.assign(w, w + 1)
    assert prune(Subgraph((update, update), (update,))).updates == (update,)


def test_nodes_that_stop_gradients_are_gone() -> None:
    with Graph():
        x = placeholder("x", (2,))
        y = ops.exp(ops.stop_gradient(ops.stop_gradient(x))) + ops.stop_gradient(x)
        expected = ops.exp(x) + x
    pruned = prune(Subgraph((y, ops.stop_gradient(y))))
    assert "stop_gradient" not in labels(pruned)
    assert structure(pruned.fetches) == structure([expected, expected])


def test_two_assigns_to_one_variable_are_refused_with_both_lines() -> None:
    with Graph():
        w = variable("w", 0.0)
        first = ops.assign(w, w + 1)
        second = ops.assign(w, w + 2)
    for pair in [(first, second), (second, first)]:
        with pytest.raises(GraphError, match="two assigns write variable 'w' in one run") as caught:
            prune(Subgraph((), pair))
        assert f"{first.name!r} at {first.source}" in caught.value.actual
        assert caught.value.where == str(second.source)
    with pytest.raises(GraphError, match="two assigns"):
        prune(Subgraph((first * 2,), (second,)))


def test_equal_assigns_are_two_all_the_same() -> None:
    with Graph():
        w = variable("w", 0.0)
        value = w + 1
        pair = (ops.assign(w, value), ops.assign(w, value))
    with pytest.raises(GraphError, match="two assigns"):
        prune(Subgraph((), pair))
