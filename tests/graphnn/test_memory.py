"""A warm run allocates its results and little else, and memory goes back with the executor."""

from __future__ import annotations

import gc
import sys
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from graphnn import ops
from networks import Feed, lenet

KIB = 1024


@pytest.fixture
def traced() -> Iterator[None]:
    gc.collect()
    gc.disable()
    tracemalloc.start()
    yield
    tracemalloc.stop()
    gc.enable()


def peak_of(action: Callable[[], Any]) -> tuple[int, Any]:
    """Return how much an action allocates beyond what was there, at the worst moment, and its result."""
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    result = action()
    return tracemalloc.get_traced_memory()[1] - before, result


def kept_by(action: Callable[[int], None], count: int) -> int:
    """Return how much more is allocated after an action than before."""
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    action(count)
    gc.collect()
    return tracemalloc.get_traced_memory()[0] - before


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("options", [{}, {"check_numerics": True}], ids=["plain", "check_numerics"])
def test_a_warm_training_run_allocates_next_to_nothing(options: dict[str, Any]) -> None:
    network = lenet()
    train = gn.Executor([network.loss, network.logits], network.updates, device="numpy", max_batch=100, **options)
    feed = network.feed(100)
    fetches = sum(value.nbytes for value in train.run(feed))
    peak, _ = peak_of(lambda: train.run(feed))
    largest = max(step.node.spec.elements(100) for step in train.plan.steps)
    allowance = largest if options else 0  # a flag for each number of a result that is looked at
    assert peak <= fetches + allowance + 64 * KIB
    assert train.plan.arena_bytes > 20 * 64 * KIB  # the plan works on far more than that


@pytest.mark.usefixtures("traced")
def test_a_warm_evaluation_allocates_next_to_nothing() -> None:
    network = lenet()
    evaluate = gn.Executor(network.logits, device="numpy", max_batch=100)
    feed: Feed = {network.images: network.feed(100)[network.images]}
    fetched = evaluate.run(feed).nbytes
    assert peak_of(lambda: evaluate.run(feed))[0] <= fetched + 64 * KIB


@pytest.mark.usefixtures("traced")
def test_many_runs_keep_nothing() -> None:
    network = lenet(size=16)
    train = gn.Executor([network.loss], network.updates, device="numpy", max_batch=8)
    feeds = [network.feed(batch, seed) for seed, batch in enumerate((8, 3))]

    def runs(count: int) -> None:
        for number in range(count):
            train.run(feeds[number % 2])

    runs(100)
    assert kept_by(runs, 100) < 4 * KIB


@pytest.mark.usefixtures("traced")
def test_failed_runs_keep_nothing() -> None:
    with gn.Graph():
        x = gn.placeholder("x", (None, 100))
        run = gn.Executor(ops.log(x), device="numpy", max_batch=100, check_numerics=True).run
    good, bad = np.ones((100, 100), np.float32), np.zeros((100, 100), np.float32)

    def fail(count: int) -> None:
        for _ in range(count):
            with pytest.raises(gn.NumericsError):
                run({x: bad})
            with pytest.raises(gn.FeedError):
                run({x: bad[0]})

    run({x: good})
    fail(2)
    assert kept_by(fail, 20) < 40 * KIB  # less than the results of one run


@pytest.mark.usefixtures("traced")
def test_many_batch_sizes_keep_little() -> None:
    """What is bound to a batch size is forgotten once others were used."""
    network = lenet(size=16)
    train = gn.Executor([network.loss], network.updates, device="numpy", max_batch=100)

    def sizes(count: int) -> None:
        for batch in range(count):
            train.run(network.feed(1 + batch))

    sizes(8)
    assert kept_by(sizes, 20) < 200 * KIB


def arena_of(executor: gn.Executor) -> weakref.ref[np.ndarray]:
    arena: np.ndarray = executor._loaded._arena.base  # type: ignore[attr-defined]  # of the NumPy target
    assert arena.nbytes >= executor.plan.arena_bytes > 0
    return weakref.ref(arena)


@pytest.mark.usefixtures("traced")  # no collector: references alone must do
def test_an_executor_takes_its_memory_with_it() -> None:
    network = lenet(size=16)
    train = gn.Executor([network.loss], network.updates, device="numpy", max_batch=50)
    executor, arena = weakref.ref(train), arena_of(train)
    bound = train.run
    for batch in (50, 7):
        bound(network.feed(batch))
    train.profile(network.feed(3), repeats=1)
    del train
    assert executor() is not None  # its method holds it
    del bound
    assert executor() is None
    assert arena() is None


@pytest.mark.usefixtures("traced")
def test_an_executor_whose_run_failed_takes_its_memory_with_it() -> None:
    with gn.Graph():
        x = gn.placeholder("x", (None, 100))
        train = gn.Executor(ops.log(x), device="numpy", max_batch=10, check_numerics=True, verify=True)
    arena = arena_of(train)
    with suppress(gn.NumericsError):
        train.run({x: np.zeros((10, 100), np.float32)})
    del train
    assert arena() is None


@pytest.mark.usefixtures("traced")
def test_results_do_not_hold_the_executor() -> None:
    with gn.Graph():
        x = gn.placeholder("x", (None, 3))
        made = gn.Executor({"view": x[:, ::-1], "sum": x * 2 + 1, "x": x}, device="numpy", max_batch=4)
    arena = arena_of(made)
    results = made.run({x: np.ones((2, 3), np.float32)})
    del made
    assert arena() is None
    np.testing.assert_array_equal(results["sum"], np.full((2, 3), 3))


def test_a_graph_goes_with_its_last_name() -> None:
    network = lenet(size=16)
    graph = weakref.ref(network.graph)
    gn.Executor([network.loss], network.updates, device="numpy", max_batch=4).run(network.feed(4))
    del network
    gc.collect()
    assert graph() is None


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere pages are counted in other units")
def test_large_plans_take_memory_for_the_batch_that_is_fed_only() -> None:
    """Room for the largest batch is set aside, but a system hands out pages when they are touched."""
    resource = pytest.importorskip("resource")
    with gn.Graph():
        x = gn.placeholder("x", (None, 1000))
        made = gn.Executor((x * 2 + 1).sum(), device="numpy", max_batch=200_000)  # 0.8 GB in the feed alone
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert made.run({x: np.ones((3, 1000), np.float32)}) == 9000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # in kilobytes
