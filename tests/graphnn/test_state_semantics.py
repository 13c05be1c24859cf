"""Variables: what a run reads and writes, what plans share, and what a failed run leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from error_form import refused
from graphnn import FeedError, GraphError, ops
from graphnn.ops.node import Node
from networks import executor, lenet


def snapshot(graph: gn.Graph) -> dict[str, bytes]:
    return {name: graph.get_value(name).tobytes() for name in graph.variables}


# Reads see the values from before the run, whatever is written and when.


@pytest.mark.parametrize("check_numerics", [False, True])
def test_a_swap(check_numerics: bool) -> None:
    with gn.Graph() as graph:
        a, b = gn.variable("a", [1.0, 2.0]), gn.variable("b", [3.0, 4.0])
        run = executor([], [ops.assign(a, b), ops.assign(b, a)], check_numerics=check_numerics).run
    for first, second in (([3, 4], [1, 2]), ([1, 2], [3, 4])):
        run()
        np.testing.assert_array_equal(graph.get_value(a), first)
        np.testing.assert_array_equal(graph.get_value(b), second)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_new_values_that_are_made_of_each_others_old_ones(device: str) -> None:
    with gn.Graph() as graph:
        a, b, c = gn.variable("a", [1.0, 2.0]), gn.variable("b", [3.0, 4.0]), gn.variable("c", 0.5)
        updates = [ops.assign(a, a + b), ops.assign(b, a - b), ops.assign(c, a.sum() * c)]
        run = gn.Executor([a + b], updates, device=device).run
    for fetched, first, second, third in (([4, 6], [4, 6], [-2, -2], 1.5), ([2, 4], [2, 4], [6, 8], 15)):
        np.testing.assert_array_equal(run()[0], fetched)
        np.testing.assert_array_equal(graph.get_value(a), first)
        np.testing.assert_array_equal(graph.get_value(b), second)
        assert graph.get_value(c) == third


def test_a_rotation_of_three_through_views() -> None:
    with gn.Graph() as graph:
        a, b, c = (gn.variable(name, [value, -value]) for name, value in (("a", 1.0), ("b", 2.0), ("c", 3.0)))
        updates = [ops.assign(a, b[::-1]), ops.assign(b, c.reshape(2, 1).T.reshape(2)), ops.assign(c, a[::-1])]
        run = executor([a, b, c], updates).run
    old = run()
    np.testing.assert_array_equal(old, [[1, -1], [2, -2], [3, -3]])
    np.testing.assert_array_equal([graph.get_value(name) for name in "abc"], [[-2, 2], [3, -3], [-1, 1]])


def test_a_variable_reversed_in_place() -> None:
    with gn.Graph() as graph:
        a = gn.variable("a", [1.0, 2.0, 3.0])
        m = gn.variable("m", [[1.0, 2.0], [3.0, 4.0]])
        executor([], [ops.assign(a, a[::-1]), ops.assign(m, m.T)]).run()
    np.testing.assert_array_equal(graph.get_value(a), [3, 2, 1])
    np.testing.assert_array_equal(graph.get_value(m), [[1, 3], [2, 4]])


def test_an_update_that_reads_its_variable_at_two_places() -> None:
    """Written element by element into the variable's own memory, the second place would already be new."""
    with gn.Graph() as graph:
        a = gn.variable("a", [1.0, 10.0, 100.0])
        m = gn.variable("m", [[1.0, 2.0], [3.0, 4.0]])
        executor([], [ops.assign(a, a + a[::-1]), ops.assign(m, m @ m)]).run()
    np.testing.assert_array_equal(graph.get_value(a), [101, 20, 101])
    np.testing.assert_array_equal(graph.get_value(m), [[7, 10], [15, 22]])


def test_an_update_reduced_from_its_own_variable() -> None:
    with gn.Graph() as graph:
        a = gn.variable("a", [1.0, 2.0, 3.0])
        executor([], ops.assign(a, a - a.mean())).run()
    np.testing.assert_array_equal(graph.get_value(a), [-1, 0, 1])


