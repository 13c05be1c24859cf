from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from graphnn.checkpoint import best_checkpoint, latest_checkpoint, read_checkpoint, write_checkpoint
from graphnn.trainer import Checkpoints, EpochRow
from small_training import TEST, TRAIN, figures, small_trainer, stored

EPOCHS = 3
# Seven batches of training in an epoch, and one in each pass of evaluation.
OPTIONS: list[dict[str, Any]] = [
    {},
    {"accumulate": 3},
    {"device": "cpu", "threads": 1},
    {"average": True, "dropout": 0.3, "transform": lambda points, random: points + random.random(points.shape, "f4")},
]


def made(**options: Any) -> gn.Trainer:
    average = gn.optim.WeightAverage(0.8) if options.pop("average", False) else None
    return small_trainer(average=average, **options)


def interrupt_after(count: int) -> Callable[..., None]:
    """Return a function that is interrupted when it is called for the given time."""
    calls: list[object] = []

    def called(*call: object) -> None:
        calls.append(call)
        if len(calls) == count:
            raise KeyboardInterrupt

    return called


def steps(folder: Path) -> list[int]:
    return sorted(int(path.stem.removeprefix("step-")) for path in folder.glob("step-*.safetensors"))


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: ", ".join(options) or "plain")
@pytest.mark.parametrize("batches", [1, 5, 7, 8, 9, 12, 26])
def test_goes_on_to_the_bit_after_an_interrupt(batches: int, options: dict[str, Any], tmp_path: Path) -> None:
    whole, first, second = made(**options), made(**options), made(**options)
    rows = whole.fit(TRAIN, TEST, EPOCHS)

    with pytest.raises(KeyboardInterrupt):
        first.fit(TRAIN, TEST, EPOCHS, checkpoint=tmp_path, on_batch=interrupt_after(batches))
    resumed = second.fit(TRAIN, TEST, EPOCHS, checkpoint=tmp_path, resume=True)

    assert stored(second) == stored(whole)
    assert figures(second) == figures(whole)
    assert [row.epoch for row in resumed] == [row.epoch for row in rows] == [1, 2, 3]
    assert second.place.steps == 21


def test_interrupt_in_an_epochs_report_keeps_the_epoch(tmp_path: Path) -> None:
    first, second = small_trainer(), small_trainer()

    with pytest.raises(KeyboardInterrupt):
        first.fit(TRAIN, TEST, EPOCHS, checkpoint=tmp_path, on_epoch=interrupt_after(2))
    heard: list[EpochRow] = []
    second.fit(TRAIN, TEST, EPOCHS, checkpoint=tmp_path, resume=True, on_epoch=heard.append)

    assert [row.epoch for row in heard] == [3]


def test_times_of_an_epoch_in_two_parts_add_up(tmp_path: Path) -> None:
    first, second = small_trainer(), small_trainer()
    with pytest.raises(KeyboardInterrupt):
        first.fit(TRAIN, TEST, checkpoint=tmp_path, on_batch=interrupt_after(5))

    (row,) = second.fit(TRAIN, TEST, checkpoint=tmp_path, resume=True)

    assert row.seconds > first.place.seconds > 0


def test_resuming_without_a_checkpoint_begins(tmp_path: Path) -> None:
    whole, resumed = small_trainer(), small_trainer()

    whole.fit(TRAIN, TEST)
    resumed.fit(TRAIN, TEST, checkpoint=tmp_path / "new", resume=True)

    assert stored(resumed) == stored(whole)
    assert steps(tmp_path / "new") == [7]


def test_a_finished_training_has_nothing_left_to_do(tmp_path: Path) -> None:
    first, second = small_trainer(), small_trainer()
    first.fit(TRAIN, TEST, 2, checkpoint=tmp_path)
    heard: list[object] = []

    rows = second.fit(TRAIN, TEST, 2, checkpoint=tmp_path, resume=True, on_batch=lambda *batch: heard.append(batch))

    assert rows == first.history
    assert heard == []
    assert stored(second) == stored(first)


def test_more_epochs_than_before(tmp_path: Path) -> None:
    whole, first, second = small_trainer(), small_trainer(), small_trainer()
    whole.fit(TRAIN, TEST, 4)

    first.fit(TRAIN, TEST, 2, checkpoint=tmp_path)
    second.fit(TRAIN, TEST, 4, checkpoint=tmp_path, resume=True)

    assert stored(second) == stored(whole)


