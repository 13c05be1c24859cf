"""An executor's plan and program: known before the first run, equal for equal graphs, one for every batch."""

from __future__ import annotations

import numpy as np

import graphnn as gn
from graphnn import ops
from networks import executor, lenet


def product() -> tuple[gn.Node, gn.Node]:
    """Return a product with a variable, and an assign to that."""
    with gn.Graph():
        w = gn.variable("w", [1.0, 2.0, 3.0])
        return gn.placeholder("x", (None, 3)) * w, ops.assign(w, w * 10)


def test_plan_and_source_are_sensible() -> None:
    y, update = product()
    made = executor([y], [update])
    text = str(made.plan)
    for wanted in ("plan for numpy", "multiply", "arena:", "lower bound", "weights", "test_executor_plan.py:"):
        assert wanted in text
    lines = made.source.splitlines()
    assert len(lines) == len(made.plan.steps)
    for line, step in zip(lines, made.plan.steps, strict=True):
        assert f"= {step.kernel}(" in line
        assert f"# {step.node.name}, " in line
        assert "test_executor_plan.py:" in line


def test_equal_graphs_give_equal_plans_and_programs() -> None:
    def compiled() -> tuple[str, str]:
        network = lenet(size=16)
        made = executor([network.loss, network.logits], network.updates, max_batch=4)
        return str(made.plan), made.source

    assert compiled() == compiled()


def test_known_cost_before_the_first_run() -> None:
    plan = executor(product()[0], max_batch=10).plan
    assert plan.flops == 30
    assert (plan.max_batch, plan.target) == (10, "numpy")
    assert plan.arena_bytes >= plan.lower_bound_bytes > 0
    kinds = {storage.kind for storage in plan.storages}
    assert kinds == {"feed", "variable", "arena"}


# One plan for every batch.


def test_one_plan_serves_all_batches_like_plans_of_their_own() -> None:
    """Runs of 100, 1, 37 and 100 examples train one network; each is followed by a plan made for just that batch."""
    shared, own = lenet(size=16), lenet(size=16)
    one_for_all = executor([shared.loss, shared.logits], shared.updates, max_batch=100)
    for number, batch in enumerate((100, 1, 37, 100)):
        made = executor([own.loss, own.logits], own.updates, max_batch=batch)
        results = one_for_all.run(shared.feed(batch, seed=number))
        expected = made.run(own.feed(batch, seed=number))
        for result, wanted in zip(results, expected, strict=True):
            np.testing.assert_allclose(result, wanted, rtol=1e-5, atol=1e-6)
        assert results[1].shape == (batch, 10)
        theirs = own.values()
        for name, value in shared.values().items():
            np.testing.assert_allclose(value, theirs[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_what_larger_batches_left_behind_does_not_show() -> None:
    """Memory beyond a smaller batch holds the numbers of the run before, here NaN."""
    with gn.Graph():
        x = gn.placeholder("x", (None, 3))
        y = ops.concat([x * 2, ops.relu(x)], 1)
        run = executor([y, y.mean(), y.max(0), x.sum(0), ops.size(x, 0)]).run
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    first = run({x: rows})
    run({x: np.full((8, 3), np.nan, np.float32)})
    for again, before in zip(run({x: rows}), first, strict=True):
        np.testing.assert_array_equal(again, before)


def test_many_batch_sizes_in_turn() -> None:
    """More sizes than a target keeps bound."""
    with gn.Graph():
        x = gn.placeholder("x", (None,))
        run = executor([x.sum(), x * 2], max_batch=40).run
    for batch in [*range(1, 41), *range(40, 0, -1)]:
        values = np.arange(batch, dtype=np.float32)
        total, double = run({x: values})
        assert float(total) == values.sum()
        np.testing.assert_array_equal(double, 2 * values)
