"""Snapshot reads: whoever needs a variable's old value after the write reads a copy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphnn as gn
from compiler_checks import check_plan, labels, structure
from graphnn import ops
from graphnn.compiler.passes.snapshot_reads import snapshot_reads, variable_behind
from graphnn.compiler.subgraph import Subgraph, verify_subgraph
from graphnn.ops import Graph, Node, apply, placeholder, variable
from graphnn.ops.state import Identity


def snapped(subgraph: Subgraph) -> Subgraph:
    after = snapshot_reads(subgraph)
    verify_subgraph(after, "snapshot_reads", subgraph)
    return after


def test_swap_reads_copies() -> None:
    with Graph() as graph:
        a, b = variable("a", [1.0, 2.0]), variable("b", [3.0, 4.0])
        updates = (ops.assign(a, b), ops.assign(b, a))
        expected = (ops.assign(a, apply(Identity(), b)), ops.assign(b, apply(Identity(), a)))
    assert structure(snapped(Subgraph((), updates)).updates) == structure(expected)
    check_plan([], {}, updates)
    assert graph.get_value(a).tolist() == [3, 4]
    assert graph.get_value(b).tolist() == [1, 2]


def test_rotation_of_three() -> None:
    with Graph() as graph:
        nodes = [variable(name, [float(number)]) for number, name in enumerate("abc")]
        updates = [ops.assign(nodes[place], nodes[(place + 1) % 3]) for place in range(3)]
    check_plan([], {}, updates)
    assert [graph.get_value(node).tolist() for node in nodes] == [[1], [2], [0]]


def test_fetched_variable_that_is_assigned_shows_the_old_value() -> None:
    with Graph():
        w = variable("w", [1.0, 2.0])
        update = ops.assign(w, w * 10)
    after = snapped(Subgraph((w, update.inputs[1]), (update,)))
    assert structure(after.fetches[:1]) == structure([apply(Identity(), w)])
    assert after.fetches[1] is update.inputs[1]
    executor = gn.Executor([w, update], device="numpy", training=True, verify=True)
    assert [value.tolist() for value in executor.run()] == [[1, 2], [10, 20]]
    assert [value.tolist() for value in executor.run()] == [[10, 20], [100, 200]]


@pytest.mark.parametrize(
    "view",
    [
        lambda w: w.T,
        lambda w: w.reshape((6,)),
        lambda w: w[1:, ::-1],
        lambda w: w.expand_dims(0).broadcast_to((4, 2, 3)),
        lambda w: w.T[::-1].reshape((6,)),
        lambda w: ops.stop_gradient(w.T),
    ],
)
def test_fetched_view_of_an_assigned_variable_shows_the_old_value(view: Callable[[Node], Node]) -> None:
    with Graph():
        w = variable("w", np.arange(6, dtype=np.float32).reshape(2, 3))
        shown = view(w)
        update = ops.assign(w, w * 10)
    check_plan([shown, w, update], {}, [update])
    check_plan([shown, w, update], {}, [update], writes_last=True)


def test_variable_that_nobody_assigns_is_read_directly() -> None:
    with Graph():
        w, v = variable("w", [1.0]), variable("v", [2.0])
        subgraph = Subgraph((w, w.reshape(())), (ops.assign(v, w),))
    assert snapped(subgraph) == subgraph


def test_computed_values_are_read_directly() -> None:
    with Graph():
        w = variable("w", [1.0])
        y = w * 2
        subgraph = Subgraph((y,), (ops.assign(w, y),))
    assert snapped(subgraph) == subgraph


def test_assign_of_a_variable_to_itself() -> None:
    with Graph() as graph:
        w = variable("w", [1.0, 2.0])
        update = ops.assign(w, w + 0)
    check_plan([w], {}, [update])
    assert graph.get_value(w).tolist() == [1, 2]


def test_assign_of_a_view_of_itself() -> None:
    with Graph() as graph:
        w = variable("w", np.arange(4, dtype=np.float32).reshape(2, 2))
        update = ops.assign(w, w.T)
    check_plan([update], {}, [update])
    assert graph.get_value(w).tolist() == [[0, 2], [1, 3]]


def test_one_copy_serves_all() -> None:
    with Graph():
        w, v = variable("w", [1.0]), variable("v", [0.0])
        subgraph = Subgraph((w, w), (ops.assign(w, w + 1), ops.assign(v, w)))
    after = snapped(subgraph)
    assert labels(after)["identity"] == 1
    assert after.fetches[0] is after.fetches[1] is after.updates[1].inputs[1]


def test_variable_behind() -> None:
    with Graph():
        w, x = variable("w", np.ones((2, 3), np.float32)), placeholder("x", (2, 3))
        assert variable_behind(w) is w
        assert variable_behind(w.T.reshape((6,))[1:]) is w
        assert variable_behind(w + 1) is None
        assert variable_behind(x.T) is None
        assert variable_behind((w + 1).T) is None


def test_momentum_step_reads_old_values_only() -> None:
    with Graph():
        w, v = variable("w", np.ones(3, np.float32)), variable("v", np.full(3, 2, np.float32), trainable=False)
        slope = w * w
        moved = v * 0.9 + slope
        updates = [ops.assign(v, moved), ops.assign(w, w - moved * 0.1)]
    check_plan([w, v, slope], {}, updates)
    check_plan([w, v, slope], {}, updates, writes_last=True)
