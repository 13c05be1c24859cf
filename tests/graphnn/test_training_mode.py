"""Whether a run trains or evaluates: who says so, and what it decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import graphnn as gn
from error_form import refused
from graphnn import GraphError, ops
from networks import executor


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
