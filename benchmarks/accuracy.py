"""What the models learn: `graphnn train` as users call it, for several seeds, and what an option changes.

    python -m benchmarks.accuracy --out accuracy.md --pictures docs/images

The first table has the models with the command's defaults; the second one optimizer beside another; the third SGD with
weight decays from none to far too much. Pictures need matplotlib.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.arguments import positive
from benchmarks.report import table
from benchmarks.timing import machine

Rows = list[dict[str, Any]]
"""A training's history: a row an epoch."""

MODELS = {
    "pure_linear": ("pure_linear",),
    "simple_conv": ("simple_conv",),
    "lenet": ("lenet",),
    "mnist_cnn, sigmoid": ("mnist_cnn", "--activation", "sigmoid"),
    "mnist_cnn, ReLU": ("mnist_cnn",),
    "mnist_cnn, ReLU, Adam": ("mnist_cnn", "--optimizer", "adam"),
}
DECAYS = (0.0, 1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)


def trained(arguments: Sequence[str], seed: int, epochs: int | None) -> Rows:
    """Train in a process of its own; return the history."""
    with tempfile.TemporaryDirectory() as folder:
        history = Path(folder) / "history.json"
        command = [sys.executable, "-m", "graphnn", "train", *arguments, "--seed", str(seed), "--history", str(history)]
        if epochs is not None:
            command += ["--epochs", str(epochs)]
        print("graphnn", *command[3:-2], file=sys.stderr)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        rows: Rows = json.loads(history.read_text(encoding="utf-8"))
        return rows


def percent(fraction: float) -> str:
    """Return a fraction as a percentage."""
    return f"{100 * fraction:.2f}"


def model_table(found: dict[str, list[Rows]]) -> str:
    """Return the errors and times of the models."""
    rows = []
    for name, trainings in found.items():
        last = [training[-1] for training in trainings]
        errors = [row["test_error"] for row in last]
        seconds = [row["seconds"] for training in trainings for row in training]
        rows.append(
            (
                name,
                str(len(trainings[0])),
                percent(statistics.median(errors)),
                ", ".join(map(percent, errors)),
                percent(statistics.median(row["train_error"] for row in last)),
                f"{statistics.median(seconds):.2f}",
            )
        )
    heads = ("model", "epochs", "test error %, median", "by seed", "training error %", "seconds an epoch of training")
    return table(heads, rows)


def decay_table(found: dict[float, Rows]) -> str:
    """Return what each weight decay came to."""
    rows = [
        (
            f"{decay:g}",
            *(percent(training[-1][f"{part}_error"]) for part in ("train", "test")),
            *(f"{training[-1][f'{part}_loss']:.4f}" for part in ("train", "test")),
        )
        for decay, training in found.items()
    ]
    return table(("weight decay", "training error %", "test error %", "training loss", "test loss"), rows)


def draw_optimizers(found: dict[str, list[Rows]], path: Path) -> None:
    """Draw the test errors of two optimizers by epoch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, label in (("mnist_cnn, ReLU", "SGD, momentum 0.9"), ("mnist_cnn, ReLU, Adam", "Adam")):
        for number, training in enumerate(found[name]):
            epochs = [row["epoch"] for row in training]
            color = "C0" if label.startswith("SGD") else "C1"
            axes.plot(
                epochs,
                [100 * row["test_error"] for row in training],
                color=color,
                label=label if number == 0 else None,
            )
    axes.set(xlabel="epoch", ylabel="test error, %", title="mnist_cnn, batch 16, one-cycle schedule", yscale="log")
    axes.legend()
    figure.savefig(path, dpi=120, metadata={"Software": None})


def draw_decays(found: dict[float, Rows], path: Path) -> None:
    """Draw training and test errors by weight decay."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    names = [f"{decay:g}" for decay in found]
    for part, label in (("train", "training images"), ("test", "test images")):
        axes.plot(names, [100 * training[-1][f"{part}_error"] for training in found.values()], "o-", label=label)
    axes.set(xlabel="weight decay", ylabel="error, %", title="pure_linear, SGD: from no to too much regularisation")
    axes.legend()
    figure.savefig(path, dpi=120, metadata={"Software": None})


def main(arguments: Sequence[str] | None = None) -> int:
    """Train everything, print the report and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=positive, default=3)
    parser.add_argument("--epochs", type=positive, help="instead of each model's own")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), metavar="MODEL")
    parser.add_argument("--decays", nargs="*", type=float, default=list(DECAYS), metavar="DECAY")
    parser.add_argument("--out", type=Path, help="a file for the report, besides standard output")
    parser.add_argument("--pictures", type=Path, help="a folder for two pictures")
    options = parser.parse_args(arguments)
    models = {
        name: [trained(MODELS[name], seed, options.epochs) for seed in range(options.seeds)] for name in options.models
    }
    decays = {
        decay: trained(("pure_linear", "--weight-decay", str(decay)), 0, options.epochs) for decay in options.decays
    }
    parts = [
        "# What the models learn",
        f"- {datetime.datetime.now(datetime.UTC).date()}\n- {machine()}",
        "## Models",
        model_table(models),
    ]
    if decays:
        parts += ["## Weight decay: pure_linear, SGD with momentum 0.9", decay_table(decays)]
    text = "\n\n".join(parts) + "\n"
    print(text)
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")
    if options.pictures is not None:
        options.pictures.mkdir(parents=True, exist_ok=True)
        draw_optimizers(models, options.pictures / "adam-against-sgd.png")
        draw_decays(decays, options.pictures / "weight-decay.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
