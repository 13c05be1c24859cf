from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphnn as gn
from graphnn.trainer import LearningRateCurve
from small_training import TEST, TRAIN, small_trainer, stored

TRAINERS: dict[str, dict[str, Any]] = {
    "plain": {"optimizer": lambda: gn.optim.SGD(0.1)},
    "schedule": {"optimizer": lambda: gn.optim.Adam(gn.optim.schedules.one_cycle(0.1, 50)), "dropout": 0.2},
    "accumulate": {"optimizer": lambda: gn.optim.SGD(0.1, momentum=0.9), "accumulate": 3},
}


@pytest.mark.parametrize("kind", TRAINERS)
@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_leaves_everything_as_it_was(kind: str, device: str) -> None:
    options = TRAINERS[kind] | {"optimizer": TRAINERS[kind]["optimizer"](), "device": device, "threads": 1}
    trainer, other = (small_trainer(**options | {"optimizer": TRAINERS[kind]["optimizer"]()}) for _ in range(2))
    trainer.fit(TRAIN, TEST)
    other.fit(TRAIN, TEST)
    before = stored(trainer)

    trainer.find_learning_rate(TRAIN, 1e-3, 1.0, steps=20)

    assert stored(trainer) == before
    assert trainer.graph.variables.keys() == other.graph.variables.keys()  # a checkpoint fits as it did
    assert trainer.fit(TRAIN, TEST)[0].train_loss == other.fit(TRAIN, TEST)[0].train_loss


def test_trains_with_growing_rates() -> None:
    trainer, by_hand = small_trainer(optimizer=gn.optim.SGD(99.0)), small_trainer(optimizer=gn.optim.SGD(99.0))

    curve = trainer.find_learning_rate(TRAIN, 0.01, 0.04, steps=3)

    assert curve.rates == pytest.approx((0.01, 0.02, 0.04))
    graph = by_hand.graph
    with graph:
        names = [name for name, node in graph.variables.items() if node.op.trainable]  # type: ignore[attr-defined]
        slopes = gn.gradients(by_hand.loss, [graph[name] for name in names])
    executor = gn.Executor([by_hand.loss, *slopes], device="numpy", max_batch=4)
    losses = []
    batches = gn.data.Batches(*TRAIN, batch_size=4, seed=2)
    for rate, (points, kinds) in zip(curve.rates, batches, strict=False):
        loss, *found = executor.run({by_hand.inputs: points, by_hand.labels: kinds})
        losses.append(float(loss))
        for name, slope in zip(names, found, strict=True):
            graph.set_value(name, graph.get_value(name) - np.float32(rate) * slope)
    assert curve.losses == pytest.approx(losses, rel=1e-5)


def test_more_steps_than_batches_go_through_the_data_again() -> None:
    assert len(small_trainer().find_learning_rate(TRAIN, 1e-6, 1e-5, steps=30).losses) == 30


def test_ends_where_the_loss_diverges() -> None:
    trainer = small_trainer(optimizer=gn.optim.SGD(0.1))

    curve = trainer.find_learning_rate(TRAIN, 1e-2, 1e6, steps=60)

    assert len(curve.rates) == len(curve.losses) < 60
    assert np.isfinite(curve.losses).all()
    assert curve.losses[-1] > curve.losses[0]


def test_suggests_where_the_loss_falls_most() -> None:
    rates = tuple(np.geomspace(1e-4, 1.0, 41))
    losses = tuple(1 / (1 + np.exp(3 * (np.log10(rates) + 2))))  # steepest at 0.01

    curve = LearningRateCurve(rates, losses)

    assert 0.01 <= curve.suggestion < 0.1  # smoothing comes late
    assert curve.smoothed[0] == pytest.approx(losses[0])


def test_a_single_loss_suggests_its_rate() -> None:
    assert LearningRateCurve((0.1,), (2.0,)).suggestion == 0.1


@pytest.mark.parametrize(
    "options", [{"lowest": 0.0}, {"lowest": 1.0, "highest": 0.1}, {"highest": float("inf")}, {"steps": 1}]
)
def test_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(gn.GraphError, match="find_learning_rate: a number is out of its range"):
        small_trainer().find_learning_rate(TRAIN, **options)


def test_restores_after_an_error() -> None:
    trainer = small_trainer()
    before = stored(trainer)

    with pytest.raises(gn.FeedError):
        trainer.find_learning_rate((TRAIN[0], TRAIN[1] + 1))

    assert stored(trainer) == before
