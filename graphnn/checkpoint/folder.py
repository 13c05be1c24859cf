"""The checkpoints in a folder: which there are, which is the newest whole one, which the best, which may go."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from graphnn.checkpoint.contents import read, score_of
from graphnn.checkpoint.tensors import DamagedError
from graphnn.ops.errors import CheckpointError
from graphnn.ops.source import caller

_log = logging.getLogger("graphnn")
_NAME = re.compile(r"step-(?P<step>[0-9]+)\.safetensors")


def checkpoint_name(step: int) -> str:
    """Return the name of the file for a step: zeros let names sort as numbers do."""
    return f"step-{step:09d}.safetensors"


def step_of(name: str) -> int | None:
    """Return the step that a checkpoint's name tells, None for other names."""
    match = _NAME.fullmatch(name)
    return int(match["step"]) if match else None


def checkpoints_in(folder: Path) -> dict[int, Path]:
    """Return all files with a checkpoint's name by their steps, in growing order; none if there is no such folder.

    Raises
    ------
    CheckpointError
        If the folder can't be read.
    """
    try:
        found = {step: path for path in folder.iterdir() if (step := step_of(path.name)) is not None}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise CheckpointError(
            f"the checkpoints in {str(folder)!r} can't be listed: {error.strerror or error}",
            expected="a folder that can be read",
            where=str(caller()),
            hint="name the folder that the checkpoints were written to",
        ) from error
    # Not `is_file`: a file that a writer has just removed is to be noticed, not to be left out.
    return {step: path for step, path in sorted(found.items()) if not path.is_dir()}


def latest_checkpoint(directory: str | Path) -> Path | None:
    """Return the newest checkpoint in a folder that is whole; None if there is none, or no such folder.

    Each damaged one that is passed over gets a line on the logger "graphnn".

    Raises
    ------
    CheckpointError
        If the folder or a file in it can't be read, or a newer graphnn has written it.

    Examples
    --------
    >>> latest_checkpoint("a-folder-that-is-not-there") is None
    True
    """
    return _first_whole(directory, lambda files: reversed(files.values()))


def best_checkpoint(directory: str | Path) -> Path | None:
    """Return the whole checkpoint with the lowest score in a folder; None if none has one, or there is no such folder.

    Of equal ones the earliest is the best. Damaged ones and errors are as for `latest_checkpoint`.

    Examples
    --------
    >>> best_checkpoint("a-folder-that-is-not-there") is None
    True
    """
    return _first_whole(directory, lambda files: (files[step] for step in _by_score(_scores(files))))


def prune(folder: Path, newest: int, keep: int) -> None:
    """Remove checkpoints older than the newest, but for the last `keep` ones, it among them, and the best one.

    What is no checkpoint, or can't be read, stays.
    """
    files = {step: path for step, path in checkpoints_in(folder).items() if step <= newest}
    scores = _scores(files)
    kept = {*list(scores)[-keep:], *_by_score(scores)[:1]}
    for step in scores.keys() - kept:
        try:
            files[step].unlink(missing_ok=True)
        except OSError as error:
            _log.warning("%s can't be removed: %s", files[step], error.strerror)


def _scores(files: Mapping[int, Path]) -> dict[int, float | None]:
    """Return the scores of those files that can be read, by their steps."""
    scores: dict[int, float | None] = {}
    for step, path in files.items():
        with suppress(OSError, ValueError):
            scores[step] = score_of(path)
    return scores


def _by_score(scores: Mapping[int, float | None]) -> list[int]:
    """Return the steps that have a score, the lowest first, of equal ones the earliest."""
    known = {step: score for step, score in scores.items() if score is not None}
    return sorted(known, key=lambda step: (known[step], step))


def _first_whole(directory: str | Path, in_order: Callable[[dict[int, Path]], Iterable[Path]]) -> Path | None:
    folder = Path(directory)
    seen: dict[int, Path] | None = None
    while True:
        files = checkpoints_in(folder)
        for path in in_order(files):
            try:
                read(path)
            except DamagedError as error:
                _log.warning("%s; the one before is taken", error.message)
            except CheckpointError:
                if path.exists():
                    raise
                if files != seen:
                    break  # a writer has just removed it, so there are newer ones
            else:
                return path
        else:
            return None
        seen = files
