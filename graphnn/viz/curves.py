"""The course of a training as a picture, drawn by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from graphnn.files import require_suffix, require_writable, write_whole
from graphnn.ops.errors import GraphError
from graphnn.ops.source import caller

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from graphnn.trainer import EpochRow

FORMATS = (".png", ".svg", ".pdf")
"""Suffixes of the pictures that can be written."""


def require_plot(path: str | Path) -> None:
    """Raise a GraphError if `plot_history` could not write to a path: to be asked before a long training."""
    require_suffix(path, FORMATS, "curves")
    _new_figure()
    require_writable(path)


def plot_history(history: Sequence[EpochRow], path: str | Path) -> None:
    """Write the curves of loss and error over the epochs to a file.

    Parameters
    ----------
    history : sequence of EpochRow
        Such as `Trainer.history`.
    path : str or Path
        Its suffix chooses the format: ``.png``, ``.svg`` or ``.pdf``. A file that stands there is replaced.

    Raises
    ------
    GraphError
        If there is nothing to draw, the suffix is another one, matplotlib is not installed, or the file can't be
        written; nothing is left behind then.

    Examples
    --------
    >>> import tempfile
    >>> import graphnn as gn
    >>> from graphnn.trainer import EpochRow
    >>> rows = [
    ...     EpochRow(1, 0.4, 0.12, 0.5, 0.14, seconds=2.0),
    ...     EpochRow(2, 0.2, 0.06, 0.3, 0.09, seconds=1.9),
    ... ]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     gn.viz.plot_history(rows, Path(folder, "curves.svg"))
    """
    suffix = require_suffix(path, FORMATS, "curves")
    if not history:
        raise GraphError("there is no epoch to draw", where=str(caller()), hint="train for one epoch or more first")
    figure = _new_figure()
    loss, error = figure.subplots(1, 2)
    _draw(loss, "loss", history, [row.train_loss for row in history], [row.test_loss for row in history])
    _draw(error, "error", history, [row.train_error for row in history], [row.test_error for row in history])
    write_whole(path, lambda file: figure.savefig(file, format=suffix[1:], dpi=150))


def _draw(axes: Axes, what: str, history: Sequence[EpochRow], train: list[float], test: list[float]) -> None:
    from matplotlib.ticker import MaxNLocator

    epochs = [row.epoch for row in history]
    axes.plot(epochs, train, marker="o", markersize=3, label="train")
    axes.plot(epochs, test, marker="o", markersize=3, label="test")
    axes.set_xlabel("epoch")
    axes.set_ylabel(what)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend()


def _new_figure() -> Figure:
    try:
        # A figure of its own, without pyplot: no window system is asked for and no global state is left.
        from matplotlib.figure import Figure
    except ImportError as error:
        raise GraphError(
            f"curves are drawn by matplotlib, which can't be imported: {error}",
            where=str(caller()),
            hint='pip install "graphnn[plot]"',
        ) from error
    return Figure(figsize=(9, 3.6), layout="constrained")
