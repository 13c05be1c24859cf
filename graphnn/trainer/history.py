"""What each epoch came to, and the whole course of a training as a file."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

from graphnn.files import require_suffix, write_whole
from graphnn.ops.errors import GraphError
from graphnn.ops.source import caller

FORMATS = (".csv", ".json")
"""Suffixes of the files that `save_history` writes."""

Figure = Literal["train_loss", "train_error", "test_loss", "test_error"]
"""A figure of an epoch that is the better the lower it is."""

FIGURES: tuple[Figure, ...] = ("train_loss", "train_error", "test_loss", "test_error")


@dataclass(frozen=True)
class EpochRow:
    """What one epoch came to.

    Attributes
    ----------
    epoch : int
        Its number, from 1.
    train_loss, test_loss : float
        Mean loss over all examples, in an evaluation pass after the epoch.
    train_error, test_error : float
        The fraction of labels that the largest logit misses, in the same pass.
    seconds : float
        Time of the training pass alone.
    """

    epoch: int
    train_loss: float
    train_error: float
    test_loss: float
    test_error: float
    seconds: float

    def figure(self, name: Figure) -> float:
        """Return a figure by its name, infinity for NaN, which no figure is worse than."""
        value = float(getattr(self, name))
        return math.inf if math.isnan(value) else value


def require_figure(name: object, where: str) -> None:
    """Raise a GraphError unless a name is one of a figure; `where` says whose argument it is."""
    if name not in FIGURES:
        raise GraphError(
            f"{where}: there is no figure {name!r}",
            expected=f"one of {', '.join(FIGURES)}",
            where=str(caller()),
            hint='monitor="test_error"',
        )


def save_history(history: Sequence[EpochRow], path: str | Path) -> None:
    """Write the rows of a training to a file: a table as CSV, or a list of objects as JSON.

    The columns, or keys, are the attributes of `EpochRow`. Numbers that JSON can't say (NaN, infinity) are null there.

    Parameters
    ----------
    history : sequence of EpochRow
        Such as `Trainer.history`.
    path : str or Path
        Its suffix chooses the format: ``.csv`` or ``.json``. A file that stands there is replaced.

    Raises
    ------
    GraphError
        If the suffix is another one, or the file can't be written; nothing has changed then.

    Examples
    --------
    >>> import tempfile
    >>> rows = [EpochRow(1, 0.4, 0.12, 0.5, 0.14, seconds=2.0)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_history(rows, Path(folder, "history.csv"))
    ...     print(Path(folder, "history.csv").read_text().strip())
    epoch,train_loss,train_error,test_loss,test_error,seconds
    1,0.4,0.12,0.5,0.14,2.0
    """
    text = _csv(history) if require_suffix(path, FORMATS, "the history") == ".csv" else _json(history)
    write_whole(path, lambda file: file.write(text.encode()))


def _csv(history: Sequence[EpochRow]) -> str:
    text = io.StringIO()
    table = csv.DictWriter(text, [column.name for column in fields(EpochRow)], lineterminator="\n")
    table.writeheader()
    table.writerows(map(asdict, history))
    return text.getvalue()


def _json(history: Sequence[EpochRow]) -> str:
    rows = [{name: value if math.isfinite(value) else None for name, value in asdict(row).items()} for row in history]
    return json.dumps(rows, indent=1) + "\n"
