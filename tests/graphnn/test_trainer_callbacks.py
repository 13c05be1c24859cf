from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

import graphnn as gn
from graphnn.trainer import BestCheckpoint, Callback, EarlyStopping, EpochRow, Log
from graphnn.trainer.history import Figure
from graphnn.trainer.table import HEADER, table_line
from small_training import TEST, TRAIN, small_trainer


class Recorder(Callback):
    def __init__(self, name: str, heard: list[tuple[Any, ...]]) -> None:
        self.name = name
        self.heard = heard

    def on_start(self, trainer: gn.Trainer) -> None:
        self.heard.append((self.name, "start", len(trainer.rows)))

    def on_batch(self, trainer: gn.Trainer, phase: str, done: int, total: int) -> None:
        if phase == "test figures":
            self.heard.append((self.name, phase, done, total))

    def on_epoch(self, trainer: gn.Trainer, row: EpochRow) -> None:
        assert trainer.rows[-1] is row
        self.heard.append((self.name, "epoch", row.epoch))


class Scripted:
    """Stands for a trainer whose epochs have the given figures."""

    def __init__(self, *values: float) -> None:
        self.all = [EpochRow(number, value, value, value, value, 1.0) for number, value in enumerate(values, start=1)]
        self.rows: list[EpochRow] = []
        self.stopped = False
        self.saved: list[int] = []

    def stop(self) -> None:
        self.stopped = True

    def save(self, _: str | Path) -> None:
        self.saved.append(len(self.rows))

    def go_through(self, callback: Callback) -> int:
        """Return after how many epochs the callback stops the training, all of them if it doesn't."""
        for row in self.all:
            self.rows.append(row)
            callback.on_epoch(self, row)  # type: ignore[arg-type]  # stands for it
            if self.stopped:
                break
        return len(self.rows)


def test_callbacks_are_called_in_their_order() -> None:
    heard: list[tuple[Any, ...]] = []
    trainer = small_trainer()

    trainer.fit(TRAIN, TEST, 2, callbacks=[Recorder("a", heard), Recorder("b", heard)])

    epoch = [(name, "test figures", 1, 1) for name in "ab"]
    assert heard == [
        *[(name, "start", 0) for name in "ab"],
        *epoch,
        *[(name, "epoch", 1) for name in "ab"],
        *epoch,
        *[(name, "epoch", 2) for name in "ab"],
    ]


def test_stop_ends_the_training_and_the_next_one_goes_on() -> None:
    class Once(Callback):
        def on_epoch(self, trainer: gn.Trainer, row: EpochRow) -> None:
            trainer.stop()

    trainer = small_trainer()

    assert [row.epoch for row in trainer.fit(TRAIN, TEST, 5, callbacks=[Once()])] == [1]
    assert [row.epoch for row in trainer.fit(TRAIN, TEST, 2)] == [2, 3]


def test_log_writes_the_table() -> None:
    lines: list[str] = []

    rows = small_trainer().fit(TRAIN, TEST, 2, callbacks=[Log(lines.append)])

    assert lines == [HEADER, *map(table_line, rows)]


def test_log_shows_the_epochs_of_the_checkpoint(tmp_path: Path) -> None:
    lines: list[str] = []
    small_trainer().fit(TRAIN, TEST, 2, checkpoint=tmp_path)

    rows = small_trainer().fit(TRAIN, TEST, 3, checkpoint=tmp_path, resume=True, callbacks=[Log(lines.append)])

    assert lines == [HEADER, *map(table_line, rows)]
    assert len(rows) == 3


@pytest.mark.parametrize(
    ("values", "options", "epochs"),
    [
        ([5, 4, 3, 2, 1], {"patience": 1}, 5),
        ([5, 4, 4, 3, 2], {"patience": 1}, 3),
        ([5, 4, 4, 3, 2], {"patience": 2}, 5),
        ([5, 6, 4, 6, 5, 3], {"patience": 2}, 5),
        ([5, 4.9, 4.8, 4.7], {"patience": 2, "min_delta": 0.5}, 3),
        ([5, 4.7, 4.4, 4.1], {"patience": 2, "min_delta": 0.5}, 4),
        ([math.nan, math.nan, 1], {"patience": 2}, 2),
        ([math.nan, 1, math.inf, 0.5], {"patience": 2}, 4),
    ],
)
@pytest.mark.parametrize("monitor", ["test_loss", "test_error", "train_loss", "train_error"])
def test_early_stopping(values: list[float], options: dict[str, Any], epochs: int, monitor: Figure) -> None:
    assert Scripted(*values).go_through(EarlyStopping(monitor, **options)) == epochs


def test_early_stopping_stays_stopped_after_a_resumption(tmp_path: Path) -> None:
    stopping = EarlyStopping(patience=1, min_delta=100.0)
    first = small_trainer().fit(TRAIN, TEST, 9, callbacks=[stopping], checkpoint=tmp_path)
    resumed = small_trainer().fit(TRAIN, TEST, 9, callbacks=[stopping], checkpoint=tmp_path, resume=True)

    assert len(first) == 2
    assert resumed == first


def test_early_stopping_begins_anew_with_each_call() -> None:
    trainer = small_trainer()
    stopping = EarlyStopping(patience=1, min_delta=100.0)

    assert [len(trainer.fit(TRAIN, TEST, 9, callbacks=[stopping])) for _ in range(2)] == [2, 2]


@pytest.mark.parametrize(
    ("values", "saved"), [([3, 2, 2, 1, 5], [1, 2, 4]), ([math.nan, 2, math.nan], [1, 2]), ([1, 1], [1])]
)
def test_best_checkpoint_follows_the_figure(values: list[float], saved: list[int]) -> None:
    scripted = Scripted(*values)
    scripted.go_through(BestCheckpoint("best.safetensors", "test_loss"))

    assert scripted.saved == saved


@pytest.mark.parametrize("average", [None, 0.9])
def test_best_checkpoint_has_the_weights_that_were_measured(average: float | None, tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    trainer = small_trainer(
        optimizer=gn.optim.SGD(1.0), average=None if average is None else gn.optim.WeightAverage(average)
    )

    rows = trainer.fit(TRAIN, TEST, 6, callbacks=[BestCheckpoint(path, "test_loss")])

    other = small_trainer()
    gn.load(other.graph, path)
    best = min(rows, key=lambda row: row.test_loss)
    assert other.evaluate(*TEST) == pytest.approx((best.test_loss, best.test_error))


def test_best_checkpoint_is_refused_at_once(tmp_path: Path) -> None:
    trainer = small_trainer()

    with pytest.raises(gn.GraphError, match="can't be written"):
        trainer.fit(TRAIN, TEST, callbacks=[BestCheckpoint(tmp_path / "missing" / "best.safetensors")])

    assert trainer.place.steps == 0


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: EarlyStopping("loss"), r"EarlyStopping: there is no figure 'loss'(.|\n)*expected: one of train_loss"),  # type: ignore[arg-type]
        (lambda: BestCheckpoint("x", "accuracy"), "BestCheckpoint: there is no figure 'accuracy'"),  # type: ignore[arg-type]
        (lambda: EarlyStopping(patience=0), "patience is 0"),
        (lambda: EarlyStopping(min_delta=-1), "min_delta is -1"),
        (lambda: EarlyStopping(min_delta=math.nan), "min_delta is nan"),
    ],
)
def test_wrong_arguments(make: Any, reason: str) -> None:
    with pytest.raises(gn.GraphError, match=reason):
        make()
