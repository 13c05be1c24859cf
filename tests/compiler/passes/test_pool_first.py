"""Pool first: elementwise work moves below max-pools, where it gives the same numbers, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from compiler_checks import labels
from graphnn import ops
from graphnn.compiler.gradients import gradients
from graphnn.compiler.passes.merge_equal import merge_equal
from graphnn.compiler.passes.pool_first import pool_first
from graphnn.compiler.passes.simplify import simplify
from graphnn.compiler.reference import evaluate
from graphnn.compiler.subgraph import Subgraph, verify_subgraph
from graphnn.ops import Graph, Node, constant, placeholder
from graphnn.ops.elementwise import Relu
from graphnn.ops.max_pool import MaxPool2d, MaxPool2dGradient, MaxPool2dIndices

Rule = Callable[[Node], Node]

BIAS = np.array([0.5, -0.25, 3.0], np.float32).reshape(3, 1, 1)
WINDOWS: dict[str, Rule] = {
    "tiles": lambda x: ops.max_pool2d(x, 2),
    "overlapping": lambda x: ops.max_pool2d(x, 3, 2, padding=1),
    "dilated": lambda x: ops.max_pool2d(x, 2, 1, dilation=2),
    "with a part of a window at the end": lambda x: ops.max_pool2d(x, 4, ceil_mode=True),
}
RISES: dict[str, Rule] = {
    "relu": ops.relu,
    "sigmoid": ops.sigmoid,
    "tanh": ops.tanh,
    "exp": ops.exp,
    "bias": lambda x: x + BIAS,
    "bias on the left": lambda x: constant(BIAS) + x,
    "minus a bias": lambda x: x - BIAS,
    "a positive factor": lambda x: x * 3.0,
    "a positive divisor": lambda x: x / 255.0,
    "bias and relu": lambda x: ops.relu(x + BIAS),
    "all together": lambda x: ops.tanh(ops.relu(x * 0.5 + BIAS) - 0.1),
}
MAY_FALL: dict[str, Rule] = {
    "a negative factor": lambda x: x * -3.0,
    "a factor of 0": lambda x: x * 0.0,
    "an infinite factor": lambda x: x * np.inf,
    "an unknown factor": lambda x: x * placeholder("factor", ()),
    "a factor for each channel": lambda x: x * np.abs(BIAS),
    "minus": lambda x: 1.0 - x,
    "a number for each place": lambda x: x + np.ones((8, 8), np.float32),
    "a number for each column": lambda x: x + np.ones(8, np.float32),
    "abs": ops.abs,
    "two images": lambda x: x + ops.tanh(x),
    "whole numbers, which wrap": lambda x: x.astype("int32") + 2**30,
}


def passed(*fetches: Node) -> Subgraph:
    before = Subgraph(fetches)
    after = pool_first(before)
    verify_subgraph(after, "pool_first", before)
    return after


def images(seed: int = 0, size: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((2, 3, size, size)).astype(np.float32)


@pytest.mark.parametrize("windows", WINDOWS)
@pytest.mark.parametrize("name", RISES)
def test_a_rising_op_comes_after_the_pool(name: str, windows: str) -> None:
    with Graph():
        x = placeholder("x", (None, 3, 8, 8))
        y = WINDOWS[windows](RISES[name](x))
    after = passed(y)
    (pool,) = after.of_op(MaxPool2d)
    assert pool.inputs == (x,)
    expected, actual = evaluate([y, *after.fetches], {x: images()})
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("name", MAY_FALL)
def test_other_ops_stay_where_they_are(name: str) -> None:
    with Graph():
        x = placeholder("x", (None, 3, 8, 8))
        y = ops.max_pool2d(MAY_FALL[name](x), 2)
    assert passed(y).fetches == (y,)


def test_what_others_read_is_pooled_as_it_is() -> None:
    with Graph():
        x = placeholder("x", (None, 3, 8, 8))
        seen = ops.relu(x + BIAS)
        pooled = ops.max_pool2d(seen, 2)
    for others in ((seen,), (seen.sum(),)):
        assert passed(pooled, *others).fetches == (pooled, *others)
    with seen.graph:
        inner = ops.max_pool2d(ops.tanh(seen), 2)
    after = passed(inner, seen)
    (pool,) = after.of_op(MaxPool2d)
    assert pool.inputs == (seen,)  # tanh comes after, relu can't


def test_special_numbers_stay_what_they_are() -> None:
    special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.5, -2.5, 3e38, 1e-45, -1e-40, 1.0, -1.0], np.float32)
    values = np.random.default_rng(3).choice(special, (2, 3, 8, 8))
    for name, rule in RISES.items():
        with Graph():
            x = placeholder("x", (None, 3, 8, 8))
            y = ops.max_pool2d(rule(x), 2)
        expected, actual = evaluate([y, *passed(y).fetches], {x: values})
        np.testing.assert_array_equal(actual, expected, err_msg=name)


@pytest.mark.parametrize("windows", WINDOWS)
@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
def test_gradients_are_spread_last(activation: str, windows: str) -> None:
    with Graph():
        x = placeholder("x", (None, 3, 8, 8))
        bias = placeholder("bias", (3,))
        y = WINDOWS[windows](RISES[activation](x + bias.reshape((3, 1, 1))))
        dy = constant(np.random.default_rng(1).standard_normal(y.spec.bind(1).static_shape[1:]).astype(np.float32))
        found = gradients((y * dy).sum(), [x, bias])
    before = simplify(Subgraph((y, *found)))
    after = merge_equal(pool_first(before))
    verify_subgraph(after, "pool_first", before)
    assert labels(after)["max_pool2d"] == labels(after)["max_pool2d_indices"] == 1
    assert all(node.inputs == (x,) for node in after.of_op(MaxPool2d, MaxPool2dIndices))
    (spread,) = after.of_op(MaxPool2dGradient)
    assert after.fetches[1] is spread  # nothing is left to do on the whole image
    feeds = {x: images(2), bias: np.array([0.5, -0.25, 0.1], np.float32)}
    for old, new in zip(*(evaluate(graph.fetches, feeds) for graph in (before, after)), strict=True):
        np.testing.assert_allclose(new, old, rtol=2e-6, atol=1e-6)


def test_masks_of_other_images_stay() -> None:
    with Graph():
        x, other = placeholder("x", (None, 3, 8, 8)), placeholder("other", (None, 3, 8, 8))
        (spread,) = gradients(ops.max_pool2d(x, 2).sum(), [x])
        for y in (
            ops.where(other > 0, spread, 0.0),
            ops.where(x > 0, spread, 1.0),
            ops.where(x > 0, 0.0, spread + 1.0),
            spread * x,  # x may be infinite where it is not the largest
            spread + x,
            spread.sum(2),
            spread.sum(0),
            spread.max((2, 3)),
        ):
            assert passed(y).fetches == (y,)


def test_a_sum_over_the_image_is_that_of_what_was_spread() -> None:
    with Graph():
        x = placeholder("x", (None, 3, 8, 8))
        (spread,) = gradients((ops.max_pool2d(x, 2) ** 2).sum(), [x])
        sums = [spread.sum((0, 2, 3)), spread.sum((2, 3), keepdims=True), spread.sum()]
    after = passed(*sums)
    assert not list(after.of_op(MaxPool2dGradient))
    for old, new in zip(evaluate(sums, {x: images()}), evaluate(after.fetches, {x: images()}), strict=True):
        np.testing.assert_allclose(new, old, rtol=1e-5)


def test_new_nodes_stand_for_the_users_own() -> None:
    with Graph():
        x = placeholder("x", (None, 3, 8, 8))
        y = ops.max_pool2d(ops.relu(x), 2)
    after = passed(y)
    assert isinstance(after.fetches[0].op, Relu)
    users = {node for node in after.nodes for node in node.users_nodes}
    assert users <= set(Subgraph((y,)).nodes)
