"""Ctrl-C between two batches: what a training knows of its course then agrees with its weights."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Self


class Interrupts:
    """While it is entered, the first Ctrl-C waits for `heed`; a second one takes effect at once.

    Putting off every signal for each run alone would cost as much as a run of a small network.
    """

    def __init__(self) -> None:
        self._before = signal.getsignal(signal.SIGINT)
        self._pending = False
        # Python calls handlers in the main thread alone. What is no function ignores Ctrl-C or ends the process.
        self._is_ours = threading.current_thread() is threading.main_thread() and callable(self._before)

    def __enter__(self) -> Self:
        if self._is_ours:
            signal.signal(signal.SIGINT, self._put_off)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_ours:
            signal.signal(signal.SIGINT, self._before)
            if error is None:
                self.heed()

    def heed(self) -> None:
        """Let a Ctrl-C that was put off take effect."""
        if self._pending:
            self._pending = False
            self._pass_on(signal.SIGINT, None)

    def _put_off(self, number: int, frame: FrameType | None) -> None:
        if self._pending:
            self._pass_on(number, frame)
        self._pending = True

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        assert callable(self._before)
        self._before(number, frame)
