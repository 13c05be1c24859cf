"""LeNet on NumPy: no kernel allocates, the arena is tight, and a step is what plain evaluation says."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

import graphnn as gn
from compiler_checks import NUMPY, compiled
from graphnn import ops
from graphnn.compiler.plan.verify import verify_plan
from graphnn.compiler.reference import evaluate
from networks import Network, lenet

PER_RUN = 64 * 1024
"""Bytes that a run may allocate beyond what it returns: Python's own objects, and NumPy's buffers for casts."""


def torch_style() -> Network:
    """Return LeNet with weights of (outputs, inputs), as PyTorch keeps them, and biases as the layers add them."""
    with gn.Graph(seed=0) as graph:
        images = gn.placeholder("images", (None, 1, 28, 28), "uint8")
        labels = gn.placeholder("labels", (None,), "int32")
        generator = np.random.default_rng(0)

        def weight(name: str, *shape: int) -> gn.Node:
            scale = float(np.prod(shape[1:])) ** -0.5
            return gn.variable(f"{name}.weight", (generator.standard_normal(shape) * scale).astype(np.float32))

        def bias(name: str, size: int) -> gn.Node:
            return gn.variable(f"{name}.bias", np.zeros(size, np.float32))

        y = images.astype("float32") / 255
        y = ops.max_pool2d(ops.relu(ops.conv2d(y, weight("conv1", 6, 1, 5, 5), bias("conv1", 6), padding=2)), 2)
        y = ops.max_pool2d(ops.relu(ops.conv2d(y, weight("conv2", 16, 6, 5, 5), bias("conv2", 16))), 2).flatten(1)
        y = ops.relu(y @ weight("fc1", 120, 400).T + bias("fc1", 120))
        y = ops.relu(y @ weight("fc2", 84, 120).T + bias("fc2", 84))
        y = y @ weight("fc3", 10, 84).T + bias("fc3", 10)
        loss = ops.cross_entropy(y, labels)
        weights = list(graph.variables.values())
        slopes = gn.gradients(loss, weights)
        updates = [ops.assign(w, w - 0.05 * slope) for w, slope in zip(weights, slopes, strict=True)]
    return Network(graph, images, labels, y, loss, updates)


NETWORKS: dict[str, Callable[[], Network]] = {"with momentum": lenet, "as in PyTorch": torch_style}


@pytest.fixture(scope="module", params=NETWORKS)
def network(request: pytest.FixtureRequest) -> Network:
    return NETWORKS[request.param]()


@pytest.fixture(scope="module")
def training(network: Network) -> gn.Executor:
    return gn.Executor([network.loss], updates=network.updates, device="numpy", max_batch=100)


def traced_peak(work: Callable[[], object]) -> int:
    """Return the most bytes that were allocated at once during some work."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def test_training_step_allocates_next_to_nothing(network: Network, training: gn.Executor) -> None:
    stored = network.feed(100)
    training.run(stored)
    peak = traced_peak(lambda: training._loaded.run(stored, 100))
    assert peak < PER_RUN, f"a run allocates {peak:,} bytes"


def test_no_step_allocates(network: Network, training: gn.Executor) -> None:
    training.run(network.feed(100))
    bound = training._loaded._bound[100]  # type: ignore[attr-defined]  # of the NumPy target
    before = np.setbufsize(1024)
    try:
        for step, call in zip(training.plan.steps, bound.calls, strict=True):
            peak = traced_peak(call)
            assert peak < PER_RUN, f"{step.kernel} {step.node.name} allocates {peak:,} bytes"
    finally:
        np.setbufsize(before)


def test_evaluation_allocates_what_it_returns(network: Network) -> None:
    executor = gn.Executor(network.logits, device="numpy", max_batch=100)
    feed = network.feed(100)
    executor.run(feed)
    assert traced_peak(lambda: executor._loaded.run(feed, 100)) < PER_RUN + 100 * 10 * 4


def test_every_op_has_a_kernel(training: gn.Executor) -> None:
    slow = [step.node.name for step in training.plan.steps if step.kernel.endswith("(evaluate)")]
    assert not slow, slow


@pytest.mark.parametrize("max_batch", [1, 10, 100])
def test_arena_is_tight(network: Network, max_batch: int) -> None:
    for fetches, updates in (([network.loss], network.updates), ([network.logits], [])):
        plan = compiled(fetches, updates, max_batch=max_batch).plan
        verify_plan(plan, NUMPY)
        assert plan.arena_bytes <= 1.05 * plan.lower_bound_bytes


def test_forward_and_backward_reuse_memory(training: gn.Executor) -> None:
    plan = training.plan
    values = sum(storage.nbytes for storage in plan.storages if storage.kind == "arena")
    assert plan.arena_bytes < 0.5 * values


@pytest.mark.parametrize("batch", [1, 3, 7])
def test_training_is_that_of_plain_evaluation(batch: int) -> None:
    for build in NETWORKS.values():
        network = build()
        executor = gn.Executor(
            [network.loss, network.logits], updates=network.updates, device="numpy", max_batch=7, verify=batch == 3
        )
        for step in range(2):
            feed = network.feed(batch, seed=step)
            expected = evaluate([network.loss, network.logits, *network.updates], feed, training=True)
            fetched = executor.run(feed)
            written = [network.graph.get_value(update.inputs[0]) for update in network.updates]
            for actual, wanted in zip([*fetched, *written], expected, strict=True):
                np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-5)
