"""The benchmarks of whole trainings, on one epoch of what is quickest."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import accuracy, full_training
from markdown_tables import table_rows


def fake_history(error: float, epochs: int = 2) -> accuracy.Rows:
    figures = {"train_error": error / 2, "test_error": error, "train_loss": 0.1, "test_loss": 0.2, "seconds": 1.5}
    return [{"epoch": epoch + 1, **figures} for epoch in range(epochs)]


def test_a_training_gives_its_history() -> None:
    rows = accuracy.trained(("pure_linear",), seed=1, epochs=1)
    assert [row["epoch"] for row in rows] == [1]
    assert 0 < rows[0]["test_error"] < 0.2
    assert rows[0]["seconds"] > 0


def test_tables_have_medians_and_each_seed() -> None:
    text = accuracy.model_table({"lenet": [fake_history(error) for error in (0.01, 0.03, 0.02)]})
    (row,) = table_rows(text, "model")
    assert (row["test error %, median"], row["by seed"]) == ("2.00", "1.00, 3.00, 2.00")
    assert (row["epochs"], row["seconds an epoch of training"]) == ("2", "1.50")
    (decay,) = table_rows(accuracy.decay_table({0.001: fake_history(0.04)}), "weight decay")
    assert (decay["weight decay"], decay["training error %"], decay["test error %"]) == ("0.001", "2.00", "4.00")


def test_pictures(tmp_path: Path) -> None:
    models = {name: [fake_history(0.02), fake_history(0.03)] for name in ("mnist_cnn, ReLU", "mnist_cnn, ReLU, Adam")}
    accuracy.draw_optimizers(models, tmp_path / "optimizers.png")
    accuracy.draw_decays({0.0: fake_history(0.02), 0.1: fake_history(0.2)}, tmp_path / "decays.png")
    for path in tmp_path.iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")


def test_times_of_processes(tmp_path: Path) -> None:
    seconds, last = full_training.timed(["python3", "-c", "print(1); print('end')"])
    assert last == "end"
    assert 0 < seconds < 60


def test_pytorch_does_the_same_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(full_training, "BATCH", 6000)  # ten steps
    full_training.train_in_pytorch(1, tmp_path)
    saved = torch.load(tmp_path / "1.pt")
    assert saved["epoch"] == 1
    assert saved["model"]["0.weight"].shape == (6, 1, 5, 5)
