"""Compile time: the work for a graph grows in proportion to its nodes, counted in calls of Python functions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

import numpy as np
import pytest

from compiler_checks import NUMPY
from graphnn import ops
from graphnn.compiler.gradients import gradients
from graphnn.compiler.pipeline import Options, compile_graph
from graphnn.ops import Graph, Node, placeholder, variable

Roots = tuple[list[Node], list[Node]]


def chain(nodes: int) -> Roots:
    """Return one long chain of elementwise ops."""
    with Graph():
        y = placeholder("x", (4,))
        for number in range(nodes):
            y = ops.tanh(y) if number % 2 else y * 1.5
    return [y], []


def deep_training(nodes: int) -> Roots:
    """Return the training step, with momentum, of a network of many layers."""
    with Graph():
        x = placeholder("x", (None, 4))
        weights = []
        y = x
        for number in range(max(1, nodes // 25)):
            weights.append(variable(f"w{number}", np.eye(4, dtype=np.float32)))
            y = ops.relu(y @ weights[-1]) + y
        loss = y.mean()
        updates = []
        for weight, slope in zip(weights, gradients(loss, weights), strict=True):
            velocity = variable(f"{weight.name}.velocity", np.zeros((4, 4), np.float32), trainable=False)
            moved = velocity * 0.9 + slope
            updates += [ops.assign(velocity, moved), ops.assign(weight, weight - moved * 0.1)]
    return [loss], updates


def wide(nodes: int) -> Roots:
    """Return many branches of one input that are joined and added up."""
    with Graph():
        x = placeholder("x", (None, 4))
        branches = [ops.softmax(x * float(number)) for number in range(nodes // 3)]
        return [ops.concat(branches, 1).sum(1)], []


def views(nodes: int) -> Roots:
    """Return a long chain of views, each of which is also read."""
    with Graph():
        x = y = placeholder("x", (2, 4))
        total = ops.exp(x)
        for _ in range(nodes // 3):
            y = y[:, ::-1]
            total = ops.tanh(total + y)
    return [total], []


def variables(nodes: int) -> Roots:
    """Return many variables that are swapped and fetched."""
    with Graph():
        count = nodes // 3
        found = [variable(f"v{number}", float(number)) for number in range(count)]
        updates = [ops.assign(each, found[(number + 1) % count]) for number, each in enumerate(found)]
    return list(found), updates


SHAPES: dict[str, Callable[[int], Roots]] = {
    each.__name__: each for each in (chain, deep_training, wide, views, variables)
}


def calls_of(work: Callable[[], object]) -> int:
    """Return how many functions, of Python and of C, some work calls."""
    count = 0

    def notice(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(notice)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def calls_per_node(shape: str, nodes: int, verify: bool) -> float:
    """Return the calls of building, compiling and reporting on a graph, for each of its nodes."""
    compiled: list[object] = []
    size = 0

    def work() -> None:
        nonlocal size
        fetches, updates = SHAPES[shape](nodes)
        size = len((*fetches, *updates)[0].graph.nodes)
        options = Options(NUMPY, max_batch=4, training=bool(updates), verify=verify)
        compiled.append(compile_graph(fetches, updates, options).plan)

    calls = calls_of(work)
    calls += calls_of(lambda: str(compiled[0]))
    return calls / size


@pytest.mark.parametrize("shape", SHAPES)
def test_work_grows_with_the_nodes(shape: str) -> None:
    small, large = (calls_per_node(shape, nodes, verify=False) for nodes in (100, 1000))
    assert large < 1.3 * small, (small, large)
    assert large < 2500, large


@pytest.mark.full
@pytest.mark.parametrize("shape", SHAPES)
def test_work_grows_with_many_nodes(shape: str) -> None:
    small, large = (calls_per_node(shape, nodes, verify=False) for nodes in (1000, 10_000))
    assert large < 1.3 * small, (small, large)


def test_verified_forms_take_a_few_times_the_work() -> None:
    plain, verified = (calls_per_node("deep_training", 600, verify) for verify in (False, True))
    assert verified < 4 * plain, (plain, verified)


def test_same_graph_takes_the_same_work() -> None:
    first, second = (calls_per_node("deep_training", 200, verify=False) for _ in range(2))
    assert abs(first - second) < 0.01 * first, (first, second)
