from __future__ import annotations

import threading
import time
import weakref

import pytest

from graphnn.data.ahead import prepared_ahead
from thread_checks import threads_named, within

NAME = "graphnn-batches"  # which no_thread_is_left looks for
PATIENCE = 10.0  # seconds after which a test fails; none waits for it otherwise

pytestmark = pytest.mark.usefixtures("no_thread_is_left")


def workers() -> list[threading.Thread]:
    return threads_named(NAME)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("ahead", [1, 3, 50])
def test_order_is_that_of_the_numbers(ahead: int, threads: int) -> None:
    def prepare(number: int) -> int:
        time.sleep(0.002 * (number % 3))  # later ones are ready sooner
        return number * number

    assert list(prepared_ahead(prepare, range(3, 20), ahead, threads, NAME)) == [n * n for n in range(3, 20)]


def test_nothing_to_prepare() -> None:
    assert list(prepared_ahead(lambda number: number, [], 2, 2, NAME)) == []


def test_threads_work_side_by_side() -> None:
    meeting = threading.Barrier(3)

    def prepare(number: int) -> threading.Thread:
        meeting.wait(PATIENCE)  # goes on when three are here
        return threading.current_thread()

    assert len(set(prepared_ahead(prepare, range(3), 3, 3, NAME))) == 3


@pytest.mark.parametrize(("ahead", "threads", "expected"), [(2, 5, 2), (5, 2, 2)])
def test_no_more_threads_than_have_work(ahead: int, threads: int, expected: int) -> None:
    items = prepared_ahead(lambda number: number, range(100), ahead, threads, NAME)
    assert not workers()

    next(items)

    assert len(workers()) == expected
    items.close()


@pytest.mark.parametrize("threads", [1, 3])
def test_no_more_than_asked_for_is_prepared_ahead(threads: int) -> None:
    prepared: list[int] = []
    items = prepared_ahead(lambda number: prepared.append(number), range(100), 4, threads, NAME)

    for taken in range(1, 10):
        next(items)
        assert within(PATIENCE, lambda: len(prepared) == taken + 4)  # noqa: B023  # called at once

    items.close()
    time.sleep(0.02)
    assert len(prepared) == 13


@pytest.mark.parametrize("threads", [1, 4])
def test_error_comes_in_its_place(threads: int) -> None:
    def prepare(number: int) -> int:
        if number >= 5:
            raise ValueError(f"no {number}")
        time.sleep(0.005)  # those before it are still being prepared when the first fails
        return number

    got: list[int] = []
    with pytest.raises(ValueError, match="no 5"):
        got.extend(prepared_ahead(prepare, range(100), 8, threads, NAME))

    assert not workers()


def test_items_before_an_error_arrive() -> None:
    failed = threading.Event()

    def prepare(number: int) -> int:
        if number == 1:
            failed.set()
            raise ValueError("no 1")
        assert failed.wait(PATIENCE)
        return number

    items = prepared_ahead(prepare, range(9), 2, 2, NAME)

    assert next(items) == 0
    with pytest.raises(ValueError, match="no 1"):
        next(items)


@pytest.mark.parametrize("threads", [1, 4])
def test_closing_stops_all_threads(threads: int) -> None:
    items = prepared_ahead(lambda number: number, range(10**9), 8, threads, NAME)
    next(items)
    assert len(workers()) == threads

    items.close()

    assert not workers()


def test_closing_waits_for_no_thread_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphnn.data.ahead._ENDING_SECONDS", 0.05)
    hanging, go_on = threading.Event(), threading.Event()

    def prepare(number: int) -> int:
        if number:
            hanging.set()
            go_on.wait(PATIENCE)
        return number

    items = prepared_ahead(prepare, range(9), 4, 2, NAME)
    next(items)
    assert hanging.wait(PATIENCE)

    items.close()

    assert workers()
    go_on.set()


def test_threads_keep_nothing_that_was_used_up() -> None:
    class Thing:
        pass

    items = prepared_ahead(lambda _: Thing(), range(3), 1, 1, NAME)
    first = weakref.ref(next(items))
    next(items)

    assert within(PATIENCE, lambda: first() is None)
    items.close()


def test_thread_that_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def start_one(thread: threading.Thread) -> None:
        if workers():
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_one)

    with pytest.raises(RuntimeError, match="can't start new thread"):
        next(prepared_ahead(lambda number: number, range(9), 3, 3, NAME))
