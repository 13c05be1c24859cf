"""Random graphs as verified plans on NumPy: values and variables are those of plain evaluation, at every batch size."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

import graphnn as gn
from compiler_checks import NUMPY
from graphnn.compiler.plan.verify import verify_plan
from graphnn.compiler.reference import evaluate
from graphnn.ops import Node
from graphnn.ops.random import Random
from random_graph_steps import CLASSES
from random_graphs import TOLERANCE, RandomGraph, is_steady, random_graph

MAX_BATCH = 5
DEFAULT_SEEDS = range(1000, 1070)
FULL_SEEDS = range(1070, 2000)

Feeds = Mapping[Node, np.ndarray]


def executor_for(
    found: RandomGraph, max_batch: int = MAX_BATCH, *, verify: bool = False, check_numerics: bool = False
) -> gn.Executor:
    """Return an executor whose plan is verified and whose memory holds NaN wherever nothing was written."""
    training = bool(found.updates)
    executor = gn.Executor(
        found.fetches,
        found.updates,
        device="numpy",
        max_batch=max_batch,
        training=training,
        verify=verify,
        check_numerics=check_numerics,
    )
    verify_plan(executor.plan, NUMPY)
    executor._loaded._arena.fill(0xFF)  # type: ignore[attr-defined]  # of the NumPy target
    return executor


def assert_agree(actual: np.ndarray, expected: np.ndarray, what: str) -> None:
    assert actual.dtype == expected.dtype, what
    assert actual.shape == expected.shape, what
    if expected.dtype.kind != "f":
        np.testing.assert_array_equal(actual, expected, err_msg=what)
        return
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    np.testing.assert_allclose(actual, expected, rtol=TOLERANCE, atol=TOLERANCE * scale, err_msg=what)


def variables_of(found: RandomGraph) -> dict[str, np.ndarray]:
    return {name: found.graph.get_value(name) for name in found.graph.variables}


def restore(found: RandomGraph, values: Mapping[str, np.ndarray]) -> None:
    for name, value in values.items():
        found.graph.set_value(name, value)


def expected_run(found: RandomGraph, draws: bool) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """Return what plain evaluation gives for the fetches, and the variables with its assigns applied by hand."""
    values = evaluate([*found.fetches, *found.updates], found.feeds, training=bool(found.updates))
    variables = variables_of(found)
    if draws:
        variables["random_step"] = variables["random_step"] + 1
    for update, value in zip(found.updates, values[len(found.fetches) :], strict=True):
        variables[update.inputs[0].name] = value
    return values[: len(found.fetches)], variables


def compare_run(found: RandomGraph, executor: gn.Executor, what: str) -> None:
    draws = any(isinstance(node.op, Random) for node in executor.plan.subgraph.nodes)
    fetches, variables = expected_run(found, draws)
    fetched = executor.run(found.feeds)
    for node, actual, expected in zip(found.fetches, fetched, fetches, strict=True):
        assert_agree(actual, expected, f"{node.name}, {what}")
    for name, actual in variables_of(found).items():
        assert_agree(actual, variables[name], f"variable {name}, {what}")


def check_runs(seed: int) -> None:
    """Compare three runs, each with what plain evaluation makes of the variables before it."""
    found = random_graph(seed)
    before = variables_of(found)
    executor = executor_for(found, verify=True)
    for run in range(3):
        if run and not is_steady(found):  # from here on rounding may decide
            break
        compare_run(found, executor, f"run {run} of seed {seed}")
    if seed % 4 == 0:
        restore(found, before)
        compare_run(found, executor_for(found, check_numerics=True), f"writes last, seed {seed}")


def feeds_at(found: RandomGraph, batch: int) -> dict[Node, np.ndarray]:
    """Return other feeds, for another batch size."""
    generator = np.random.default_rng(batch)
    feeds = {}
    for node in found.feeds:
        shape = node.spec.bind(batch).static_shape
        values = generator.standard_normal(shape) if node.dtype.is_floating else generator.integers(0, CLASSES, shape)
        feeds[node] = values.astype(node.dtype.interface)
    return feeds


def check_batches(seed: int) -> int:
    """Compare one plan at all batch sizes with a plan for each; return how many plain evaluation could judge."""
    found = random_graph(seed)
    before = variables_of(found)
    shared = executor_for(found)
    judged = 0
    for batch in (2, 5, 1, 4, 3):
        here = found._replace(feeds=feeds_at(found, batch))
        restore(found, before)
        alone = executor_for(here, max_batch=batch).run(here.feeds)
        after = variables_of(found)
        restore(found, before)
        steady = is_steady(here)
        judged += steady
        if steady:
            compare_run(here, shared, f"batch {batch} of seed {seed}")
            restore(found, before)
        for node, actual, expected in zip(found.fetches, shared.run(here.feeds), alone, strict=True):
            np.testing.assert_array_equal(actual, expected, err_msg=f"{node.name}, batch {batch} of seed {seed}")
        for name, value in variables_of(found).items():
            np.testing.assert_array_equal(value, after[name], err_msg=f"variable {name}, batch {batch} of seed {seed}")
    return judged


@pytest.mark.parametrize("seed", DEFAULT_SEEDS)
def test_runs_are_those_of_plain_evaluation(seed: int) -> None:
    check_runs(seed)


@pytest.mark.parametrize("seed", DEFAULT_SEEDS[5:20])
def test_one_plan_serves_all_batch_sizes(seed: int) -> None:
    check_batches(seed)


def test_plain_evaluation_judges_most_batches() -> None:
    assert sum(check_batches(seed) for seed in DEFAULT_SEEDS[:5]) > 12


@pytest.mark.full
@pytest.mark.parametrize("seed", FULL_SEEDS)
def test_many_runs_are_those_of_plain_evaluation(seed: int) -> None:
    check_runs(seed)


@pytest.mark.full
@pytest.mark.parametrize("seed", FULL_SEEDS[::4])
def test_one_of_many_plans_serves_all_batch_sizes(seed: int) -> None:
    check_batches(seed)