def test_readers_on_either_side_of_a_write_in_the_order_of_creation() -> None:
    with gn.Graph() as graph:
        w = gn.variable("w", [2.0])
        before = w * 10
        step = ops.assign(w, w + 1)
        after = w * 100
        run = executor([before, step, after, w, w[:, None]], [step]).run
    for value in (2, 3, 4):
        results = [result.item() for result in run()]
        assert results == [value * 10, value + 1, value * 100, value, value]
    assert graph.get_value(w) == [5]


def test_a_write_waits_for_a_long_chain_of_readers() -> None:
    with gn.Graph():
        w = gn.variable("w", np.ones(4, np.float32))
        x = gn.placeholder("x", (None, 4))
        step = ops.assign(w, w * 0)
        y = x
        for _ in range(20):
            y = ops.relu(y + w)
        run = executor(y, [step]).run
    np.testing.assert_array_equal(run({x: np.zeros((2, 4), np.float32)}), np.full((2, 4), 20))
    np.testing.assert_array_equal(run({x: np.zeros((2, 4), np.float32)}), np.zeros((2, 4)))


def test_the_value_of_an_assign_is_the_new_one_for_whoever_reads_it() -> None:
    with gn.Graph() as graph:
        w = gn.variable("w", 1.0)
        new = ops.assign(w, w + 1.0)
        run = executor([new * 10, w * 10, new]).run
    assert [value.item() for value in run()] == [20, 10, 2]
    assert graph.get_value(w) == 2


def test_a_chain_of_assigns_is_carried_out_as_a_whole() -> None:
    with gn.Graph() as graph:
        a, b, c = gn.variable("a", 1.0), gn.variable("b", 0.0), gn.variable("c", 0.0)
        first = ops.assign(a, a + 1.0)
        second = ops.assign(b, first * 10.0)
        third = ops.assign(c, second + first)
        run = executor(third).run
    assert run() == 22
    assert [graph.get_value(name).item() for name in "abc"] == [2, 20, 22]
    assert run() == 33


def test_an_assign_that_nothing_asks_for_is_not_carried_out() -> None:
    with gn.Graph() as graph:
        w = gn.variable("w", 1.0)
        ops.assign(w, w + 1.0)
        assert executor(w * 2).run() == 2
    assert graph.get_value(w) == 1
    assert graph.store.version("w") == 0


def test_registered_updates_are_carried_out_by_who_lists_them_only() -> None:
    with gn.Graph() as graph:
        w = gn.variable("w", 1.0)
        graph.add_update(ops.assign(w, w + 1.0))
        executor(w).run()
        assert graph.get_value(w) == 1
        executor(w, graph.updates).run()
        assert graph.get_value(w) == 2


def test_one_value_stored_in_two_variables() -> None:
    with gn.Graph() as graph:
        a, b = gn.variable("a", [1.0, 2.0]), gn.variable("b", [0.0, 0.0])
        total = a + b
        run = executor(total, [ops.assign(a, total), ops.assign(b, total)]).run
    np.testing.assert_array_equal(run(), [1, 2])
    np.testing.assert_array_equal(run(), [2, 4])
    graph.set_value(a, [0, 0])
    np.testing.assert_array_equal(graph.get_value(b), [2, 4])  # the two are memory of their own


@pytest.mark.parametrize("source", ["feed", "constant", "number", "list"])
def test_what_is_stored_may_come_from_anywhere(source: str) -> None:
    with gn.Graph() as graph:
        w = gn.variable("w", [1.0, 2.0])
        x = gn.placeholder("x", (2,))
        values: dict[str, Any] = {"feed": x, "constant": gn.constant([5.0, 6.0]), "list": [5, 6], "number": 5.0}
        if source == "number":
            w = gn.variable("scalar", 1.0)
        feed = np.array([5, 6], np.float32)
        run = executor(w, ops.assign(w, values[source])).run
    run({x: feed})
    feed[:] = -1
    np.testing.assert_array_equal(graph.get_value(w), 5 if source == "number" else [5, 6])


