"""A training that is killed again and again, and resumed each time, ends with the weights of one that never was."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")

ROOT = Path(__file__).resolve().parents[2]

# Everything that keeps a state: an optimiser's, averages, sums of gradients, random numbers of the graph and the data.
TRAINING = """
import sys
import numpy as np
import graphnn as gn
from graphnn.data.transforms import Compose, RandomCrop, RandomHorizontalFlip

with gn.Graph(seed=0) as graph:
    images = gn.placeholder("images", (None, 1, 8, 8), "uint8")
    labels = gn.placeholder("labels", (None,), "int32")
    hidden = gn.nn.ReLU()(gn.nn.Linear(64, 32)(gn.models.Pixels()(images).flatten(1)))
    logits = gn.nn.Linear(32, 4)(gn.nn.Dropout(0.2)(hidden))
    loss = gn.ops.cross_entropy(logits, labels)
generator = np.random.default_rng(0)
data = generator.integers(0, 256, (205, 1, 8, 8), np.uint8), generator.integers(0, 4, 205).astype(np.int32)
trainer = gn.Trainer(
    loss, logits, inputs=images, labels=labels, batch_size=10, accumulate=2, seed=1, threads=1,
    optimizer=gn.optim.Adam(gn.optim.schedules.one_cycle(0.02, 132), clip_norm=1.0),
    average=gn.optim.WeightAverage(0.9),
    transform=Compose([RandomCrop(8, padding=1), RandomHorizontalFlip()]), data_threads=2,
)
folder, weights, every = sys.argv[1:]
trainer.fit(
    data, data, 12, on_batch=lambda *batch: print(*batch, flush=True),
    checkpoint=gn.trainer.Checkpoints(folder, every_steps=int(every)), resume=True,
)
gn.save(graph, weights)
trainer.save_history(weights + ".json")
"""


def start(folder: Path, weights: Path, every: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", TRAINING, str(folder), str(weights), str(every)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )


def complete(folder: Path, weights: Path, every: int) -> int:
    """Train to the end and return how many batches of training that took."""
    process = start(folder, weights, every)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return output.count("training")


def figures(weights: Path) -> list[dict[str, float]]:
    rows: list[dict[str, float]] = json.loads(Path(f"{weights}.json").read_text())
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def kill_at_random_moments(kills: int, seed: int, folder: Path) -> None:
    whole, pieces = folder / "whole.safetensors", folder / "pieces.safetensors"
    assert complete(folder / "reference", whole, every=1000) == 12 * 21
    generator = random.Random(seed)
    for _ in range(kills):
        process = start(folder / "checkpoints", pieces, every=3)
        assert process.stdout is not None
        for _ in range(generator.randrange(1, 200 // kills)):
            assert process.stdout.readline()
        time.sleep(generator.uniform(0, 0.003))
        process.kill()
        process.communicate()
        assert process.returncode == -9
    assert not pieces.exists()

    assert complete(folder / "checkpoints", pieces, every=3) < 12 * 21  # it did go on from somewhere

    assert pieces.read_bytes() == whole.read_bytes()
    assert figures(pieces) == figures(whole)
    left = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert [name for name in left if not name.startswith("step-")] == [".lock"]


def test_five_kills(tmp_path: Path) -> None:
    kill_at_random_moments(5, seed=0, folder=tmp_path)


@pytest.mark.full
def test_twenty_kills(tmp_path: Path) -> None:
    kill_at_random_moments(20, seed=1, folder=tmp_path)
