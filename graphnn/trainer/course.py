"""Whom a training tells of its course."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from graphnn.trainer.callbacks import Callback, Phase
from graphnn.trainer.history import EpochRow
from graphnn.trainer.interrupts import Interrupts

if TYPE_CHECKING:
    from graphnn.trainer.loop import Trainer


class Course:
    """Callbacks in their order, and after each round of them a Ctrl-C that was put off."""

    def __init__(self, trainer: Trainer, callbacks: Sequence[Callback], interrupts: Interrupts) -> None:
        self._trainer = trainer
        self._callbacks = callbacks
        self._interrupts = interrupts

    def begin(self) -> None:
        """Tell that the training begins."""
        for callback in self._callbacks:
            callback.on_start(self._trainer)

    def batch_done(self, phase: Phase, done: int, total: int) -> None:
        """Tell that another batch is done."""
        for callback in self._callbacks:
            callback.on_batch(self._trainer, phase, done, total)
        self._interrupts.heed()

    def epoch_done(self, row: EpochRow) -> None:
        """Tell what an epoch came to."""
        for callback in self._callbacks:
            callback.on_epoch(self._trainer, row)
        self._interrupts.heed()
