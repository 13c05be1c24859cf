"""Things prepared by threads, ahead of whoever uses them and in order."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from queue import SimpleQueue
from typing import Generic, TypeVar

Item = TypeVar("Item")

_ENDING_SECONDS = 1.0


@dataclass(eq=False)
class _Order(Generic[Item]):
    """One thing to be prepared: its number, and where to put it, or the exception that came instead."""

    number: int
    result: SimpleQueue[Item | BaseException] = field(default_factory=SimpleQueue)


@dataclass(eq=False)
class _Workshop(Generic[Item]):
    """What the consumer and the threads that prepare for it share.

    Only `SimpleQueue.put` and plain attributes are used to stop the threads, for that may happen in the garbage
    collector, which can run in any thread at any line: a lock taken there might be held by that very thread.
    """

    prepare: Callable[[int], Item]
    orders: SimpleQueue[_Order[Item] | None] = field(default_factory=SimpleQueue)
    stopped: bool = False

    def work(self) -> None:
        """Carry out orders until one fails or the workshop is stopped."""
        while (order := self.orders.get()) is not None and not self.stopped:
            try:
                result: Item | BaseException = self.prepare(order.number)
            except BaseException as error:  # noqa: BLE001  # whatever it is, the consumer waits for it
                order.result.put(error)
                return
            order.result.put(result)
            del order, result  # a thread that waits would keep it alive

    def stop(self, threads: Sequence[threading.Thread]) -> None:
        """End the threads, after what each may be preparing."""
        self.stopped = True
        for _ in threads:
            self.orders.put(None)
        # Bounded: the collector may have come while this thread holds a lock that an ending thread needs.
        deadline = time.monotonic() + _ENDING_SECONDS
        for thread in threads:
            # When the interpreter ends, its daemon threads have stopped without a word: there is nothing to wait for.
            if thread.is_alive() and thread is not threading.current_thread() and not sys.is_finalizing():
                thread.join(timeout=max(0.0, deadline - time.monotonic()))


def prepared_ahead(
    prepare: Callable[[int], Item], numbers: Iterable[int], ahead: int, threads: int, name: str
) -> Generator[Item, None, None]:
    """Yield ``prepare(number)`` for each number, in order, preparing up to `ahead` of them ahead in threads.

    The threads begin with the first item and end with this generator: at its end, when it is closed, or when it is
    dropped. What `prepare` raises for an item is raised here in its place.
    """
    workshop = _Workshop(prepare)
    # Daemons, so that an iterator which is still referred to doesn't keep the interpreter from ending.
    workers = [threading.Thread(target=workshop.work, name=name, daemon=True) for _ in range(min(threads, ahead))]
    rest = iter(numbers)
    pending: deque[_Order[Item]] = deque()

    def order(count: int) -> None:
        for number in islice(rest, count):
            pending.append(_Order(number))
            workshop.orders.put(pending[-1])

    try:
        order(ahead)
        for worker in workers:
            worker.start()  # in here, since an interrupt may come while it waits for the thread
        while pending:
            result = pending[0].result.get()
            pending.popleft()
            if isinstance(result, BaseException):
                raise result
            order(1)
            yield result
    finally:
        workshop.stop(workers)
