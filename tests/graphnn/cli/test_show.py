import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

Command = Callable[..., Result]


def nodes(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8"))["nodes"]


@pytest.mark.parametrize("suffix", [".dot", ".json"])
def test_writes_the_graph(suffix: str, run: Command, tmp_path: Path) -> None:
    path = tmp_path / f"lenet{suffix}"

    result = run("show", "lenet", "--out", path)

    assert (result.exit_code, result.stdout, result.stderr) == (0, "", f"written: {path}\n")
    text = path.read_text(encoding="utf-8")
    assert "conv1.weight" in text
    assert "sgd" not in text
    assert list(tmp_path.iterdir()) == [path]


def test_training_adds_gradients_and_updates(run: Command, tmp_path: Path) -> None:
    plain, training = tmp_path / "plain.json", tmp_path / "training.json"

    run("show", "pure_linear", "--out", plain)
    run("show", "pure_linear", "--training", "--optimizer", "adam", "--out", training)

    kinds = [{entry["kind"] for entry in nodes(path)} for path in (plain, training)]
    assert kinds == [
        {"placeholder", "variable", "constant", "op"},
        {"placeholder", "variable", "constant", "op", "gradient", "update"},
    ]
    assert any(entry["name"].startswith("adam.") for entry in nodes(training))


def test_compiled_shows_the_plan(run: Command, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"

    result = run("show", "pure_linear", "--compiled", "--training", "--batch", 7, "--out", path)

    assert result.exit_code == 0, result.output
    data = json.loads(path.read_text(encoding="utf-8"))
    assert data["shows"] == "plan"
    assert data["plan"]["max_batch"] == 7
    assert any(entry["kind"] == "update" for entry in data["nodes"])


@pytest.mark.parametrize(
    ("name", "reason"),
    [("graph.svg", "expected: .dot or .json"), ("missing/graph.dot", "can't be written: No such file or directory")],
)
def test_what_cannot_be_written(name: str, reason: str, run: Command, tmp_path: Path) -> None:
    result = run("show", "pure_linear", "--out", tmp_path / name)

    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert reason in result.stderr
    assert "  at:" not in result.stderr  # the line would be one of the command line's own
    assert not list(tmp_path.iterdir())


def test_needs_a_file(run: Command) -> None:
    result = run("show", "pure_linear")

    assert result.exit_code == 2
    assert "Missing option '--out'" in result.stderr
