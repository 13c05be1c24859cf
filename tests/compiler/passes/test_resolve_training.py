"""Resolve training: one branch of each choice stays, and with it what it draws and writes."""

from __future__ import annotations

import numpy as np
import pytest

import graphnn as gn
from compiler_checks import compiled, labels, structure
from graphnn import ops
from graphnn.compiler.gradients import gradients
from graphnn.compiler.passes.resolve_training import resolve_training
from graphnn.compiler.subgraph import Subgraph
from graphnn.ops import Graph, placeholder, variable


def test_readers_read_the_branch_of_the_mode() -> None:
    with Graph():
        a, b = placeholder("a", (2,)), placeholder("b", (2,))
        y = ops.exp(ops.when_training(a * 2, b + 1))
        wanted = {True: ops.exp(a * 2), False: ops.exp(b + 1)}
    for training, expected in wanted.items():
        resolved = resolve_training(Subgraph((y,)), training)
        assert structure(resolved.fetches) == structure([expected])


def test_choices_within_choices() -> None:
    with Graph():
        a, b, c = (placeholder(name, ()) for name in "abc")
        y = ops.when_training(ops.when_training(a, b), ops.when_training(b, c))
    assert resolve_training(Subgraph((y,)), training=True).fetches == (a,)
    assert resolve_training(Subgraph((y,)), training=False).fetches == (c,)


def test_without_choices_nothing_changes() -> None:
    with Graph():
        x, w = placeholder("x", (2,)), variable("w", [1.0, 2.0])
        y = ops.exp(x * w)
        subgraph = Subgraph((y,), (ops.assign(w, y),))
    assert resolve_training(subgraph, training=True) == subgraph


def test_gradients_follow_the_mode() -> None:
    with Graph():
        x = placeholder("x", (), "float64")
        (slope,) = gradients(ops.when_training(x * 2, x * x), [x])
    for training, expected in ((True, 2.0), (False, 6.0)):
        executor = gn.Executor(slope, device="numpy", training=training, verify=True)
        assert executor.run({x: np.array(3.0)}) == expected


def test_evaluation_of_dropout_is_the_input_itself() -> None:
    with Graph() as graph:
        x = placeholder("x", (None, 4))
        y = ops.dropout(x, 0.5) * 2
    resolved = resolve_training(Subgraph((y,)), training=False)
    assert labels(resolved) == {"placeholder": 1, "constant": 1, "multiply": 1}
    plan = compiled([y], max_batch=2, training=False).plan
    assert plan.written_variables == ()
    assert graph.random_step not in plan.views


def test_training_with_dropout_draws_and_counts() -> None:
    with Graph():
        x = placeholder("x", (None, 4))
        y = ops.dropout(x, 0.5) * 2
    plan = compiled([y], max_batch=2, training=True).plan
    assert plan.written_variables == ("random_step",)
    assert sum(step.node.op.label == "random_uniform" for step in plan.steps) == 1


def test_assign_in_the_other_branch_is_not_carried_out() -> None:
    with Graph() as graph:
        running = variable("running", 1.0, trainable=False)
        y = ops.when_training(ops.assign(running, running * 2), running) * 3
    evaluation = gn.Executor(y, device="numpy", training=False, verify=True)
    assert evaluation.run() == 3
    assert graph.get_value(running) == 1
    training = gn.Executor(y, device="numpy", training=True, verify=True)
    assert training.run() == 6
    assert graph.get_value(running) == 2


def test_each_branch_may_write_the_same_variable() -> None:
    with Graph() as graph:
        w = variable("w", 1.0)
        y = ops.when_training(ops.assign(w, w * 2), ops.assign(w, w - 10))
    assert gn.Executor(y, device="numpy", training=True).run() == 2.0
    assert gn.Executor(y, device="numpy", training=False).run() == -8.0
    assert graph.get_value(w) == -8.0


@pytest.mark.parametrize("verify", [False, True])
def test_placeholder_of_the_other_branch_need_not_be_fed(verify: bool) -> None:
    with Graph():
        a, b = placeholder("a", (2,)), placeholder("b", (2,))
        y = ops.when_training(a, ops.exp(b))
    executor = gn.Executor(y, device="numpy", training=True, verify=verify)
    assert executor.run({a: np.ones(2, np.float32)}).tolist() == [1, 1]


def test_index_of_the_other_branch_is_not_held_to_its_range() -> None:
    with Graph():
        index = placeholder("index", (None,), "int32")
        small, large = variable("small", np.zeros(2)), variable("large", np.arange(5.0))
        y = ops.when_training(ops.take(small, index), ops.take(large, index))
    feed = {index: np.array([4], np.int32)}
    assert gn.Executor(y, device="numpy", max_batch=1, training=False).run(feed).tolist() == [4]
    with pytest.raises(gn.FeedError, match="index out of range"):
        gn.Executor(y, device="numpy", max_batch=1, training=True).run(feed)
