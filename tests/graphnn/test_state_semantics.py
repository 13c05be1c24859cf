"""Variables: what a run reads and writes, what plans share, and what a failed run leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from error_form import refused
from graphnn import DTypeError, FeedError, GraphError, ShapeError, ops
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


# Mistakes with values.


@pytest.mark.parametrize(
    ("dtype", "value", "kind", "message"),
    [
        ("int64", [1.5, 2.5], DTypeError, "the values are of another kind"),
        ("int64", np.array([1.0, 2.0]), DTypeError, "the values are of another kind"),
        ("int64", [float("nan")] * 2, DTypeError, "the values are of another kind"),
        ("uint8", [300, -1], DTypeError, "a value does not fit uint8"),
        ("int32", np.array([2**40, 0]), DTypeError, "a value does not fit int32"),
        ("bool", [2, 0], DTypeError, "the values are of another kind"),
        ("float32", [1e300, 0.0], DTypeError, "a value does not fit float32"),
        ("float16", np.array([1e5, 0.0]), DTypeError, "a value does not fit float16"),
        ("float32", ["1", "2"], DTypeError, "the values are no numbers"),
        ("float32", [None, None], DTypeError, "the values are no numbers"),
        ("float32", [1j, 2], DTypeError, "the values are no numbers"),
        ("float32", [[1], [2, 3]], GraphError, "the values make no array"),
        ("float32", 0.0, ShapeError, "the value does not have the variable's shape"),
        ("float32", [1.0], ShapeError, "the value does not have the variable's shape"),
        ("float32", [[1.0, 2.0]], ShapeError, "the value does not have the variable's shape"),
    ],
)  # fmt: skip
def test_set_value_never_changes_a_number_silently(
    dtype: str, value: Any, kind: type[GraphError], message: str
) -> None:
    with gn.Graph() as graph:
        w = gn.variable("w", np.zeros(2), dtype=dtype)
    with refused(kind, f"variable 'w' can't take this value: {message}", at="graph.set_value(w, value)"):
        graph.set_value(w, value)
    np.testing.assert_array_equal(graph.get_value(w), [0, 0])
    assert graph.store.version("w") == 0


def test_set_value_takes_numbers_that_fit() -> None:
    with gn.Graph() as graph:
        small = gn.variable("small", [0, 0], dtype="uint8")
        real = gn.variable("real", [0.0, 0.0])
        half = gn.variable("half", [0.0, 0.0], dtype="bfloat16")
    graph.set_value(small, np.array([255, 0], np.int64))
    np.testing.assert_array_equal(graph.get_value(small), [255, 0])
    graph.set_value(real, np.array([1, 2], np.int32))
    graph.set_value("real", [np.nan, np.inf])
    np.testing.assert_array_equal(graph.get_value(real), [np.nan, np.inf])
    graph.set_value(half, np.array([1.0, 1.0 + 2**-9]))
    np.testing.assert_array_equal(graph.get_value(half), [1, 1])


@pytest.mark.parametrize("name", ["value", "weight"])
def test_unknown_variables(name: str) -> None:
    with gn.Graph() as graph, graph.scope("conv1"):
        gn.variable("weight", 1.0)
    with refused(GraphError, f"no node named {name!r}", at="graph.get_value(name)", hint="lists all names"):
        graph.get_value(name)


@pytest.mark.parametrize("thing", [5, None, np.zeros(2), ["w"]], ids=repr)
def test_what_is_no_variable(thing: Any) -> None:
    with gn.Graph() as graph:
        w = gn.variable("w", 1.0)
        doubled = w * 2
    for wrong in (thing, doubled):
        with refused(GraphError, "is no variable of this graph", at="graph.set_value(wrong", hint="graph.variables"):
            graph.set_value(wrong, 1.0)
        with refused(GraphError, "is no variable of this graph", at="graph.get_value(wrong"):
            graph.get_value(wrong)


@pytest.mark.parametrize("thing", [5, None, "assign"], ids=repr)
def test_what_is_no_assign(thing: Any) -> None:
    with gn.Graph():
        foreign = ops.assign(gn.variable("w", 1.0), 2.0)
    with gn.Graph() as graph:
        for wrong in (thing, foreign):
            with refused(GraphError, "is no assign of this graph", at="graph.add_update(wrong)"):
                graph.add_update(wrong)
    assert graph.updates == ()


def test_assign_takes_a_variable_and_a_value_that_fits() -> None:
    with gn.Graph() as graph:
        count, x = gn.variable("count", 0), gn.placeholder("x", ())
        wrong: list[Any] = ["count", x, 5, None]
        for target in wrong:
            with refused(GraphError, "assign needs a variable", at="ops.assign(target", hint="gn.variable"):
                ops.assign(target, 1)
        with refused(DTypeError, "a value does not fit int64", at="ops.assign(count, 0.5)", actual="0.5"):
            ops.assign(count, 0.5)
        with refused(DTypeError, "element type", at="ops.assign(count, x)", hint="astype('int64')"):
            ops.assign(count, x)
        with refused(ShapeError, "does not have the variable's shape", at="ops.assign(count, [1, 2])"):
            ops.assign(count, [1, 2])
    assert graph.get_value(count) == 0


def test_variables_of_two_graphs_do_not_mix() -> None:
    with gn.Graph():
        a = gn.variable("a", 1.0)
    with gn.Graph() as graph:
        b = gn.variable("b", 1.0)
        with refused(GraphError, "mixes nodes of two graphs", at="ops.assign(b, a)"):
            ops.assign(b, a)
    with refused(GraphError, "is no variable of this graph", at="graph.get_value(a)"):
        graph.get_value(a)


@pytest.mark.parametrize(
    ("initial", "options", "message"),
    [
        ("text", {}, "there is no element type"),
        (None, {}, "there is no element type"),
        ([[1], [1, 2]], {}, "the values make no array"),
        (1e300, {}, "a value does not fit float32"),
        (1.5, {"dtype": "int64"}, "a value does not fit int64"),
        (float("nan"), {"dtype": "int32"}, "a value does not fit int32"),
        (float("inf"), {"dtype": "int32"}, "a value does not fit int32"),
        (2.0**63, {"dtype": "int64"}, "a value does not fit int64"),
        ([1.0], {"dtype": "float33"}, "there is no element type 'float33'"),
        ([1.0], {"trainable": "float64"}, "trainable is 'float64'"),
    ],
)  # fmt: skip
def test_initial_values_that_can_not_be(initial: Any, options: dict[str, Any], message: str) -> None:
    with gn.Graph() as graph:
        with refused(type_of(message), f"variable 'w': {message}", at='gn.variable("w", initial'):
            gn.variable("w", initial, **options)
        assert not graph.nodes
        gn.variable("w", 1.0)  # the name is free


def type_of(message: str) -> type[GraphError]:
    return GraphError if "no array" in message or "trainable" in message else DTypeError


@pytest.mark.parametrize(
    ("initial", "dtype"),
    [
        (1, "int64"), (1.0, "float32"), ([1, 2.5], "float32"), (True, "bool"), ([], "float32"),
        (np.zeros(3), "float64"), (np.float16(1), "float16"), (float("nan"), "float32"), (np.ones((2, 0)), "float64"),
    ],
    ids=repr,
)  # fmt: skip
def test_initial_values_choose_the_type(initial: Any, dtype: str) -> None:
    with gn.Graph() as graph:
        w = gn.variable("w", initial)
    assert (w.dtype.name, w.shape) == (dtype, np.shape(initial))
    np.testing.assert_array_equal(graph.get_value(w), initial)


@pytest.mark.parametrize("name", [None, 5, "", ("w",)])
def test_names_are_texts(name: Any) -> None:
    with gn.Graph() as graph:
        if name is not None:  # the first argument of ops that name themselves
            with refused(GraphError, "a name is", at="gn.variable(name", expected="a text"):
                gn.variable(name, 1.0)
        with refused(GraphError, "a name is", at="graph.scope(name)", expected="a text"):
            graph.scope(name)


@pytest.mark.parametrize("seed", ["0", None, 0.5, True, -1, 2**32])
def test_seeds_are_words(seed: Any) -> None:
    with refused(GraphError, f"the seed is {seed!r}", at="gn.Graph(seed", expected="an integer from 0"):
        gn.Graph(seed)


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


# Training and evaluation.


def test_training_means_that_there_are_updates() -> None:
    with gn.Graph():
        w = gn.variable("w", 1.0)
        step = ops.assign(w, w)
        mode = ops.when_training(gn.constant(1), gn.constant(0))
    cases: list[tuple[Any, Any, bool | None, int]] = [
        (mode, [], None, 0),
        (mode, [step], None, 1),
        (mode, [], True, 1),
        (mode, [step], False, 0),
    ]
    for fetches, updates, training, expected in cases:
        assert executor(fetches, updates, training=training).run() == expected
    assert executor([mode, step]).run()[0] == 0  # a fetched assign is no update


def test_the_other_branch_is_not_computed() -> None:
    with gn.Graph() as graph:
        count = gn.variable("count", 0)
        counted = ops.assign(count, count + 1)
        y = ops.when_training(counted, count * 10)
        train, evaluate = executor(y, training=True), executor(y, training=False)
    assert (train.run(), evaluate.run(), evaluate.run()) == (1, 10, 10)
    assert graph.get_value(count) == 1


def test_updates_may_depend_on_the_mode() -> None:
    with gn.Graph() as graph:
        mean = gn.variable("mean", 1.0, trainable=False)
        x = gn.placeholder("x", ())
        step = ops.assign(mean, ops.when_training(mean * 0.5 + x * 0.5, mean))
        y = x - ops.when_training(x, mean)
    executor(y, [step]).run({x: 3.0})
    assert graph.get_value(mean) == 2
    executor(y, [step], training=False).run({x: 3.0})
    assert graph.get_value(mean) == 2
    assert executor(y).run({x: 3.0}) == 1


def test_when_training_and_stop_gradient_take_nodes() -> None:
    with gn.Graph():
        x: Any = gn.constant(1.0)
        wrong: list[Callable[[], object]] = [
            lambda: ops.when_training(1.0, x),  # type: ignore[arg-type]  # the mistake tested
            lambda: ops.when_training(x, 1.0),  # type: ignore[arg-type]  # the mistake tested
            lambda: ops.stop_gradient(1.0),  # type: ignore[arg-type]  # the mistake tested
        ]
        for mistake in wrong:
            with refused(GraphError, "takes nodes, not 1.0", at="lambda: ops.", hint="gn.constant"):
                mistake()
