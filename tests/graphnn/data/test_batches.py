import gc
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphnn.data import Batches, DataError
from graphnn.data import batches as batches_module
from thread_checks import threads_named, within

pytestmark = pytest.mark.usefixtures("no_thread_is_left")


def batch_threads() -> list[threading.Thread]:
    return threads_named("graphnn-batches")


def rows_of(batches: Batches) -> list[int]:
    return [int(row) for (batch, *_) in batches for row in batch]


@given(
    rows=st.integers(1, 50),
    batch_size=st.integers(1, 60),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
    prefetch=st.integers(0, 3),
)
def test_an_epoch_is_every_row_once(rows: int, batch_size: int, shuffle: bool, drop_last: bool, prefetch: int) -> None:
    if drop_last and batch_size > rows:
        return
    numbers = np.arange(rows)
    batches = Batches(
        numbers,
        np.stack([numbers, -numbers], axis=1),
        batch_size=batch_size,
        shuffle=shuffle,
        drop_last=drop_last,
        prefetch=prefetch,
    )

    got = list(batches)

    assert len(got) == len(batches)
    whole, rest = divmod(rows, batch_size)
    assert [len(first) for first, _ in got] == [batch_size] * whole + [rest] * (rest > 0 and not drop_last)
    seen = np.concatenate([first for first, _ in got])
    assert len(np.unique(seen)) == len(seen)
    np.testing.assert_array_equal(np.concatenate([pair for _, pair in got]), np.stack([seen, -seen], axis=1))
    if not shuffle:
        np.testing.assert_array_equal(seen, numbers[: len(seen)])


def test_order_of_an_epoch_depends_on_seed_and_number_alone() -> None:
    numbers = np.arange(100)
    one = Batches(numbers, batch_size=7, seed=3)
    other = Batches(numbers, batch_size=10, seed=3, prefetch=0)
    orders = [rows_of(one) for _ in range(3)]

    other.set_epoch(2)

    assert rows_of(other) == orders[2]
    assert other.epoch == 3
    assert len({tuple(order) for order in orders}) == 3
    assert rows_of(Batches(numbers, batch_size=7, seed=4)) != orders[0]


def test_order_is_the_same_for_ever() -> None:
    # Written down once: resuming a run in the middle of its epochs relies on it.
    assert rows_of(Batches(np.arange(8), batch_size=3)) == [6, 3, 1, 4, 5, 2, 7, 0]
    batches = Batches(np.arange(8), batch_size=3, seed=2**40)
    batches.set_epoch(9)
    assert rows_of(batches) == [6, 2, 3, 4, 0, 1, 7, 5]


def test_several_threads_end_with_the_iteration() -> None:
    iterator = iter(Batches(np.arange(1000), batch_size=1, prefetch=6, threads=4))
    next(iterator)
    assert len(batch_threads()) == 4

    iterator.close()

    assert not batch_threads()


def test_an_epoch_given_up_counts() -> None:
    batches = Batches(np.arange(10), batch_size=2)
    for _ in batches:
        break

    assert batches.epoch == 1


def test_two_iterations_at_a_time() -> None:
    batches = Batches(np.arange(6), batch_size=2, seed=1)

    pairs = [(*first.tolist(), *second.tolist()) for (first,), (second,) in zip(batches, batches, strict=True)]

    batches.set_epoch(0)
    first, second = np.reshape(rows_of(batches), (3, 2)), np.reshape(rows_of(batches), (3, 2))
    assert pairs == [tuple(row) for row in np.hstack([first, second]).tolist()]


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_are_owned_and_contiguous(prefetch: int, shuffle: bool) -> None:
    source = np.arange(24).reshape(4, 6).T
    batches = Batches(source, batch_size=3, shuffle=shuffle, prefetch=prefetch)

    for (batch,) in batches:
        assert batch.flags.c_contiguous
        assert batch.flags.owndata
        batch[:] = -1

    np.testing.assert_array_equal(source, np.arange(24).reshape(4, 6).T)


def test_lists_and_read_only_arrays() -> None:
    source = np.arange(3)
    source.setflags(write=False)

    ((numbers, names),) = Batches(source, ["a", "b", "c"], batch_size=3, shuffle=False)

    numbers[0] = 5
    assert numbers.tolist() == [5, 1, 2]
    assert names.tolist() == ["a", "b", "c"]


def test_no_more_than_prefetch_batches_are_prepared_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[None] = []
    take = batches_module._take

    def counting_take(*arguments: Any) -> Any:
        taken.append(None)
        return take(*arguments)

    monkeypatch.setattr(batches_module, "_take", counting_take)
    iterator = iter(Batches(np.arange(20), batch_size=1, prefetch=3))
    assert not taken

    next(iterator)

    assert within(5, lambda: len(taken) == 4)
    time.sleep(0.05)
    assert len(taken) == 4
    del iterator


