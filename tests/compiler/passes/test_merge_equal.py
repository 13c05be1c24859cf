"""Merge equal: equal computations become one, and only those."""

from __future__ import annotations

import numpy as np

import graphnn as gn
from compiler_checks import assert_same_values, labels, structure
from graphnn import ops
from graphnn.compiler.gradients import gradients
from graphnn.compiler.passes.merge_equal import merge_equal
from graphnn.compiler.subgraph import Subgraph, verify_subgraph
from graphnn.ops import Graph, Node, constant, placeholder, variable


def merged(*roots: Node, updates: tuple[Node, ...] = ()) -> Subgraph:
    before = Subgraph(roots, updates)
    after = merge_equal(before)
    verify_subgraph(after, "merge_equal", before)
    return after


def test_equal_expressions_become_the_first() -> None:
    with Graph():
        x = placeholder("x", (2,))
        first, second = ops.exp(x * 2) + 1, ops.exp(x * 2) + 1
        y = first * second
        expected = first * first
    after = merged(first, second, y)
    assert after.fetches[0] is after.fetches[1] is first
    assert structure(after.fetches[2:]) == structure([expected])


def test_order_of_inputs_counts() -> None:
    with Graph():
        x, y = placeholder("x", (2,)), placeholder("y", (2,))
        assert merged(x - y, y - x).fetches[0] is not merged(x - y, y - x).fetches[1]
        assert labels(merged(x - y, y - x))["subtract"] == 2


def test_attributes_count() -> None:
    with Graph():
        x = placeholder("x", (2, 2))
        roots = (x.sum(0), x.sum(1), x.sum(0, keepdims=True), ops.clip(x, 0.0, 1.0), ops.clip(x, 0.0, 2.0))
        same = (x.sum(0), ops.clip(x, 0.0, 1.0))
    after = merged(*roots, *same)
    assert len(set(after.fetches)) == 5


def test_classes_with_equal_attributes_stay_apart() -> None:
    with Graph():
        x = placeholder("x", (2, 2))
        after = merged(x.sum(0), x.max(0), x.min(0), ops.softmax(x, 0), ops.log_softmax(x, 0))
    assert len(set(after.fetches)) == 5


def test_constants_are_merged_by_their_bits() -> None:
    with Graph():
        x = placeholder("x", (2,))
        pairs = [
            (constant(1.0), constant(1.0), True),
            (constant(0.0), constant(-0.0), False),
            (constant(np.nan), constant(np.nan), True),
            (constant(1), constant(1.0), False),
            (constant([1.0]), constant(1.0), False),
            (constant(np.zeros((0, 2), np.float32)), constant(np.zeros((2, 0), np.float32)), False),
        ]
        after = merged(
            *(x.astype("float64").sum() * part.sum() for first, second, _ in pairs for part in (first, second))
        )
    for number, (_, _, equal) in enumerate(pairs):
        one, other = after.fetches[2 * number : 2 * number + 2]
        assert (one is other) is equal, pairs[number]


def test_placeholders_and_variables_of_equal_specs_stay_apart() -> None:
    with Graph():
        x, y = placeholder("x", (2,)), placeholder("y", (2,))
        v, w = variable("v", [1.0, 2.0]), variable("w", [1.0, 2.0])
        roots = (ops.exp(x), ops.exp(y), ops.exp(v), ops.exp(w))
    assert merged(*roots).fetches == roots


def test_streams_of_random_numbers_are_never_joined() -> None:
    with Graph():
        roots = (ops.uniform((2,)), ops.uniform((2,)), ops.normal((2,)), ops.normal((2,)))
    assert merged(*roots).fetches == roots
    a, b, *_ = gn.Executor(list(roots), device="numpy").run()
    assert not np.array_equal(a, b)


def test_dropouts_of_one_input_stay_apart() -> None:
    with Graph():
        x = placeholder("x", (None, 32))
        first, second = ops.dropout(x), ops.dropout(x)
    executor = gn.Executor([first, second], device="numpy", max_batch=4, training=True, verify=True)
    a, b = executor.run({x: np.ones((4, 32), np.float32)})
    assert not np.array_equal(a, b)


def test_assigns_of_one_value_stay_apart() -> None:
    with Graph():
        v, w = variable("v", [1.0]), variable("w", [2.0])
        updates = (ops.assign(v, w * 2), ops.assign(w, w * 2))
    after = merged(updates=updates)
    assert [update.inputs[0] for update in after.updates] == [v, w]
    assert after.updates[0].inputs[1] is after.updates[1].inputs[1]


def test_forward_values_that_gradients_compute_again_are_shared() -> None:
    with Graph():
        x = placeholder("x", (2, 3), "float64")
        y = ops.softmax(x)
        again = ops.softmax(x)
        (slope,) = gradients((y * again).sum(), [x])
    after = merged(slope)
    assert labels(after)["softmax"] == 1
    feeds = {x: np.random.default_rng(0).standard_normal((2, 3))}
    assert_same_values(slope, after.fetches[0], feeds)


def test_a_second_time_changes_nothing() -> None:
    with Graph():
        x = placeholder("x", (2,))
        after = merged(ops.exp(x) + ops.exp(x))
    assert merge_equal(after) == after
