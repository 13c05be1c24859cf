"""A training's checkpoints: when they are written, what is in them, and how a training goes on from one."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from graphnn.checkpoint import CheckpointWriter, latest_checkpoint, read_checkpoint
from graphnn.ops.errors import CheckpointError, GraphError
from graphnn.ops.source import caller
from graphnn.trainer.callbacks import Callback, Phase
from graphnn.trainer.history import EpochRow, Figure, require_figure

if TYPE_CHECKING:
    from graphnn.trainer.loop import Trainer


@dataclass(frozen=True)
class Checkpoints:
    """Where and when a training writes checkpoints: after each epoch, at Ctrl-C, and more often on demand.

    Parameters
    ----------
    directory : str or Path
        The folder; see `graphnn.checkpoint.CheckpointWriter`.
    every_steps : int, optional
        Also after so many batches of training.
    every_seconds : float, optional
        Also after the first batch that ends so many seconds after the last checkpoint.
    keep : int
        How many to keep besides that of the best epoch.
    monitor : {"test_error", "test_loss", "train_error", "train_loss"}
        The figure that says which epoch is the best.

    Raises
    ------
    GraphError
        If a number is out of its range, or there is no such figure.

    Examples
    --------
    >>> often = Checkpoints("checkpoints", every_seconds=60)
    """

    directory: str | Path
    every_steps: int | None = None
    every_seconds: float | None = None
    keep: int = 3
    monitor: Figure = "test_error"

    def __post_init__(self) -> None:
        require_figure(self.monitor, "Checkpoints")
        for name in ("every_steps", "every_seconds"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise GraphError(
                    f"Checkpoints: {name} is {value}", expected="a number above 0, or None", where=str(caller())
                )


def all_checkpoints(checkpoint: str | Path | Checkpoints | None, resume: bool) -> list[Checkpoints]:
    """Return the options of the one folder for checkpoints, or nothing."""
    if checkpoint is not None:
        return [checkpoint if isinstance(checkpoint, Checkpoints) else Checkpoints(checkpoint)]
    if resume:
        raise GraphError(
            "there is no folder to resume from",
            expected="the folder with the checkpoints",
            where=str(caller()),
            hint="fit(..., checkpoint='checkpoints', resume=True)",
        )
    return []


@dataclass
class Place:
    """How far a training has come.

    Attributes
    ----------
    first : int
        How many epochs there were before the call of `Trainer.fit`.
    batch : int
        How many batches of the running epoch are trained with.
    seconds : float
        What they took.
    steps : int
        How many batches were trained with in all.
    """

    first: int = 0
    batch: int = 0
    seconds: float = 0.0
    steps: int = 0


class CheckpointKeeper(Callback):
    """Writes the checkpoints of one call of `Trainer.fit`. A context manager, which has the folder to itself.

    Parameters
    ----------
    trainer : Trainer
        Whose graph, place and history are written.
    options : Checkpoints
        Where and when.
    settings : dict
        What decides which examples are in which batch: a checkpoint with other settings can't be gone on from.
    resume : bool
        Whether to go on from the newest checkpoint, if there is one.
    """

    def __init__(self, trainer: Trainer, options: Checkpoints, settings: dict[str, Any], *, resume: bool) -> None:
        self._trainer = trainer
        self._options = options
        self._settings = settings
        self._resume = resume
        self._writer = CheckpointWriter(options.directory, keep=options.keep)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with self._stack:
            self._stack.enter_context(self._writer)
            self._begin()
            self._stack = self._stack.pop_all()  # nothing went wrong: the folder stays locked
        self._written = self._progress()
        self._written_at = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            if isinstance(error, KeyboardInterrupt) and self._trainer.is_between_batches:
                self._write()

    def on_batch(self, trainer: Trainer, phase: Phase, done: int, total: int) -> None:
        """Write a checkpoint if it is time."""
        if phase == "training" and self._is_due(trainer.place.steps):
            self._write()

    def on_epoch(self, trainer: Trainer, row: EpochRow) -> None:
        """Write the checkpoint of an epoch."""
        self._write(row)

    def _is_due(self, steps: int) -> bool:
        every_steps, every_seconds = self._options.every_steps, self._options.every_seconds
        if every_steps is not None and steps % every_steps == 0:
            return True
        return every_seconds is not None and time.monotonic() - self._written_at >= every_seconds

    def _progress(self) -> tuple[int, int]:
        return self._trainer.place.steps, len(self._trainer.history)

    def _write(self, row: EpochRow | None = None) -> None:
        if self._progress() == self._written:  # the one that is there may have a score
            return
        trainer = self._trainer
        record = {
            "place": asdict(trainer.place),
            "history": [asdict(known) for known in trainer.history],
            "settings": self._settings,
        }
        score = None if row is None else row.figure(self._options.monitor)
        self._writer.write(trainer.graph, record, trainer.place.steps, score=score)
        self._written, self._written_at = self._progress(), time.monotonic()

    def _begin(self) -> None:
        """Go on from the newest checkpoint, or make sure that there is none to be overwritten."""
        latest = latest_checkpoint(self._options.directory)
        if latest is None:
            return
        record = self._checked(read_checkpoint(latest), latest)
        place, history = Place(**record["place"]), [EpochRow(**row) for row in record["history"]]
        if self._resume:
            read_checkpoint(latest, self._trainer.graph)
            self._trainer.place, self._trainer.history = place, history
        elif place.steps > self._trainer.place.steps:
            raise CheckpointError(
                f"{str(self._options.directory)!r} has checkpoints of a training",
                expected="a folder without checkpoints, for a training from the start",
                actual=f"{latest.name}, of epoch {len(history) + bool(place.batch)}",
                where=str(caller()),
                hint="resume it (resume=True, or --resume), or choose another folder",
            )

    def _checked(self, record: dict[str, Any], path: Path) -> dict[str, Any]:
        if not _is_ours(record):
            raise CheckpointError(
                f"{str(path)!r} was not written by a Trainer",
                expected="a record of its place, history and settings",
                actual=f"a record of {', '.join(record) or 'nothing'}",
                where=str(caller()),
                hint="graphnn.checkpoint.read_checkpoint(path, graph) reads it",
            )
        known = record["settings"]
        different = [name for name, value in self._settings.items() if known.get(name) != value]
        if self._resume and different:
            raise CheckpointError(
                f"{str(path)!r} is of a training with other batches",
                expected=", ".join(f"{name} {known.get(name)}" for name in different),
                actual=", ".join(f"{name} {self._settings[name]}" for name in different),
                where=str(caller()),
                hint="resume it with the data and the settings that it had",
            )
        return record


def _is_ours(record: dict[str, Any]) -> bool:
    place, history, settings = (record.get(name) for name in ("place", "history", "settings"))
    return (
        isinstance(settings, dict)
        and _has_fields(place, Place)
        and isinstance(history, list)
        and all(_has_fields(row, EpochRow) for row in history)
    )


def _has_fields(value: object, kind: type[Place | EpochRow]) -> bool:
    return isinstance(value, dict) and value.keys() == {field.name for field in fields(kind)}
