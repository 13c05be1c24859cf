"""The table of a training: a line an epoch, each of the same width, so that they line up as they come."""

from __future__ import annotations

from graphnn.trainer.history import EpochRow

HEADER = "Epoch  Train Loss  Train Err  Test Loss  Test Err  Epoch Time"


def table_line(row: EpochRow) -> str:
    """Return the line of an epoch: errors as fractions, the time of the training pass in seconds."""
    return (
        f"{row.epoch:5d}  {_loss(row.train_loss):>10}  {row.train_error:9.5f}  "
        f"{_loss(row.test_loss):>9}  {row.test_error:8.5f}  {row.seconds:10.3f}"
    )


def _loss(value: float) -> str:
    return f"{value:.5f}" if abs(value) < 1000 else f"{value:.2e}"
