from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

import graphnn as gn
from graphnn.cli import recipes
from graphnn.cli.options import OPTIMIZERS
from graphnn.trainer.table import HEADER

Command = Callable[..., Result]


def train(run: Command, digits: Path, *options: str | float | Path) -> Result:
    return run("train", "pure_linear", "--epochs", 2, "--device", "numpy", "--data", digits, *options)


def table(result: Result) -> list[list[str]]:
    """Return the figures of the table, without the times."""
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    return [line.split()[:-1] for line in lines[lines.index(HEADER) + 1 :]]


def by_hand(digits: Path, optimizer: gn.optim.Optimizer, epochs: int = 2, **options: Any) -> gn.Trainer:
    with gn.Graph(seed=0):
        images = gn.placeholder("images", (None, 1, 28, 28), "uint8")
        labels = gn.placeholder("labels", (None,), "int32")
        logits = gn.models.pure_linear()(images)
        loss = gn.ops.cross_entropy(logits, labels)
    settings = {"optimizer": optimizer, "device": "numpy", **options}
    trainer = gn.Trainer(loss, logits, inputs=images, labels=labels, **settings)
    data = gn.data.mnist(digits)
    trainer.fit((data.train_images, data.train_labels), (data.test_images, data.test_labels), epochs)
    return trainer


def losses(trainer: gn.Trainer) -> list[str]:
    return [f"{row.train_loss:.5f}" for row in trainer.history]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_trains(optimizer: str, run: Command, digits: Path) -> None:
    result = train(run, digits, "--optimizer", optimizer, "--batch-size", 50)

    first, second = (float(row[1]) for row in table(result))
    assert second < first < 2.3  # what a network without a clue has


def test_options_reach_the_optimizer(run: Command, digits: Path) -> None:
    options = ("--momentum", 0.5, "--weight-decay", 0.01, "--clip-norm", 0.7, "--lr", 0.2, "--schedule", "constant")

    result = train(run, digits, *options)

    constant = gn.optim.schedules.constant(0.2)
    sgd = gn.optim.SGD(constant, momentum=0.5, weight_decay=0.01, clip_norm=0.7)
    assert [row[1] for row in table(result)] == losses(by_hand(digits, sgd))


@pytest.mark.parametrize(
    ("optimizer", "option"), [("adam", "--momentum"), ("lion", "--momentum"), ("hessian-free", "--momentum")]
)
def test_options_that_an_optimizer_has_not(optimizer: str, option: str, run: Command, digits: Path) -> None:
    result = train(run, digits, "--optimizer", optimizer, option, 0.5)

    assert result.exit_code == 2
    assert f"--optimizer {optimizer} has no {option}" in result.stderr


def test_hessian_free_says_what_it_does_not_take(run: Command, digits: Path) -> None:
    result = train(run, digits, "--optimizer", "hessian-free", "--weight-decay", 0.1)

    assert result.exit_code == 1
    assert "HessianFree: it has no weight_decay" in result.stderr


def test_muon_leaves_vectors_to_adamw() -> None:
    muon = recipes.make_optimizer("muon", "constant", 0.02, 10)
    with gn.Graph() as graph:
        y = gn.nn.Linear(3, 2)(gn.placeholder("x", (None, 3)))
        muon.minimize((y * y).mean())

    assert {"muon.momentum.linear.weight", "muon.exp_avg.linear.bias"} <= graph.variables.keys()


def test_accumulate_is_a_larger_batch(run: Command, digits: Path) -> None:
    several = train(run, digits, "--batch", 25, "--accumulate", 4)
    one = train(run, digits, "--batch-size", 100)

    assert "batch 4 × 25," in several.stdout
    for row, expected in zip(table(several), table(one), strict=True):
        assert [float(value) for value in row] == pytest.approx([float(value) for value in expected], abs=2e-4)


def test_average_is_measured_and_saved(run: Command, digits: Path, tmp_path: Path) -> None:
    path = tmp_path / "average.safetensors"

    result = train(run, digits, "--average", 0.7, "--save", path)

    trainer = by_hand(digits, recipes.make_optimizer("sgd", "one-cycle", 0.1, 8), average=gn.optim.WeightAverage(0.7))
    assert [row[1] for row in table(result)] == losses(trainer)
    assert f"weights: {path}\n" in result.stderr
    expected = {name: trainer.graph.get_value(f"weightaverage.average.{name}") for name in ("fc1.weight", "fc2.bias")}
    gn.load(trainer.graph, path)
    for name, value in expected.items():
        np.testing.assert_array_equal(trainer.graph.get_value(name), value)


