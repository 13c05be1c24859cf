"""Which threads run, and waiting for something that other threads do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


def threads_named(name: str) -> list[threading.Thread]:
    """Return the running threads of that name."""
    return [thread for thread in threading.enumerate() if thread.name == name]


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    """Say whether the condition comes true in that time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
