"""Index checks: which indices come straight from feeds, which are known to be in range, and which only a run shows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphnn as gn
from graphnn import ops
from graphnn.compiler.gradients import gradients
from graphnn.compiler.index_checks import index_checks
from graphnn.ops import Dim, Graph, Node, constant, placeholder, variable
from graphnn.ops.spec import Extent


def found(*roots: Node, training: bool = False) -> tuple[list[tuple[str, Extent, Extent, str]], bool]:
    checks, open_ends = index_checks(roots, training)
    return [(check.placeholder.name, check.low, check.high, check.reader.op.label) for check in checks], open_ends


def test_fed_index_of_take() -> None:
    with Graph():
        table, index = variable("table", np.zeros((5, 2), np.float32)), placeholder("index", (None,), "int32")
        assert found(ops.take(table, index)) == ([("index", -5, 5, "take")], False)
        assert found(ops.take(table, index, axis=1)) == ([("index", -2, 2, "take")], False)


def test_fed_labels_of_cross_entropy() -> None:
    with Graph():
        logits, labels = placeholder("logits", (None, 7)), placeholder("labels", (None,), "uint8")
        assert found(ops.cross_entropy(logits, labels)) == ([("labels", 0, 7, "cross_entropy")], False)


def test_index_along_the_batch() -> None:
    with Graph():
        x, index = placeholder("x", (None, 2)), placeholder("index", (3,), "int64")
        y = ops.take(x, index)
    assert found(y) == ([("index", Dim(-1), Dim(1), "take")], False)
    executor = gn.Executor(y, device="numpy", max_batch=5)
    rows = np.arange(8, dtype=np.float32).reshape(4, 2)
    np.testing.assert_array_equal(executor.run({x: rows, index: [3, -4, 0]}), rows[[3, 0, 0]])
    for wrong in (4, -5):
        with pytest.raises(gn.FeedError, match="index out of range for take 'take'") as caught:
            executor.run({x: rows, index: [0, wrong, 0]})
        assert caught.value.expected == "integers from -4 to 3"
        assert caught.value.actual == str(wrong)


def test_gradients_hold_the_index_to_the_same_range() -> None:
    with Graph():
        table, index = variable("table", np.zeros((5, 2), np.float32)), placeholder("index", (None,), "int32")
        (slope,) = gradients(ops.take(table, index), [table])
    checks, open_ends = found(slope)
    assert set(checks) == {("index", -5, 5, "take_gradient")}
    assert not open_ends


REARRANGED: list[Callable[[Node], Node]] = [
    lambda index: index.reshape((-1, 2)),
    lambda index: index.reshape((2, -1)).T,
    lambda index: index.astype("int64"),
    lambda index: index.astype("int64").reshape((-1, 2)).T.astype("int64"),
]


@pytest.mark.parametrize("rearrange", REARRANGED)
def test_rearranged_and_widened_indices_are_checked_at_the_feed(rearrange: Callable[[Node], Node]) -> None:
    with Graph():
        table, index = variable("table", np.zeros(5, np.float32)), placeholder("index", (4,), "int32")
        assert found(ops.take(table, rearrange(index))) == ([("index", -5, 5, "take")], False)


COMPUTED: list[Callable[[Node], Node]] = [
    lambda index: index + 1,
    lambda index: ops.clip(index, 0, 4),
    lambda index: index.astype("uint8"),
    lambda index: index.astype("float32").astype("int32"),
    lambda index: (index > 0).astype("int32"),
    lambda index: ops.where(index > 0, index, 0),
    lambda index: ops.concat([index, index]),
]


@pytest.mark.parametrize("compute", COMPUTED)
def test_computed_indices_are_left_to_the_run(compute: Callable[[Node], Node]) -> None:
    with Graph():
        table, index = variable("table", np.zeros(5, np.float32)), placeholder("index", (4,), "int32")
        assert found(ops.take(table, compute(index))) == ([], True)


REPLACED: list[Callable[[Node], Node]] = [
    lambda index: ops.where(ops.not_equal(index, -100), index, 0),
    lambda index: ops.where(ops.equal(index, -100), 4, index),
]


@pytest.mark.parametrize("replace", REPLACED)
def test_a_number_may_be_replaced_before_it_is_an_index(replace: Callable[[Node], Node]) -> None:
    with Graph():
        table, index = variable("table", np.arange(5.0)), placeholder("index", (4,), "int32")
        y = ops.take(table, replace(index))
    (check,), open_ends = index_checks([y], training=False)
    assert (check.placeholder, check.replaced, open_ends) == (index, frozenset({-100}), False)
    executor = gn.Executor(y, device="numpy")
    other = 0 if replace is REPLACED[0] else 4
    assert executor.run({index: [1, -100, 4, -100]}).tolist() == [1, other, 4, other]
    for wrong in (-99, 5):
        with pytest.raises(gn.FeedError, match="index out of range") as caught:
            executor.run({index: [-100, 0, wrong, 1]})
        assert caught.value.actual == str(wrong)


@pytest.mark.parametrize(
    "build",
    [
        lambda index, other: ops.where(ops.equal(index, -100), 5, index),  # no better than what it replaces
        lambda index, other: ops.where(ops.not_equal(index, -100), 0, index),  # the wrong way round
        lambda index, other: ops.where(ops.equal(other, -100), 0, index),  # of something else
        lambda index, other: ops.where(ops.equal(index, other), 0, index),  # by a number not known yet
        lambda index, other: ops.where(ops.equal(index, [-100, -1, 0, 1]), 0, index),  # by several
    ],
)
def test_what_is_replaced_otherwise_is_left_to_the_run(build: Callable[[Node, Node], Node]) -> None:
    with Graph():
        table = variable("table", np.zeros(5, np.float32))
        index, other = placeholder("index", (4,), "int32"), placeholder("other", (4,), "int32")
        assert found(ops.take(table, build(index, other))) == ([], True)


def test_replaced_numbers_of_constants_are_known() -> None:
    with Graph():
        table, index = variable("table", np.zeros(5, np.float32)), constant([3, -100, 4])
        for number, known in ((-100, True), (-101, False)):
            legal = ops.where(ops.equal(index, number), 0, index)
            assert found(ops.take(table, legal)) == ([], not known)


def test_variables_are_left_to_the_run() -> None:
    with Graph():
        table, index = variable("table", np.zeros(5, np.float32)), variable("index", [1, 2])
        assert found(ops.take(table, index)) == ([], True)


def test_constants_are_known() -> None:
    with Graph():
        table, x = variable("table", np.zeros(5, np.float32)), placeholder("x", (None, 2))
        assert found(ops.take(table, [0, 4, -5])) == ([], False)
        assert found(ops.take(table, constant(np.zeros((0,), np.int64)))) == ([], False)
        assert found(ops.take(x, [0, 1])) == ([], True)  # the batch may be smaller
        assert found(ops.take(x, [0, 1], axis=1)) == ([], False)


def test_argmax_is_within_the_axis_that_it_searched() -> None:
    with Graph():
        x, table = placeholder("x", (None, 5)), variable("table", np.zeros((5, 2), np.float32))
        small = variable("small", np.zeros((4, 2), np.float32))
        best = x.argmax(1)
        assert found(ops.take(table, best), ops.cross_entropy(x, best)) == ([], False)
        assert found(ops.take(small, best)) == ([], True)


def test_order_is_within_the_axis_that_it_is_of() -> None:
    with Graph():
        x, small = placeholder("x", (None, 5)), variable("small", np.zeros((4, 2), np.float32))
        best = ops.topk(x, 4)[1]
        values = ops.sort(x, 1) + ops.gather(x, 1, ops.argsort(x, 1)) + ops.sort(x, 0, descending=True)
        (slope,) = gradients([values, ops.topk(x, 2)[0]], [x])
        assert found(values, slope, ops.gather(x, 1, best)) == ([], False)
        assert found(ops.take(small, best)) == ([], True)  # it may be 4
        assert found(ops.take(small, ops.argsort(x, 0))) == ([], True)


def test_fed_indices_of_single_elements() -> None:
    with Graph():
        x, index = placeholder("x", (None, 5)), placeholder("index", (None, 2), "int32")
        picked = ops.gather(x, 1, index)
        added = ops.scatter_add(x, 1, index, picked)
    assert found(picked) == ([("index", -5, 5, "gather")], False)
    assert set(found(added)[0]) == {("index", -5, 5, "gather"), ("index", -5, 5, "scatter_add")}
    executor = gn.Executor(added, device="numpy", max_batch=2)
    rows = np.arange(5, dtype=np.float32).reshape(1, 5)
    np.testing.assert_array_equal(executor.run({x: rows, index: [[1, -1]]}), [[0, 2, 2, 3, 8]])
    with pytest.raises(gn.FeedError, match="index out of range for gather 'gather'"):
        executor.run({x: rows, index: [[1, 5]]})


def test_gradient_of_max_pooling_trusts_its_own_indices() -> None:
    with Graph():
        x = placeholder("x", (None, 1, 4, 4))
        (slope,) = gradients(ops.max_pool2d(x, 2), [x])
        (second,) = gradients((slope * slope).sum() + (slope * x).sum(), [x])
    assert found(slope, second) == ([], False)


def test_one_hot_takes_any_index() -> None:
    with Graph():
        index = placeholder("index", (None,), "int32")
        assert found(ops.one_hot(index, 3)) == ([], False)


def test_each_reader_has_its_own_range() -> None:
    with Graph():
        index = placeholder("index", (None,), "int32")
        small, large = variable("small", np.zeros(2, np.float32)), variable("large", np.zeros(9, np.float32))
        checks, _ = found(ops.take(small, index) + ops.take(large, index))
    assert sorted(check[1:3] for check in checks) == [(-9, 9), (-2, 2)]


def test_only_the_branch_of_the_mode_counts() -> None:
    with Graph():
        index = placeholder("index", (None,), "int32")
        small, large = variable("small", np.zeros(2, np.float32)), variable("large", np.zeros(9, np.float32))
        y = ops.when_training(ops.take(small, index), ops.take(large, index + 1))
    assert found(y, training=True) == ([("index", -2, 2, "take")], False)
    assert found(y, training=False) == ([], True)


def test_computed_index_out_of_range_changes_no_variable() -> None:
    with Graph() as graph:
        index = placeholder("index", (2,), "int32")
        table, count = variable("table", np.arange(5.0)), variable("count", 0)
        y = ops.take(table, index * 2)
        updates = [ops.assign(count, count + 1), ops.assign(table, table * 2)]
    executor = gn.Executor(y, updates=updates, device="numpy")
    with pytest.raises(gn.GraphError, match="take 'take' got an index out of range") as caught:
        executor.run({index: [0, 3]})
    assert "test_index_checks.py" in caught.value.where
    assert graph.get_value(count) == 0
    assert graph.get_value(table).tolist() == [0, 1, 2, 3, 4]
    assert executor.run({index: [0, 2]}).tolist() == [0, 4]
    assert graph.get_value(count) == 1


def test_fed_index_out_of_range_changes_no_variable() -> None:
    with Graph() as graph:
        labels = placeholder("labels", (None,), "int32")
        w = variable("w", np.zeros((1, 3), np.float32))
        loss = ops.cross_entropy(w.broadcast_to((None, 3)), labels)
        (slope,) = gradients(loss, [w])
    executor = gn.Executor(loss, updates=[ops.assign(w, w - slope)], device="numpy", max_batch=4)
    with pytest.raises(gn.FeedError, match="'labels' is fed an index out of range for cross_entropy"):
        executor.run({labels: np.array([0, 3], np.int32)})
    assert not graph.get_value(w).any()
    executor.run({labels: np.array([0, 2], np.int32)})
    assert graph.get_value(w).any()
