"""Runs of one graph from several threads take turns, whichever executors they belong to."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from graphnn import ops
from graphnn.compiler.index_checks import IndexCheck
from graphnn.feeds import Feed, FeedChecker
from networks import lenet

RUNS = 60
THREADS = 4


@pytest.fixture(autouse=True)
def frequent_switches() -> Iterator[None]:
    """Let threads take turns a thousand times as often as usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)


def together(*works: Callable[[], object]) -> None:
    """Run functions in threads of their own; raise what any of them raised."""
    problems: list[BaseException] = []
    start = threading.Barrier(len(works))

    def guarded(work: Callable[[], object]) -> None:
        try:
            start.wait(30)
            work()
        except BaseException as error:  # noqa: BLE001 - it is raised again below
            problems.append(error)

    threads = [threading.Thread(target=guarded, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a thread hangs"
    if problems:
        raise problems[0]


class Pair:
    """Variables a and b, which each run changes together, so that a + b stays 0; and one that counts runs."""

    def __init__(self) -> None:
        with gn.Graph() as self.graph:
            a, b = (gn.variable(name, np.zeros(500, np.float32)) for name in "ab")
            count = gn.variable("count", 0)
            self.sum = a + b
            self.count = count
            self.updates = [ops.assign(a, a + 1), ops.assign(b, b - 1), ops.assign(count, count + 1)]
            self.others = [ops.assign(a, a + 10), ops.assign(b, b - 10), ops.assign(count, count + 1)]

    def check(self, updates: Any) -> gn.Executor:
        return gn.Executor([self.sum, self.count], updates, device="numpy")


def work_with(run: Callable[[], Any], seen: list[int]) -> Callable[[], None]:
    def work() -> None:
        for _ in range(RUNS):
            total, count = run()
            assert not total.any()
            seen.append(int(count))

    return work


def test_one_executor_in_several_threads() -> None:
    pair = Pair()
    seen: list[int] = []
    run = pair.check(pair.updates).run
    together(*[work_with(run, seen)] * THREADS)
    assert sorted(seen) == list(range(RUNS * THREADS))  # no two runs saw the same state
    np.testing.assert_array_equal(pair.graph.get_value("a"), np.full(500, RUNS * THREADS))
    assert pair.graph.store.version("b") == RUNS * THREADS


def test_two_executors_of_one_graph_in_two_threads() -> None:
    pair = Pair()
    seen: list[int] = []
    together(work_with(pair.check(pair.updates).run, seen), work_with(pair.check(pair.others).run, seen))
    assert sorted(seen) == list(range(2 * RUNS))
    np.testing.assert_array_equal(pair.graph.get_value("a"), np.full(500, 11 * RUNS))
    np.testing.assert_array_equal(pair.graph.get_value("b"), np.full(500, -11 * RUNS))


def test_training_and_evaluation_side_by_side() -> None:
    """An evaluation sees the weights from before or after a step, never in between."""
    network, alone = lenet(size=16), lenet(size=16)
    feed = network.feed(4)
    train = gn.Executor([network.loss], network.updates, device="numpy", max_batch=4)
    evaluate = gn.Executor(network.loss, device="numpy", max_batch=4)
    losses: list[float] = []
    together(
        lambda: [train.run(feed) for _ in range(12)],
        lambda: losses.extend(float(evaluate.run(feed)) for _ in range(12)),
    )
    step = gn.Executor(alone.loss, alone.updates, device="numpy", max_batch=4)
    expected = [float(step.run(alone.feed(4))) for _ in range(13)]
    assert set(losses) <= set(expected)
    assert losses == sorted(losses, key=expected.index)


def test_values_that_are_read_and_set_meanwhile_are_whole() -> None:
    with gn.Graph() as graph:
        w = gn.variable("w", np.zeros(20_000, np.float32))
        train = gn.Executor([], ops.assign(w, w + 1), device="numpy")

    def read() -> None:
        for _ in range(RUNS):
            value = graph.get_value(w)
            assert (value == value[0]).all()

    def write() -> None:
        for number in range(RUNS):
            graph.set_value(w, np.full(20_000, 1000.0 * number, np.float32))

    together(lambda: [train.run() for _ in range(RUNS)], read, write)
    assert graph.store.version("w") == 2 * RUNS


def test_results_are_whole_and_of_their_own_run() -> None:
    with gn.Graph():
        x = gn.placeholder("x", (None, 50))
        run = gn.Executor([x, x * 2, x.sum()], device="numpy", max_batch=8).run

    def work(number: int) -> Callable[[], None]:
        fed = np.full((1 + number, 50), number, np.float32)

        def repeat() -> None:
            for _ in range(RUNS):
                same, double, total = run({x: fed})
                np.testing.assert_array_equal(same, fed)
                np.testing.assert_array_equal(double, 2 * fed)
                assert total == fed.sum()

        return repeat

    together(*map(work, range(THREADS)))


def test_two_graphs_do_not_wait_for_each_other() -> None:
    """While the lock of the one is held, the other runs."""
    first, second = Pair(), Pair()
    run = second.check(second.updates).run
    with first.graph.store.lock:
        done = threading.Thread(target=run)
        done.start()
        done.join(30)
        assert not done.is_alive()
    assert second.graph.get_value("count") == 1


def test_a_run_waits_for_the_run_before_it() -> None:
    pair = Pair()
    run = pair.check(pair.updates).run
    with pair.graph.store.lock:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join(0.05)
        assert thread.is_alive()
        assert pair.graph.get_value("count") == 0
    thread.join(30)
    assert pair.graph.get_value("count") == 1


class Picking:
    """Numbers picked by indices that are fed, and a count of runs."""

    def __init__(self, device: str) -> None:
        with gn.Graph() as self.graph:
            self.places = gn.placeholder("places", (None,), "int32")
            count = gn.variable("count", 0)
            picked = ops.take(gn.constant([10.0, 20.0, 30.0]), self.places)
        self.run = gn.Executor(picked, ops.assign(count, count + 1), device=device, max_batch=3).run


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_indices_are_those_that_were_checked(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    """What becomes of the user's array after the check is no matter."""
    fed, bind = np.array([2, 0, 1], np.int32), IndexCheck.bind

    def bind_and_spoil(check: IndexCheck, values: np.ndarray, batch: int) -> Callable[[], None]:
        right = bind(check, values, batch)

        def run() -> None:
            right()
            fed[:] = 1_000_000

        return run

    monkeypatch.setattr(IndexCheck, "bind", bind_and_spoil)
    picking = Picking(device)
    np.testing.assert_array_equal(picking.run({picking.places: fed}), [30, 10, 20])
    assert fed[0] == 1_000_000


def test_indices_that_go_wrong_while_a_run_waits_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    checked, check = threading.Event(), FeedChecker.check

    def observed(checker: FeedChecker, feed: Feed) -> tuple[dict[gn.Node, np.ndarray], int]:
        result = check(checker, feed)
        checked.set()
        return result

    monkeypatch.setattr(FeedChecker, "check", observed)
    picking = Picking("numpy")
    fed = np.array([2, 0, 1], np.int32)
    errors: list[str] = []

    def work() -> None:
        try:
            picking.run({picking.places: fed})
        except gn.FeedError as error:
            errors.append(error.message)

    with picking.graph.store.lock:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        assert checked.wait(30)
        fed[:] = 1_000_000
    thread.join(30)
    assert errors == ["'places' is fed an index out of range for take 'take'"]
    assert picking.graph.get_value("count") == picking.graph.store.version("count") == 0


def test_feeds_of_runs_in_several_threads_stay_apart_on_compiled_code() -> None:
    network = lenet(size=16)
    run = gn.Executor([network.labels, network.images], network.updates, device="cpu", max_batch=4).run
    before = network.graph.store.version("fc1.weight")

    def work(seed: int) -> Callable[[], None]:
        feed = network.feed(1 + seed, seed)

        def repeat() -> None:
            for _ in range(RUNS // 4):
                labels, images = run(feed)
                np.testing.assert_array_equal(labels, feed[network.labels])
                np.testing.assert_array_equal(images, feed[network.images])

        return repeat

    together(*map(work, range(THREADS)))
    assert network.graph.store.version("fc1.weight") - before == THREADS * (RUNS // 4)


def test_the_lock_is_free_after_an_error() -> None:
    pair = Pair()
    with pair.graph, pytest.raises(gn.NumericsError):
        gn.Executor(ops.log(gn.constant([-1.0])), pair.updates, device="numpy", check_numerics=True).run()
    together(lambda: pair.check(pair.updates).run())
    assert pair.graph.get_value("count") == 1


@contextmanager
def steady(graph: gn.Graph, run: Callable[[], Any]) -> Iterator[None]:
    """Run again and again in a thread, as long as the block takes."""
    stop = threading.Event()
    problems: list[BaseException] = []

    def work() -> None:
        while not stop.is_set():
            try:
                total, _ = run()
                assert not total.any()
            except BaseException as error:  # noqa: BLE001 - it is raised again below
                problems.append(error)
                return

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)
    assert not problems, problems
    assert graph.get_value("count") > 0


def test_building_and_compiling_while_another_thread_runs() -> None:
    pair = Pair()
    with steady(pair.graph, pair.check(pair.updates).run), pair.graph:
        for number in range(20):
            gn.variable(f"more{number}", 0.0)
            gn.Executor(pair.sum * 2 + number, device="numpy").run()
        pair.check(pair.others).profile(repeats=3)