def test_a_counter_of_each_type() -> None:
    for dtype in gn.dtypes.ALL:
        if dtype is gn.dtypes.bool:
            continue
        with gn.Graph() as graph:
            count = gn.variable("count", 0, trainable=False, dtype=dtype)
            run = executor(count, ops.assign(count, count + 1)).run
        assert [run().item() for _ in range(3)] == [0, 1, 2], dtype
        assert graph.get_value(count) == 3


def test_a_variable_without_elements() -> None:
    with gn.Graph() as graph:
        w = gn.variable("w", np.zeros((0, 3), np.float32))
        (old,) = executor([w], ops.assign(w, w + 1)).run()
    assert old.shape == graph.get_value(w).shape == (0, 3)
    graph.set_value(w, np.ones((0, 3), np.float32))


# Plans of one graph share its variables.


def test_training_and_evaluation_see_one_set_of_variables() -> None:
    network = lenet(size=16)
    train = executor([network.loss], network.updates)
    evaluate = executor([network.loss])
    feed = network.feed(4)
    losses = []
    for _ in range(3):
        (expected,) = evaluate.run(feed)
        (loss,) = train.run(feed)
        assert loss == expected
        losses.append(float(loss))
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > losses[-1]
    before = snapshot(network.graph)
    evaluate.run(feed)
    assert snapshot(network.graph) == before


def test_set_value_between_runs_is_seen_by_all_plans() -> None:
    with gn.Graph() as graph:
        x = gn.placeholder("x", (None,))
        w = gn.variable("w", 1.0)
        y = x * w
        plans = [executor(y), executor(y + 0), executor(y, ops.assign(w, w))]
    for value in (2.0, 3.0):
        graph.set_value(w, value)
        for plan in plans:
            np.testing.assert_array_equal(plan.run({x: [1.0]}), [value])


def test_values_before_an_executor_was_made_count_as_well() -> None:
    with gn.Graph() as graph:
        w = gn.variable("w", 1.0)
        graph.set_value(w, 5.0)
        run = executor(w * 2).run
    assert run() == 10


def test_a_variable_is_never_folded_into_a_constant() -> None:
    with gn.Graph() as graph:
        w = gn.variable("w", 0.0, trainable=False)
        run = executor([w + 1, (w * 2 + 1) * gn.constant(3.0)]).run
    assert [value.item() for value in run()] == [1, 3]
    graph.set_value(w, 1.0)
    assert [value.item() for value in run()] == [2, 9]


def test_get_value_is_a_copy() -> None:
    with gn.Graph() as graph:
        w = gn.variable("w", [1.0, 2.0])
        run = executor(w, ops.assign(w, w + 1)).run
    before = graph.get_value(w)
    before[:] = -1
    np.testing.assert_array_equal(run(), [1, 2])
    kept = graph.get_value(w)
    run()
    np.testing.assert_array_equal(kept, [2, 3])


def test_set_value_copies() -> None:
    with gn.Graph() as graph:
        w = gn.variable("w", [1.0, 2.0])
        run = executor(w, ops.assign(w, w + 1)).run
    array = np.array([5, 6], np.float32)
    graph.set_value(w, array)
    array[:] = -1
    np.testing.assert_array_equal(run(), [5, 6])
    np.testing.assert_array_equal(array, [-1, -1])


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda a: np.repeat(a, 2, 0)[::2], lambda a: a[::-1, ::-1]])
def test_set_value_takes_any_memory_layout(layout: Callable[[np.ndarray], np.ndarray]) -> None:
    values = layout(np.arange(6, dtype=np.float32).reshape(2, 3))
    with gn.Graph() as graph:
        w = gn.variable("w", np.zeros((2, 3), np.float32))
        run = executor(w * 1).run
    graph.set_value(w, values)
    np.testing.assert_array_equal(run(), values)
    np.testing.assert_array_equal(graph.get_value(w), values)


