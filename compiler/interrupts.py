"""Let Ctrl-C wait while Python code changes variables one by one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def postponed_interrupts() -> Iterator[None]:
    """Let Ctrl-C wait until the block is done, so that no run stops with half of its variables written."""
    # Python calls handlers in the main thread alone, and can't put one back that was not set from Python.
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is None:
        yield
        return
    pending: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: pending.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if pending:
            signal.raise_signal(signal.SIGINT)
