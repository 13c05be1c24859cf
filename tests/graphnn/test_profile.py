"""Profiles: a row for each step, and no trace left in the variables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from error_form import refused
from graphnn import FeedError, GraphError, ops
from graphnn.compiler.plan.form import InnerStep, Plan
from graphnn.compiler.target import StepTime
from graphnn.profile import Profile
from networks import Network, lenet


@pytest.fixture
def network() -> Network:
    return lenet(size=16)


def test_rows_are_the_steps(network: Network) -> None:
    train = gn.Executor([network.loss], network.updates, device="numpy", max_batch=8)
    profile = train.profile(network.feed(8), repeats=2)
    assert profile.batch == 8
    assert [(row.kernel, row.node) for row in profile.rows] == [
        (step.kernel, step.node.name) for step in train.plan.steps
    ]
    assert all(row.seconds >= 0 for row in profile.rows)
    assert profile.seconds == sum(row.seconds for row in profile.rows) > 0
    assert all("networks.py" in row.source for row in profile.rows)


def test_flops_are_those_of_the_batch_that_was_fed(network: Network) -> None:
    evaluate = gn.Executor([network.loss], device="numpy", max_batch=8)
    full, half = (evaluate.profile(network.feed(batch), repeats=1) for batch in (8, 4))
    assert sum(row.flops for row in full.rows) == evaluate.plan.flops
    convolution = [row.flops for row in half.rows if row.kernel == "conv2d"]
    assert convolution == [row.flops // 2 for row in full.rows if row.kernel == "conv2d"]
    assert convolution[0] == 2 * 4 * 6 * 16 * 16 * 25


def test_bytes_are_those_read_and_written() -> None:
    with gn.Graph():
        x = gn.placeholder("x", (None, 6))
        y = gn.placeholder("y", (None, 6), "int32")
        total = gn.Executor((x + y.astype("float32")).sum(1), max_batch=8, device="numpy")
    profile = total.profile({x: np.zeros((5, 6), np.float32), y: np.zeros((5, 6), np.int32)}, repeats=1)
    rows = {row.kernel: row for row in profile.rows}
    assert {name: row.nbytes for name, row in rows.items()} == {"cast": 240, "add": 360, "sum": 140}
    assert all(row.inner == () for row in profile.rows)


def program_of_two_kernels() -> Plan:
    """Return a plan whose one step is a program that packs x, computes y = x + x and leaves it there."""
    with gn.Graph():
        x = gn.placeholder("x", (None, 6))
        plan = gn.Executor(x + x, max_batch=8, device="numpy").plan
    (step,) = plan.steps
    inner = (InnerStep("pack", (), (x,), (x,), ""), InnerStep("add", step.nodes, (x,), (step.node,), ""))
    return replace(plan, steps=(replace(step, kernel="program", inner=inner),))


def test_a_program_has_a_row_for_each_kernel_in_it() -> None:
    plan = program_of_two_kernels()
    times = [
        StepTime(9.0, (1.0, 5.0), {"combine sums": 0.5, "wait": 2.5}),
        StepTime(9.0, (3.0, 4.0), {"combine sums": 0.5, "wait": 1.5}),
        StepTime(99.0, (2.0, 6.0), {"combine sums": 0.5, "wait": 90.5}),
    ]
    profile = Profile.of(plan, 4, [[time] for time in times])
    (row,) = profile.rows
    assert [(inner.kernel, inner.seconds) for inner in row.inner] == [
        ("pack", 2.0),
        ("add", 5.0),
        ("combine sums", 0.5),
        ("wait", 2.5),
    ]
    assert row.seconds == profile.seconds == 10.0
    assert [inner.node for inner in row.inner] == ["x", "add", "", ""]
    assert [inner.flops for inner in row.inner] == [0, 24, 0, 0]
    assert [inner.nbytes for inner in row.inner] == [192, 192, 0, 0]
    assert (row.flops, row.nbytes) == (24, 384)
    assert all("test_profile.py" in inner.source for inner in row.inner)


def test_printing_lists_kernels_under_their_program() -> None:
    profile = Profile.of(program_of_two_kernels(), 8, [[StepTime(0.01, (0.002, 0.007), {"wait": 0.001})]])
    title, _, *lines = str(profile).splitlines()
    assert title == "1 steps at batch 8: 10.000 ms"
    assert [line.split(maxsplit=4)[0] for line in lines] == ["10.000", "7.000", "2.000", "1.000"]
    assert [line[35:] for line in lines] == ["program add", "  add add", "  pack x", "  wait"]


def test_variables_are_restored_bit_by_bit(network: Network) -> None:
    with network.graph:
        noise = ops.dropout(network.logits).sum()
    train = gn.Executor([network.loss, noise], network.updates, device="numpy", max_batch=8)
    train.run(network.feed(8))
    before = {name: value.tobytes() for name, value in network.values().items()}
    train.profile(network.feed(8, seed=1), repeats=3)
    after = {name: value.tobytes() for name, value in network.values().items()}
    assert after == before
    assert network.graph.get_value("random_step") == 1


def test_a_profile_does_not_change_what_comes_after() -> None:
    losses: list[list[float]] = []
    for profiled in (False, True):
        network = lenet(size=16)
        train = gn.Executor(network.loss, network.updates, device="numpy", max_batch=8)
        losses.append([])
        for seed in range(3):
            losses[-1].append(float(train.run(network.feed(8, seed))))
            if profiled:
                train.profile(network.feed(5, 100 + seed), repeats=1)
    assert losses[0] == losses[1]


def test_an_error_restores_the_variables() -> None:
    with gn.Graph() as graph:
        count = gn.variable("count", 0.0)
        index = gn.placeholder("index", (), "int64")
        picked = ops.take(gn.constant([1.0, 2.0]), ops.clip(index * 2, -100, 100))
        train = gn.Executor(picked, ops.assign(count, count + picked), device="numpy")
    with refused(GraphError, "take 'take' got an index out of range", at="picked = ops.take("):
        train.profile({index: 50})
    assert graph.get_value("count") == 0
    assert train.run({index: 0}) == 1


def test_the_feed_is_checked_as_in_a_run(network: Network) -> None:
    evaluate = gn.Executor([network.logits], device="numpy", max_batch=8)
    with refused(FeedError, "the feed is no dict", at="evaluate.profile([1.0])"):
        evaluate.profile([1.0])  # type: ignore[arg-type]  # the mistake tested
    with pytest.raises(FeedError, match="placeholder 'images' is not fed"):
        evaluate.profile()


@pytest.mark.parametrize("repeats", [0, -1, 1.5, "10", None])
def test_repeats_are_a_positive_integer(repeats: Any) -> None:
    with gn.Graph():
        evaluate = gn.Executor(gn.variable("w", 1.0) * 2, device="numpy")
    with refused(GraphError, f"repeats is {repeats!r}", at="evaluate.profile(repeats=", expected="an integer of 1"):
        evaluate.profile(repeats=repeats)


def test_a_plan_without_steps() -> None:
    with gn.Graph():
        evaluate = gn.Executor(gn.variable("w", 1.0), device="numpy")
    profile = evaluate.profile()
    assert (profile.rows, profile.seconds) == ((), 0)
    assert str(profile).startswith("0 steps at batch 1: 0.000 ms")


def test_printing_lists_the_slowest_first(network: Network) -> None:
    train = gn.Executor([network.loss], network.updates, device="numpy", max_batch=8)
    profile = train.profile(network.feed(8), repeats=1)
    title, head, *lines = str(profile).splitlines()
    assert title.startswith(f"{len(train.plan.steps)} steps at batch 8: ")
    assert all(word in head for word in ("ms", "share", "GFLOP/s", "GB/s", "kernel", "node"))
    assert len(lines) == len(train.plan.steps)
    times = [float(line.split()[0]) for line in lines]
    assert times == sorted(times, reverse=True)
    shares = [float(line.split()[1].rstrip("%")) for line in lines]
    assert sum(shares) == pytest.approx(100, abs=0.1 * len(shares))
    assert sorted(" ".join(line.split()[4:]) for line in lines) == sorted(
        f"{step.kernel} {step.node.name}" for step in train.plan.steps
    )


def test_a_profile_of_an_unverified_executor_leaves_the_first_run_to_verify(network: Network) -> None:
    checked = gn.Executor([network.loss], network.updates, device="numpy", max_batch=8, verify=True)
    checked.profile(network.feed(8), repeats=1)
    assert np.isfinite(checked.run(network.feed(8))[0])
