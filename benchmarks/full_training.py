"""A whole training of LeNet, from the program's start to its end: `graphnn train lenet` beside the same in PyTorch.

Both train for 20 epochs at batch 100 with SGD, momentum and a one-cycle schedule, measure loss and error on all 70,000
images after each epoch, and write a checkpoint of weights and optimiser to the disk.

    python -m benchmarks.full_training --epochs 20
    python -m benchmarks.full_training --pytorch --epochs 20   # that part alone, in this process
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.arguments import positive

BATCH, RATE, MOMENTUM = 100, 0.1, 0.9


def lenet() -> Any:
    """Return PyTorch's network, with channels last: the quicker of its layouts here."""
    import torch
    from torch import nn

    network = nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )
    return network.to(memory_format=torch.channels_last)


def train_in_pytorch(epochs: int, folder: Path) -> None:
    """Train, measure and write checkpoints as `graphnn train` does."""
    import torch

    from graphnn.data import mnist

    torch.manual_seed(0)
    data = mnist()
    sets = {
        part: (
            (torch.from_numpy(images.astype("float32")) / 255).contiguous(memory_format=torch.channels_last),
            torch.from_numpy(labels.astype("int64")),
        )
        for part, images, labels in (
            ("train", data.train_images, data.train_labels),
            ("test", data.test_images, data.test_labels),
        )
    }
    network = lenet()
    optimizer = torch.optim.SGD(network.parameters(), RATE, MOMENTUM, fused=True)
    images, labels = sets["train"]
    steps = epochs * (len(labels) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps, cycle_momentum=False)
    loss_of = torch.nn.functional.cross_entropy
    for epoch in range(1, epochs + 1):
        for chosen in torch.randperm(len(labels)).split(BATCH):
            optimizer.zero_grad(set_to_none=True)
            loss_of(network(images[chosen]), labels[chosen]).backward()
            optimizer.step()
            schedule.step()
        figures = {}
        with torch.inference_mode():
            for part, (pictures, classes) in sets.items():
                total, wrong = 0.0, 0
                for start in range(0, len(classes), BATCH):
                    logits, answers = network(pictures[start : start + BATCH]), classes[start : start + BATCH]
                    total += float(loss_of(logits, answers, reduction="sum"))
                    wrong += int((logits.argmax(1) != answers).sum())
                figures[part] = total / len(classes), wrong / len(classes)
        torch.save(
            {"model": network.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}, folder / f"{epoch}.pt"
        )
        print(epoch, *(f"{part}: loss {loss:.4f}, error {error:.4f}" for part, (loss, error) in figures.items()))


def timed(command: Sequence[str]) -> tuple[float, str]:
    """Return the seconds that a process took, and its last line."""
    started = time.perf_counter()
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed: {done.stderr}")
    return time.perf_counter() - started, done.stdout.strip().splitlines()[-1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both, one after the other, and print times and last figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=positive, default=20)
    parser.add_argument("--pytorch", action="store_true", help="run PyTorch's part in this process")
    parser.add_argument("--folder", type=Path, help="for the checkpoints of --pytorch; by default a temporary one")
    options = parser.parse_args(arguments)
    epochs = str(options.epochs)
    with tempfile.TemporaryDirectory() as folder:
        if options.pytorch:
            train_in_pytorch(options.epochs, options.folder or Path(folder))
            return 0
        ours = [sys.executable, "-m", "graphnn", "train", "lenet", "--epochs", epochs, "--checkpoint", folder]
        theirs = [sys.executable, "-m", "benchmarks.full_training", "--pytorch", "--epochs", epochs]
        times = {}
        for name, command in (("graphnn", ours), ("PyTorch", theirs)):
            times[name], last = timed(command)
            print(f"{name}: {times[name]:.1f} s; {last}")
    print(f"{times['PyTorch'] / times['graphnn']:.1f} times faster")
    return 0


if __name__ == "__main__":
    sys.exit(main())
