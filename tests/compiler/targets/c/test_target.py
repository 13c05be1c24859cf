"""The C target as a whole: what is native, what falls back, and that models train as on NumPy."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import graphnn as gn
from graphnn import ops, optim
from graphnn.compiler.targets import devices
from graphnn.compiler.targets.c import native as native_module
from graphnn.compiler.targets.c.segment import SegmentPlan
from graphnn.compiler.targets.c.target import CTarget
from graphnn.compiler.targets.c.toolchain import find_compiler, unavailable_reason
from graphnn.compiler.targets.c.verify import verify_segment
from graphnn.models import MODELS
from graphnn.ops.errors import CompileError
from module_names import ROOT

pytestmark = pytest.mark.skipif(find_compiler() is None, reason=f"no C compiler: {unavailable_reason()}")


def training(model: str, device: str, **options: object) -> tuple[gn.Graph, gn.Executor]:
    with gn.Graph(seed=0) as graph:
        images = gn.placeholder("images", (None, 1, 28, 28), "uint8")
        labels = gn.placeholder("labels", (None,), "int32")
        loss = ops.cross_entropy(MODELS[model].build()(images), labels)
        train = optim.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=1e-4).minimize(loss)
    return graph, gn.Executor([loss], updates=train, device=device, max_batch=100, **options)  # type: ignore[arg-type]  # as given


def batch(size: int, seed: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (size, 1, 28, 28)).astype(np.uint8)
    return {"images": images, "labels": generator.integers(0, 10, size).astype(np.int32)}


@pytest.mark.parametrize("model", MODELS)
def test_models_train_as_on_numpy(model: str) -> None:
    native_graph, native = training(model, "cpu", verify=True)
    graph, plain = training(model, "numpy")
    assert [step.kernel for step in native.plan.steps] == ["segment_0"]  # the whole step is one call
    for number, size in enumerate((100, 37, 1, 100, 8)):
        feed = batch(size, number)
        np.testing.assert_allclose(native.run(feed)[0], plain.run(feed)[0], rtol=1e-5)
    for name in graph.variables:
        wanted = graph.get_value(name)
        np.testing.assert_allclose(
            native_graph.get_value(name), wanted, rtol=1e-3, atol=1e-5 * max(1e-3, float(np.abs(wanted).max()))
        )


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_same_bits_again(threads: int) -> None:
    weights = []
    for _ in range(2):
        graph, executor = training("mnist_cnn", "cpu", threads=threads)
        for number in range(3):
            executor.run(batch(53, number))
        weights.append(graph.get_value("conv1.weight"))
    np.testing.assert_array_equal(weights[0], weights[1])


def calls_of(work: Callable[[], object]) -> list[str]:
    """Return what is called meanwhile, in Python and in C."""
    calls: list[str] = []
    before = sys.getprofile()
    sys.setprofile(lambda _, event, argument: calls.append(str(argument)) if event in ("call", "c_call") else None)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls[1:-1]  # without those of `work` and of `setprofile` themselves


def test_a_warm_run_takes_few_calls_however_many_variables_it_writes() -> None:
    """What Python does around the compiled step would show at small batches: it grows with what is fed alone."""
    counts = {}
    for model in ("pure_linear", "lenet"):
        _, executor = training(model, "cpu")
        feed = batch(100, 0)
        for size in (100, 37, 100):
            executor.run(batch(size, 0))
        counts[model] = len(calls_of(lambda: executor.run(feed)))  # noqa: B023  # called at once
    assert counts["lenet"] == counts["pure_linear"] <= 25


def test_numpy_takes_over_where_there_is_no_rule() -> None:
    with gn.Graph():
        x = gn.placeholder("x", (None, 6))
        y = ops.relu(x) + 1
        z = ops.softmax(ops.concat([y, y], axis=0).reshape((2, -1, 6))[1])  # joined along the batch
    executor = gn.Executor([z], max_batch=9)
    kernels = [step.kernel for step in executor.plan.steps]
    assert sum(kernel.startswith("segment") for kernel in kernels) == 2
    assert "concat" in kernels
    value = np.random.default_rng(0).standard_normal((5, 6)).astype(np.float32)
    positive = np.maximum(value, 0) + 1
    powers = np.exp(positive)
    np.testing.assert_allclose(executor.run({x: value})[0], powers / powers.sum(1, keepdims=True), rtol=1e-6)


def test_a_large_graph_is_cut_into_files_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_module, "LARGEST_SEGMENT", 7)
    native_graph, native = training("mnist_cnn", "cpu", verify=True)
    graph, plain = training("mnist_cnn", "numpy")
    assert len(native.plan.steps) > 5
    for number, size in enumerate((100, 37)):
        feed = batch(size, number)
        np.testing.assert_allclose(native.run(feed)[0], plain.run(feed)[0], rtol=1e-5)
    np.testing.assert_allclose(
        native_graph.get_value("conv1.weight"), graph.get_value("conv1.weight"), rtol=1e-3, atol=1e-5
    )


def test_nan_and_infinity_flow_as_in_numpy() -> None:
    with gn.Graph():
        x = gn.placeholder("x", (None, 3))
        results = [
            ops.relu(x),
            ops.maximum(x, 0.5),
            ops.clip(x, -1, 1),
            x.max(1),
            x.sum(0),
            ops.softmax(x),
            ops.sign(x),
        ]
    value = np.array([[np.nan, np.inf, -np.inf], [1, -np.inf, 2], [np.inf, np.nan, 0]], np.float32)
    for native, plain in zip(
        gn.Executor(results, max_batch=4).run({x: value}),
        gn.Executor(results, max_batch=4, device="numpy").run({x: value}),
        strict=True,
    ):
        np.testing.assert_allclose(native, plain, rtol=1e-6)


def test_source_names_nodes_and_lines() -> None:
    _, executor = training("pure_linear", "cpu")
    assert "/* kernel: matmul (fc1.matmul), " in executor.source
    assert "test_target.py:" in executor.source


def test_plan_lists_what_a_segment_does() -> None:
    _, executor = training("lenet", "cpu")
    text = str(executor.plan)
    assert "conv2d_weight_gradient" in text
    assert "region 0, per block" in text


@pytest.mark.parametrize("threads", [1, 3])
def test_a_profile_tells_the_times_within_a_segment(threads: int) -> None:
    _, executor = training("lenet", "cpu", threads=threads)
    (row,) = executor.profile(batch(100, 0), repeats=3).rows
    (step,) = executor.plan.steps
    named = [(inner.kernel, inner.node) for inner in row.inner]
    assert named == [(inner.kernel, inner.node.name) for inner in step.inner] + [("combine sums", ""), ("wait", "")]
    assert {("pack", "images"), ("pack", "labels")} < set(named)
    assert row.seconds == sum(inner.seconds for inner in row.inner) > 0
    assert sum(inner.flops for inner in row.inner) == row.flops == executor.plan.flops
    computing = [inner for inner in row.inner if inner.flops > 1_000_000]
    assert len(computing) >= 6
    assert all(inner.seconds > 0 for inner in computing)


def test_times_within_a_segment_add_up_to_it() -> None:
    _, executor = training("mnist_cnn", "cpu", threads=2)
    feeds, size = executor._checker.check(batch(53, 0))
    for _ in range(3):
        (time,) = executor._loaded.time_steps(feeds, size)
        assert time.seconds == pytest.approx(sum(time.inner) + sum(time.between.values()))
        assert min(time.inner) >= 0
        assert min(time.between.values()) >= 0


def test_a_profile_computes_and_changes_nothing() -> None:
    weights = []
    for profiled in (False, True):
        graph, executor = training("mnist_cnn", "cpu", threads=2)
        for number in range(3):
            if profiled:
                executor.profile(batch(100, 50 + number), repeats=2)
            executor.run(batch(53, number))
        weights.append(graph.get_value("conv1.weight"))
    np.testing.assert_array_equal(weights[0], weights[1])


def test_a_profile_counts_the_bytes_of_each_kernel() -> None:
    with gn.Graph():
        x = gn.placeholder("x", (None, 7), "uint8")
        total = gn.variable("total", np.zeros(7, np.float32))
        y = x.astype("float32") * 2
        executor = gn.Executor([y], updates=[ops.assign(total, total + y.sum(0))], max_batch=9)
    (row,) = executor.profile({x: np.ones((5, 7), np.uint8)}, repeats=1).rows
    moved = {inner.kernel: inner.nbytes for inner in row.inner if inner.kernel in ("pack", "unpack", "sum")}
    assert moved == {"pack": 2 * 5 * 7, "unpack": 2 * 5 * 7 * 4, "sum": 5 * 7 * 4 + 7 * 4}
    (update,) = (inner for inner in row.inner if "assign" in inner.kernel)
    assert update.nbytes == 3 * 7 * 4  # the sum and the total are read, the total is written


def test_a_variable_that_is_only_written_is_not_read() -> None:
    with gn.Graph():
        seen = gn.variable("seen", np.zeros(1000, np.float32))
        given = gn.placeholder("given", (1000,))
        executor = gn.Executor([], updates=[ops.assign(seen, given * 2)])
    (row,) = executor.profile({given: np.ones(1000, np.float32)}, repeats=1).rows
    assert [inner.nbytes for inner in row.inner if inner.node == "assign"] == [2 * 4000 + 4]


def test_steps_of_numpy_have_no_inner_times() -> None:
    with gn.Graph():
        x = gn.placeholder("x", (None, 6))
        y = ops.cumsum(ops.relu(x) + 1, 0) * 2
    executor = gn.Executor([y], max_batch=9)
    rows = executor.profile({x: np.ones((5, 6), np.float32)}, repeats=1).rows
    assert [bool(row.inner) for row in rows] == [step.kernel.startswith("segment") for step in executor.plan.steps]
    assert {bool(row.inner) for row in rows} == {False, True}


def test_no_compiler(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(devices, "find_compiler", lambda: None)
    monkeypatch.setattr(devices, "unavailable_reason", lambda: "there is none; install gcc")
    devices._say_once.cache_clear()
    with caplog.at_level(logging.WARNING, logger="graphnn"):
        targets = {training("pure_linear", "cpu")[1].plan.target for _ in range(2)}
    devices._say_once.cache_clear()
    assert targets == {"numpy"}
    assert [record.message for record in caplog.records] == [
        "no C compiler, so NumPy runs instead: there is none; install gcc"
    ]


def test_check_numerics_runs_on_numpy() -> None:
    assert training("pure_linear", "cpu", check_numerics=True)[1].plan.target == "numpy"


def test_indices_that_only_a_run_knows_are_still_refused() -> None:
    with gn.Graph() as graph:
        labels = gn.placeholder("labels", (None,), "int32")
        logits = gn.placeholder("logits", (None, 3))
        count = gn.variable("count", 0.0, trainable=False)
        loss = ops.cross_entropy(logits, labels * 2)
        update = ops.assign(count, count + loss)
    executor = gn.Executor([loss], updates=[update], max_batch=4)
    with pytest.raises(gn.GraphError, match="cross_entropy"):
        executor.run({"labels": np.array([2], np.int32), "logits": np.zeros((1, 3), np.float32)})
    assert graph.get_value(count) == 0


def lenet_segment() -> SegmentPlan:
    target = training("lenet", "cpu")[1]._target
    assert isinstance(target, CTarget)
    (program,) = target._programs.values()
    return program.plan


def test_verifier_accepts_a_right_segment() -> None:
    verify_segment(lenet_segment())


def test_verifier_finds_sums_in_one_place() -> None:
    plan = lenet_segment()
    first, second, *_ = plan.sums
    with pytest.raises(CompileError, match=r"native segment: .* is not where it is looked for"):
        verify_segment(replace(plan, sums={**plan.sums, second: plan.sums[first]}))


def test_verifier_finds_a_value_outside() -> None:
    plan = lenet_segment()
    key = next(key for key, place in plan.places.items() if place.area == "own")
    outside = replace(plan.places[key], offset=plan.own_bytes)
    with pytest.raises(CompileError, match="lies outside of the own memory"):
        verify_segment(replace(plan, places={**plan.places, key: outside}))


def test_verifier_finds_a_value_without_a_place() -> None:
    plan = lenet_segment()
    for key in plan.places:
        places = {other: place for other, place in plan.places.items() if other != key}
        with pytest.raises((CompileError, KeyError)):
            verify_segment(replace(plan, places=places))


def test_verifier_finds_a_missing_or_late_call() -> None:
    plan = lenet_segment()
    units = [number for number, call in enumerate(plan.calls) if call.unit is not None and call.unit.kind == "lanes"]
    for number in units:
        without = [call for place, call in enumerate(plan.calls) if place != number]
        with pytest.raises(CompileError, match="native segment"):
            verify_segment(replace(plan, calls=without))


def test_verifier_finds_a_value_over_another_that_is_alive() -> None:
    plan = lenet_segment()
    (sums, *_) = plan.sums.values()
    key = next(key for key, place in plan.places.items() if place.area == "own")
    over = replace(plan.places[key], offset=sums.offset)
    with pytest.raises(CompileError, match="native segment"):
        verify_segment(replace(plan, places={**plan.places, key: over}))


def test_fewer_threads_than_asked_for_do_all_of_the_work() -> None:
    """A limit on threads, such as a job scheduler sets, must not leave out any example or any part of a weight."""
    script = """
import numpy as np
import graphnn as gn
from graphnn import ops, optim

found = []
for device in ("numpy", "cpu"):
    with gn.Graph(seed=0) as graph:
        images = gn.placeholder("images", (None, 1, 28, 28), "uint8")
        labels = gn.placeholder("labels", (None,), "int32")
        loss = ops.cross_entropy(gn.models.pure_linear()(images), labels)
        train = optim.SGD(0.1).minimize(loss)
    executor = gn.Executor([loss], train, device=device, max_batch=40, threads=4)
    generator = np.random.default_rng(0)
    executor.run({images: generator.integers(0, 255, (40, 1, 28, 28)).astype(np.uint8),
                  labels: generator.integers(0, 10, 40).astype(np.int32)})
    found.append([graph.get_value(name) for name in graph.variables])
for expected, actual in zip(*found):
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)
"""
    environment = {**os.environ, "OMP_THREAD_LIMIT": "3", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
