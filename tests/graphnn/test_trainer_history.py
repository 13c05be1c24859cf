from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path

import pytest

import graphnn as gn
from graphnn.trainer import EpochRow, save_history
from small_training import TEST, TRAIN, small_trainer

ROWS = [EpochRow(1, 0.1, 0.25, 1 / 3, 0.5, 2.5), EpochRow(2, float("nan"), 0.9, float("inf"), 0.9, 2.0)]


def test_csv(tmp_path: Path) -> None:
    save_history(ROWS, tmp_path / "history.csv")

    with (tmp_path / "history.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert {name: float(value) for name, value in table[0].items()} == asdict(ROWS[0])
    assert (table[1]["train_loss"], table[1]["test_loss"]) == ("nan", "inf")


def test_json(tmp_path: Path) -> None:
    save_history(ROWS, tmp_path / "history.JSON")

    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is no JSON")

    first, second = json.loads((tmp_path / "history.JSON").read_text(), parse_constant=refuse)
    assert first == asdict(ROWS[0])
    assert (second["train_loss"], second["test_loss"], second["epoch"]) == (None, None, 2)


@pytest.mark.parametrize(("suffix", "content"), [("csv", "epoch,train_loss"), ("json", "[]")])
def test_no_epochs(suffix: str, content: str, tmp_path: Path) -> None:
    small_trainer().save_history(tmp_path / f"history.{suffix}")

    assert (tmp_path / f"history.{suffix}").read_text().startswith(content)


def test_trainer_writes_its_history_and_curves(tmp_path: Path) -> None:
    trainer = small_trainer()
    trainer.fit(TRAIN, TEST, 2)

    trainer.save_history(tmp_path / "history.json")
    trainer.save_curves(tmp_path / "curves.png")

    assert [EpochRow(**row) for row in json.loads((tmp_path / "history.json").read_text())] == trainer.history
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_other_suffixes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(gn.GraphError, match=r"expected: \.csv or \.json"):
        save_history(ROWS, tmp_path / "history.txt")

    assert not list(tmp_path.iterdir())