def test_batches_are_prepared_in_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = set()
    take = batches_module._take

    def noting_take(*arguments: Any) -> Any:
        threads.add(threading.current_thread())
        return take(*arguments)

    monkeypatch.setattr(batches_module, "_take", noting_take)
    for prefetch in (0, 1):
        list(Batches(np.arange(3), batch_size=1, prefetch=prefetch))

    assert len(threads) == 2
    assert threading.current_thread() in threads


def test_thread_ends_with_the_epoch() -> None:
    list(Batches(np.arange(10), batch_size=2))

    assert not batch_threads()


def test_thread_ends_when_the_iterator_is_closed() -> None:
    iterator = iter(Batches(np.arange(1000), batch_size=1))
    next(iterator)
    assert batch_threads()

    iterator.close()

    assert not batch_threads()


def test_thread_ends_when_the_iterator_is_dropped() -> None:
    for _ in Batches(np.arange(1000), batch_size=1):
        assert batch_threads()
        break

    assert not batch_threads()


def test_thread_ends_when_the_collector_finds_the_iterator() -> None:
    circle: list[Any] = []
    circle += [iter(Batches(np.arange(1000), batch_size=1)), circle]
    next(circle[0])
    assert batch_threads()

    del circle
    gc.collect()

    assert not batch_threads()


@pytest.mark.parametrize("prefetch", [0, 2])
def test_error_while_preparing_reaches_the_consumer(monkeypatch: pytest.MonkeyPatch, prefetch: int) -> None:
    take = batches_module._take
    calls: list[None] = []

    def failing_take(*arguments: Any) -> Any:
        calls.append(None)
        if len(calls) == 3:
            raise OSError("the disk is gone")
        return take(*arguments)

    monkeypatch.setattr(batches_module, "_take", failing_take)
    got: list[Any] = []

    def consume() -> None:
        got.extend(Batches(np.arange(10), batch_size=2, prefetch=prefetch))

    with pytest.raises(OSError, match="the disk is gone"):
        consume()
    assert len(calls) == 3


def test_error_in_the_consumer_ends_the_thread() -> None:
    def consume() -> None:
        for _ in Batches(np.arange(1000), batch_size=1):
            raise RuntimeError("consumer")

    with pytest.raises(RuntimeError, match="consumer"):
        consume()
    assert within(5, lambda: not batch_threads())


def test_interrupt_while_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    main = threading.get_ident()

    def slow_take(*arguments: Any) -> Any:
        signal.pthread_kill(main, signal.SIGINT)
        time.sleep(0.2)

    monkeypatch.setattr(batches_module, "_take", slow_take)
    with pytest.raises(KeyboardInterrupt):
        next(iter(Batches(np.arange(10), batch_size=2)))

    assert within(5, lambda: not batch_threads())


def test_interpreter_ends_while_an_iterator_is_open() -> None:
    script = """
import numpy as np
from graphnn.data import Batches
iterator = iter(Batches(np.arange(1000), batch_size=1))
kept = [iterator]
kept.append(kept)
next(iterator)
"""
    result = subprocess.run(
        [sys.executable, "-c", script],
        cwd=batches_module.__file__.removesuffix("graphnn/data/batches.py"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arrays", "options", "reason"),
    [
        ((), {}, "at least one array"),
        (([1, 2], [1, 2, 3]), {}, r"different lengths(?s:.*)2, 3"),
        (([],), {}, "no rows"),
        ((np.float32(1),), {}, "array 0 has no axis"),
        (([1],), {"batch_size": 0}, r"batch_size is out of its range(?s:.*)1 or more(?s:.*)0"),
        (([1],), {"seed": -1}, "seed is out of its range"),
        (([1],), {"prefetch": -1}, "prefetch is out of its range"),
        (([1],), {"threads": 0}, "threads is out of its range"),
        (([1, 2],), {"batch_size": 3, "drop_last": True}, "drop_last leaves no batch"),
    ],
)
def test_refuses(arrays: tuple[Any, ...], options: dict[str, Any], reason: str) -> None:
    with pytest.raises(DataError, match=reason) as caught:
        Batches(*arrays, **{"batch_size": 1, **options})

    assert "Batches(*arrays" in caught.value.where


def test_refuses_negative_epoch() -> None:
    with pytest.raises(DataError, match="epoch is out of its range"):
        Batches([1], batch_size=1).set_epoch(-1)


@pytest.mark.parametrize("start", [-1, 4])
def test_refuses_start_outside_of_the_epoch(start: int) -> None:
    batches = Batches(np.arange(6), batch_size=2)

    with pytest.raises(DataError, match="start is out of its range"):
        batches.set_epoch(3, start=start)

    assert batches.epoch == 0


def test_refuses_fractions() -> None:
    with pytest.raises(TypeError, match="float"):
        Batches([1], batch_size=2.5)  # type: ignore[arg-type]  # refused is what is tested
