"""Advance the random step: each run that draws has numbers of its own, and only such a run counts."""

from __future__ import annotations

import numpy as np

import graphnn as gn
from compiler_checks import structure
from graphnn import ops
from graphnn.compiler.passes.advance_random_step import advance_random_step
from graphnn.compiler.subgraph import Subgraph, verify_subgraph
from graphnn.ops import Graph, constant, placeholder, variable
from graphnn.ops.random import RandomUniform
from graphnn.ops.state import Constant


def test_drawing_adds_one_update() -> None:
    with Graph() as graph:
        y = ops.uniform((2,)) + ops.normal((2,))
        step = graph.random_step
        expected = ops.assign(step, step + 1)
    before = Subgraph((y,))
    after = advance_random_step(before)
    verify_subgraph(after, "advance_random_step", before)
    assert after.fetches == before.fetches
    assert structure(after.updates) == structure([expected])
    (update,) = after.updates
    assert update.users_nodes == (step,)


def test_what_draws_nothing_stays() -> None:
    with Graph():
        x, w = placeholder("x", (2,)), variable("w", [1.0, 2.0])
        subgraph = Subgraph((x * w,), (ops.assign(w, x),))
    assert advance_random_step(subgraph) is subgraph


def test_other_updates_stay() -> None:
    with Graph():
        w = variable("w", [1.0, 2.0])
        update = ops.assign(w, ops.uniform((2,)))
    after = advance_random_step(Subgraph((), (update,)))
    assert after.updates[0] is update
    assert [each.inputs[0].name for each in after.updates] == ["w", "random_step"]


def test_own_assign_of_the_step_is_respected() -> None:
    with Graph() as graph:
        y = ops.uniform((2,))
        update = ops.assign(graph.random_step, graph.random_step + 10)
    subgraph = Subgraph((y,), (update,))
    assert advance_random_step(subgraph).updates == (update,)
    executor = gn.Executor(y, updates=[update], device="numpy", verify=True)
    executor.run()
    executor.run()
    assert graph.get_value("random_step") == 20


def test_numbers_drawn_by_a_step_that_is_no_variable_count_nothing() -> None:
    with Graph() as graph:
        step = constant(5)
        y = graph.add(RandomUniform((2,), gn.dtypes.float32, 0, 7), [step])
    assert isinstance(step.op, Constant)
    assert advance_random_step(Subgraph((y,))).updates == ()


def test_runs_draw_different_numbers_and_are_repeatable() -> None:
    with Graph(seed=3) as graph:
        y = ops.uniform((4,))
    executor = gn.Executor(y, device="numpy", verify=True)
    runs = [executor.run() for _ in range(3)]
    assert len({tuple(run) for run in runs}) == 3
    assert graph.get_value("random_step") == 3
    graph.set_value("random_step", 1)
    np.testing.assert_array_equal(executor.run(), runs[1])
    assert graph.get_value("random_step") == 2


def test_several_draws_of_a_run_count_once_and_differ() -> None:
    with Graph() as graph:
        first, second = ops.uniform((4,)), ops.uniform((4,))
    a, b = gn.Executor([first, second], device="numpy").run()
    assert graph.get_value("random_step") == 1
    assert not np.array_equal(a, b)


def test_gradient_sees_the_numbers_of_its_own_run() -> None:
    with Graph(seed=1):
        x = placeholder("x", (None, 8))
        y = ops.dropout(x, 0.5)
        (slope,) = gn.gradients(y, [x])
    executor = gn.Executor([y, slope], device="numpy", max_batch=4, training=True, verify=True)
    ones = np.ones((4, 8), np.float32)
    for _ in range(3):
        value, mask = executor.run({x: ones})
        np.testing.assert_array_equal(value, mask)
        assert set(np.unique(mask)) == {0, 2}


def test_evaluation_of_a_model_with_dropout_does_not_count() -> None:
    with Graph() as graph:
        x = placeholder("x", (None, 4))
        y = ops.dropout(x, 0.5)
    training = gn.Executor(y, device="numpy", max_batch=2, training=True)
    evaluation = gn.Executor(y, device="numpy", max_batch=2)
    feed = {x: np.ones((2, 4), np.float32)}
    training.run(feed)
    np.testing.assert_array_equal(evaluation.run(feed), feed[x])
    assert graph.get_value("random_step") == 1
    assert "random_step" not in evaluation.plan.written_variables


def test_fetched_step_is_the_one_that_was_drawn_with() -> None:
    with Graph() as graph:
        y = ops.uniform((2,))
    executor = gn.Executor([graph.random_step, y], device="numpy", verify=True)
    assert [int(executor.run()[0]) for _ in range(3)] == [0, 1, 2]