def test_versions_count_writes() -> None:
    with gn.Graph() as graph:
        a, b = gn.variable("a", 1.0), gn.variable("b", 1.0)
        step = executor(b, ops.assign(a, a + b))
        reader = executor([a, b])

    def versions() -> tuple[int, int]:
        return graph.store.version("a"), graph.store.version("b")

    assert versions() == (0, 0)
    step.run()
    step.run()
    reader.run()
    graph.get_value(a)
    assert versions() == (2, 0)
    graph.set_value(b, 2.0)
    assert versions() == (2, 1)
    step.profile(repeats=1)  # what it wrote and restored may lie in a cache that goes by the version
    assert versions()[0] > 2


def test_versions_of_variables_that_change_together_and_alone() -> None:
    with gn.Graph() as graph:
        a, b, c = (gn.variable(name, 1.0) for name in "abc")
        both = [ops.assign(a, a + 1.0), ops.assign(b, b + 1.0)]
        one = ops.assign(b, b * 2.0)
        runs = [executor(c, both).run, executor(c, one).run, executor(a, reversed(both)).run]
    for run in runs:
        run()
    graph.set_value(c, 5.0)
    assert [graph.store.version(name) for name in "abc"] == [2, 3, 1]
    counters = len(graph.store._counters)
    for _ in range(3):
        executor(c, both).run()
    assert len(graph.store._counters) == counters  # executors come and go


# A run that fails changes nothing.


class Failing:
    """Two variables that each run changes together, and three ways for a run to fail after work was done."""

    def __init__(self) -> None:
        with gn.Graph(seed=3) as self.graph:
            self.x = gn.placeholder("x", (None,))
            self.index = gn.placeholder("index", (), "int64")
            self.a = gn.variable("a", np.arange(5, dtype=np.float32))
            self.b = gn.variable("b", np.arange(5, dtype=np.float32))
            noise = ops.uniform((5,))  # random_step must not advance either
            new = self.a + noise
            position = ops.clip(self.index * 2, -100, 100)  # a range that only the run knows
            self.picked = ops.take(self.b, position)
            self.updates: list[Node] = [ops.assign(self.a, new), ops.assign(self.b, self.b - new)]
            self.risky = [ops.log(self.x), self.picked]


def test_an_index_out_of_range_known_only_in_the_run() -> None:
    model = Failing()
    train = executor(model.picked, model.updates)
    assert train.run({model.index: 1}) == 2
    before = snapshot(model.graph)
    for index in (3, -3, 50):
        with refused(
            GraphError,
            "take 'take' got an index out of range",
            at="self.picked = ops.take(self.b, position)",
            hint="no variable was changed",
        ):
            train.run({model.index: index})
        assert snapshot(model.graph) == before
    assert np.isfinite(train.run({model.index: 2}))
    assert snapshot(model.graph) != before


def test_numbers_that_are_not_finite_change_nothing_if_checked() -> None:
    model = Failing()
    train = executor(model.risky, model.updates, check_numerics=True)
    train.run({model.x: [1.0], model.index: 0})
    before = snapshot(model.graph)
    for x in (-1.0, 0.0, float("inf"), float("nan")):
        with pytest.raises(gn.NumericsError):
            train.run({model.x: [1.0, x], model.index: 0})
        assert snapshot(model.graph) == before
    train.run({model.x: [1.0], model.index: 0})
    assert all(value != before[name] for name, value in snapshot(model.graph).items())


def test_a_wrong_feed_changes_nothing() -> None:
    model = Failing()
    train = executor(model.risky, model.updates)
    before = snapshot(model.graph)
    wrong: list[Any] = [{}, [1], {"x": [1.0]}, {"x": [], "index": 0}, {"x": [1.0] * 9, "index": 0}]
    for feed in wrong:
        with pytest.raises(FeedError):
            train.run(feed)
    assert snapshot(model.graph) == before
