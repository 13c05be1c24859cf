"""A training of a few milliseconds: a small network, 26 examples of three classes to train on and 9 to test on."""

from __future__ import annotations

from typing import Any

import numpy as np

import graphnn as gn

CLASSES = 3
_random = np.random.default_rng(3)
POINTS = _random.standard_normal((35, 4)).astype(np.float32)
KINDS = _random.integers(0, CLASSES, 35).astype(np.int32)
TRAIN = POINTS[:26], KINDS[:26]
TEST = POINTS[26:], KINDS[26:]


def small_trainer(*, dropout: float = 0.0, **options: Any) -> gn.Trainer:
    """Return a trainer, by default of batches of 4 with Adam on NumPy."""
    with gn.Graph(seed=5):
        points = gn.placeholder("points", (None, 4))
        kinds = gn.placeholder("kinds", (None,), "int32")
        hidden = gn.ops.tanh(gn.nn.Linear(4, 6, name="hidden")(points))
        hidden = gn.nn.Dropout(dropout)(hidden) if dropout else hidden
        logits = gn.nn.Linear(6, CLASSES, name="last")(hidden)
        loss = gn.ops.cross_entropy(logits, kinds)
    settings = {"optimizer": gn.optim.Adam(0.01), "batch_size": 4, "device": "numpy", "seed": 2, **options}
    return gn.Trainer(loss, logits, inputs=points, labels=kinds, **settings)


def stored(trainer: gn.Trainer) -> dict[str, bytes]:
    """Return the bytes of all variables."""
    return {name: trainer.graph.store.read(name).tobytes() for name in trainer.graph.variables}


def figures(trainer: gn.Trainer) -> list[tuple[float, ...]]:
    """Return the rows of the history without their times."""
    return [(row.epoch, row.train_loss, row.train_error, row.test_loss, row.test_error) for row in trainer.history]