def test_augment_changes_what_is_trained_on(run: Command, digits: Path) -> None:
    from graphnn.data.transforms import Compose, Cutout, RandomCrop, RandomHorizontalFlip

    changed = train(run, digits, "--augment", "crop,flip,cutout")

    transform = Compose([RandomCrop(28, padding=3), RandomHorizontalFlip(), Cutout(7)])
    trainer = by_hand(digits, recipes.make_optimizer("sgd", "one-cycle", 0.1, 8), transform=transform)
    assert [row[1] for row in table(changed)] == losses(trainer)
    assert table(changed) != table(train(run, digits))


def test_history(run: Command, digits: Path, tmp_path: Path) -> None:
    results = [train(run, digits, "--history", tmp_path / name) for name in ("history.csv", "history.json")]

    for result, name in zip(results, ("history.csv", "history.json"), strict=True):
        assert f"history: {tmp_path / name}\n" in result.stderr

    shown = [float(row[1]) for row in table(results[0])]
    with (tmp_path / "history.csv").open(newline="") as file:
        assert [float(row["train_loss"]) for row in csv.DictReader(file)] == pytest.approx(shown, abs=1e-5)
    rows = json.loads((tmp_path / "history.json").read_text())
    assert [row["train_loss"] for row in rows] == pytest.approx(shown, abs=1e-5)


def test_curves_is_another_name_of_plot(run: Command, digits: Path, tmp_path: Path) -> None:
    train(run, digits, "--curves", tmp_path / "curves.png")

    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("option", "name"),
    [("--save", "weights.bin"), ("--save", "missing/w.safetensors"), ("--history", "h.txt"), ("--history", "a/h.csv")],
)
def test_files_that_cannot_be_written_are_refused_at_once(
    option: str, name: str, run: Command, digits: Path, tmp_path: Path
) -> None:
    result = train(run, digits, option, tmp_path / name)

    assert result.exit_code == 1
    assert result.stdout == ""
    assert "can't be written" in result.stderr
    assert not list(tmp_path.iterdir())


def test_resume_goes_on(run: Command, digits: Path, tmp_path: Path) -> None:
    folder, whole, parts = tmp_path / "checkpoints", tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    options = ("--schedule", "constant", "--optimizer", "adam")

    expected = train(run, digits, *options, "--save", whole)
    first = train(run, digits, *options, "--checkpoint", folder, "--epochs", 1, "--checkpoint-every", 2)
    second = train(run, digits, *options, "--checkpoint", folder, "--resume", "--save", parts)

    assert table(first) == table(expected)[:1]
    assert table(second) == table(expected)
    assert parts.read_bytes() == whole.read_bytes()


def test_another_training_in_the_folder_is_refused(run: Command, digits: Path, tmp_path: Path) -> None:
    train(run, digits, "--checkpoint", tmp_path)

    result = train(run, digits, "--checkpoint", tmp_path)

    assert result.exit_code == 1
    assert "has checkpoints of a training" in result.stderr
    assert "--resume" in result.stderr


@pytest.mark.parametrize("option", [["--resume"], ["--checkpoint-every", "5"]])
def test_checkpoint_options_need_a_folder(option: list[str], run: Command, digits: Path) -> None:
    result = train(run, digits, *option)

    assert result.exit_code == 2
    assert "--checkpoint FOLDER" in result.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("500", {"every_steps": 500}),
        ("30s", {"every_seconds": 30}),
        ("1.5min", {"every_seconds": 90}),
        ("2h", {"every_seconds": 7200}),
    ],
)
def test_checkpoint_every(text: str, expected: dict[str, float]) -> None:
    from graphnn.cli.train import train as command

    context = command.make_context("train", ["lenet", "--checkpoint-every", text])

    assert context.params["checkpoint_every"] == expected


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--checkpoint-every", "often"], "'often' is neither a number of steps, such as 500, nor a time"),
        (["--checkpoint-every", "0"], "'0' is neither"),
        (["--checkpoint-every", "1.5"], "'1.5' is neither"),
        (["--checkpoint-every", "0s"], "'0s' is neither"),
        (["--augment", "crop,spin"], r"there is no 'spin'\. There are: crop, flip, cutout"),
        (["--average", "1"], "'--average'"),
        (["--accumulate", "0"], "'--accumulate'"),
        (["--clip-norm", "0"], "'--clip-norm'"),
        (["--clip-norm", "inf"], "inf is no number"),
        (["--weight-decay", "-1"], "'--weight-decay'"),
        (["--momentum", "nan"], "nan is no number"),
        (["--threads", "0"], "'--threads'"),
    ],
)
def test_wrong_use(options: list[str], reason: str, run: Command, digits: Path) -> None:
    result = train(run, digits, *options)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert re.search(reason, " ".join(result.stderr.split())), result.stderr