def test_second_call_counts_its_own_epochs(tmp_path: Path) -> None:
    whole, first, second = small_trainer(), small_trainer(), small_trainer()
    whole.fit(TRAIN, TEST, 4)
    first.fit(TRAIN, TEST, 1, checkpoint=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        first.fit(TRAIN, TEST, 3, checkpoint=tmp_path, on_batch=interrupt_after(11))

    rows = second.fit(TRAIN, TEST, 3, checkpoint=tmp_path, resume=True)

    assert [row.epoch for row in rows] == [2, 3, 4]
    assert stored(second) == stored(whole)


def test_every_few_steps(tmp_path: Path) -> None:
    seen: list[int] = []
    trainer = small_trainer()

    trainer.fit(
        TRAIN,
        TEST,
        checkpoint=Checkpoints(tmp_path, every_steps=3, keep=100),
        on_batch=lambda *batch: seen.append(max(steps(tmp_path), default=0)),
    )

    assert seen == [0, 0, 3, 3, 3, 6, 6, 6, 6]  # seven batches of training, two of evaluation
    assert steps(tmp_path) == [3, 6, 7]


def test_every_few_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    class Clock:
        @staticmethod
        def monotonic() -> float:
            return now

    def advance(*_: object) -> None:
        nonlocal now
        now += 10

    monkeypatch.setattr("graphnn.trainer.checkpoints.time", Clock)
    trainer = small_trainer()

    trainer.fit(TRAIN, TEST, checkpoint=Checkpoints(tmp_path, every_seconds=25, keep=100), on_batch=advance)

    assert steps(tmp_path) == [4, 7]  # after the first batch 0 seconds have gone, after the fourth 30


def test_the_best_epoch_is_kept(tmp_path: Path) -> None:
    trainer = small_trainer(optimizer=gn.optim.SGD(1.0))  # too fast to become better all the time

    rows = trainer.fit(TRAIN, TEST, 6, checkpoint=Checkpoints(tmp_path, keep=1, monitor="test_loss", every_steps=2))

    best = min(rows, key=lambda row: row.test_loss)
    assert best.epoch < 6
    path = best_checkpoint(tmp_path)
    assert path is not None
    assert path.name == f"step-{7 * best.epoch:09d}.safetensors"
    assert steps(tmp_path) == [7 * best.epoch, 42]


def test_interrupt_at_once_keeps_the_score(tmp_path: Path) -> None:
    small_trainer().fit(TRAIN, TEST, 2, checkpoint=tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    class Impatient(gn.trainer.Callback):
        def on_start(self, trainer: gn.Trainer) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small_trainer().fit(TRAIN, TEST, 3, checkpoint=tmp_path, resume=True, callbacks=[Impatient()])

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("where", ["os.fsync", "pathlib.Path.replace"])
@pytest.mark.parametrize("room", [0, 2, 5])
def test_a_full_disk_keeps_older_checkpoints(
    room: int, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, first, second = small_trainer(), small_trainer(), small_trainer()
    whole.fit(TRAIN, TEST, EPOCHS)

    def fill(*_: object) -> None:
        if len(steps(tmp_path)) == room:
            monkeypatch.setattr(where, full)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    fill()
    with pytest.raises(gn.CheckpointError, match=r"step-\d+\.safetensors' can't be written: No space left") as failure:
        first.fit(TRAIN, TEST, EPOCHS, checkpoint=Checkpoints(tmp_path, every_steps=3, keep=9), on_batch=fill)
    monkeypatch.undo()

    assert str(tmp_path) in failure.value.message
    kept = steps(tmp_path)
    assert kept == [3, 6, 7, 9, 12][:room]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [".lock", *(f"step-{step:09d}.safetensors" for step in kept)]
    )
    second.fit(TRAIN, TEST, EPOCHS, checkpoint=tmp_path, resume=True)
    assert stored(second) == stored(whole)


def test_the_folder_is_free_after_an_error(tmp_path: Path) -> None:
    trainer = small_trainer()
    with pytest.raises(gn.FeedError):
        trainer.fit((TRAIN[0], TRAIN[1] + 9), TEST, checkpoint=tmp_path)
    with pytest.raises(gn.data.DataError):
        trainer.fit(TRAIN, (TEST[0], TEST[1][:-1]), checkpoint=tmp_path)

    assert len(trainer.fit(TRAIN, TEST, checkpoint=tmp_path)) == 1


def test_two_trainings_do_not_share_a_folder(tmp_path: Path) -> None:
    def second(*_: object) -> None:
        with pytest.raises(gn.CheckpointError, match="another writer has checkpoints there"):
            small_trainer().fit(TRAIN, TEST, checkpoint=tmp_path)

    small_trainer().fit(TRAIN, TEST, checkpoint=tmp_path, on_epoch=second)


def test_a_training_from_the_start_does_not_overwrite_another(tmp_path: Path) -> None:
    trainer = small_trainer()
    small_trainer().fit(TRAIN, TEST, 2, checkpoint=tmp_path)
    before = stored(trainer)

    with pytest.raises(gn.CheckpointError, match=r"has checkpoints of a training(.|\n)*epoch 2(.|\n)*resume=True"):
        trainer.fit(TRAIN, TEST, checkpoint=tmp_path)

    assert stored(trainer) == before
    assert steps(tmp_path) == [7, 14]


@pytest.mark.parametrize(
    ("options", "expected", "actual"),
    [
        ({"batch_size": 5}, "batch_size 4", "batch_size 5"),
        ({"seed": 7}, "seed 2", "seed 7"),
        ({"accumulate": 2}, "accumulate 1", "accumulate 2"),
    ],
)
def test_other_settings_are_refused(options: dict[str, Any], expected: str, actual: str, tmp_path: Path) -> None:
    small_trainer().fit(TRAIN, TEST, checkpoint=tmp_path)

    with pytest.raises(gn.CheckpointError, match=rf"other batches\n  expected: {expected}\n  actual:   {actual}\n"):
        small_trainer(**options).fit(TRAIN, TEST, 2, checkpoint=tmp_path, resume=True)


def test_other_data_are_refused(tmp_path: Path) -> None:
    small_trainer().fit(TRAIN, TEST, checkpoint=tmp_path)

    with pytest.raises(gn.CheckpointError, match=r"expected: examples 26\n  actual:   examples 9\n"):
        small_trainer().fit(TEST, TEST, 2, checkpoint=tmp_path, resume=True)


def test_another_optimizer_is_refused(tmp_path: Path) -> None:
    small_trainer().fit(TRAIN, TEST, checkpoint=tmp_path)
    trainer = small_trainer(optimizer=gn.optim.SGD(0.1, momentum=0.9))

    with pytest.raises(gn.CheckpointError, match=r"sgd\.momentum"):
        trainer.fit(TRAIN, TEST, 2, checkpoint=tmp_path, resume=True)

    assert trainer.history == []


def test_checkpoints_of_others_are_refused(tmp_path: Path) -> None:
    trainer = small_trainer()
    write_checkpoint(tmp_path, trainer.graph, {"epoch": 3}, 3)

    with pytest.raises(gn.CheckpointError, match=r"was not written by a Trainer(.|\n)*a record of epoch"):
        trainer.fit(TRAIN, TEST, checkpoint=tmp_path, resume=True)


def test_resume_needs_a_folder() -> None:
    with pytest.raises(gn.GraphError, match=r"no folder to resume from(.|\n)*checkpoint='checkpoints'"):
        small_trainer().fit(TRAIN, TEST, resume=True)


@pytest.mark.parametrize("options", [{"every_steps": 0}, {"every_seconds": -1.0}, {"monitor": "error"}])
def test_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(gn.GraphError, match=f"Checkpoints: .*{options.get('monitor', next(iter(options)))}"):
        Checkpoints("folder", **options)


def test_the_record_can_be_read(tmp_path: Path) -> None:
    trainer = small_trainer()
    trainer.fit(TRAIN, TEST, checkpoint=tmp_path)
    path = latest_checkpoint(tmp_path)
    assert path is not None

    record = read_checkpoint(path)

    assert record["settings"] == {"examples": 26, "batch_size": 4, "accumulate": 1, "seed": 2}
    assert record["place"] == {"first": 0, "batch": 0, "seconds": 0.0, "steps": 7}
    assert EpochRow(**record["history"][0]) == trainer.history[0]


@pytest.mark.parametrize("phase", ["training", "train figures"])
def test_ctrl_c_waits_for_the_end_of_a_batch(phase: str, tmp_path: Path) -> None:
    heard: list[str] = []

    def on_batch(current: str, done: int, total: int) -> None:
        if current == phase and done == 1:
            os.kill(os.getpid(), signal.SIGINT)
            np.zeros(3).sum()  # some lines in which the signal arrives
            heard.append("still here")

    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background process may ignore it
    try:
        trainer = small_trainer()
        with pytest.raises(KeyboardInterrupt):
            trainer.fit(TRAIN, TEST, checkpoint=tmp_path, on_batch=on_batch)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)

    assert heard == ["still here"]
    assert steps(tmp_path) == [1 if phase == "training" else 7]


def test_a_second_ctrl_c_takes_effect_at_once(tmp_path: Path) -> None:
    heard: list[str] = []

    def on_batch(*batch: object) -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            np.zeros(3).sum()
            heard.append("still here")

    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            small_trainer().fit(TRAIN, TEST, on_batch=on_batch)
    finally:
        signal.signal(signal.SIGINT, before)

    assert heard == ["still here"]
