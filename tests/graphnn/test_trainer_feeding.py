"""A trainer on a device with memory of its own: its data stays there where it can, and the course is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from cuda_devices import DEVICES
from graphnn.resident import Resident
from graphnn.trainer import feeding
from small_training import TEST, TRAIN, figures, small_trainer


class Runs:
    """How many runs took rows of resident data, and how many were fed."""

    def __init__(self) -> None:
        self.resident = self.fed = 0


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    counts = Runs()
    run, run_resident = gn.Executor.run, gn.Executor.run_resident

    def counted(executor: gn.Executor, *arguments: Any) -> Any:
        counts.fed += 1
        return run(executor, *arguments)

    def counted_resident(executor: gn.Executor, *arguments: Any) -> Any:
        counts.resident += 1
        return run_resident(executor, *arguments)

    monkeypatch.setattr(gn.Executor, "run", counted)
    monkeypatch.setattr(gn.Executor, "run_resident", counted_resident)
    return counts


def course(device: str, epochs: int = 3, **options: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the figures of a training, and the variables after it."""
    trainer = small_trainer(device=device, evaluation_batch_size=10, **options)
    trainer.fit(TRAIN, TEST, epochs)
    return np.array(figures(trainer)), {name: trainer.graph.get_value(name) for name in trainer.graph.variables}


def assert_same_course(device: str, **options: Any) -> None:
    found, values = course(device, **options)
    expected, wanted = course("numpy", **options)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    for name, value in values.items():
        np.testing.assert_allclose(value, wanted[name], rtol=1e-3, atol=1e-5, err_msg=name)


TRAINING, EVALUATION = 3 * 7, 3 * (3 + 1)
"""Runs of three epochs: batches of 4 from 26 examples; of 10, from these and from 9 more."""


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_examples_stay_on_the_device(device: str, dropout: float, runs: Runs) -> None:
    course(device, dropout=dropout)
    assert (runs.resident, runs.fed) == (TRAINING + EVALUATION, 0)
    assert_same_course(device, dropout=dropout)


@pytest.mark.parametrize("device", DEVICES)
def test_batches_that_are_transformed_are_fed(device: str, runs: Runs) -> None:
    def noisy(points: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        return (points + generator.normal(size=points.shape)).astype(np.float32)

    course(device, transform=noisy)
    assert (runs.resident, runs.fed) == (EVALUATION, TRAINING)
    assert_same_course(device, transform=noisy)


@pytest.mark.parametrize("device", DEVICES)
def test_batches_of_several_plans_are_fed(device: str, runs: Runs) -> None:
    course(device, accumulate=3)
    assert (runs.resident, runs.fed) == (EVALUATION, TRAINING)
    assert_same_course(device, accumulate=3)


@pytest.mark.parametrize("device", DEVICES)
def test_placeholders_of_one_batch_size_are_fed(device: str, runs: Runs) -> None:
    found = []
    for each in (device, "numpy"):
        with gn.Graph(seed=5):
            points, kinds = gn.placeholder("points", (4, 4)), gn.placeholder("kinds", (4,), "int32")
            logits = gn.nn.Linear(4, 3)(points)
            loss = gn.ops.cross_entropy(logits, kinds)
        settings = {"optimizer": gn.optim.SGD(0.1), "batch_size": 4, "evaluation_batch_size": 4, "device": each}
        trainer = gn.Trainer(loss, logits, inputs=points, labels=kinds, **settings)  # type: ignore[arg-type]  # as given
        trainer.fit((TRAIN[0][:24], TRAIN[1][:24]), (TEST[0][:8], TEST[1][:8]), 2)
        found.append(figures(trainer))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)
    assert runs.resident == 0


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("stop", [1, 4, 7])
def test_an_epoch_goes_on_after_an_interrupt(device: str, stop: int, tmp_path: Path, runs: Runs) -> None:
    """After some batches or after all of them, when the measuring is left."""

    def interrupt(phase: str, done: int, total: int) -> None:
        if (phase, done) == ("training", stop):
            raise KeyboardInterrupt

    first = small_trainer(device=device, evaluation_batch_size=10)
    with pytest.raises(KeyboardInterrupt):
        first.fit(TRAIN, TEST, 2, on_batch=interrupt, checkpoint=tmp_path)
    assert runs.resident == stop
    second = small_trainer(device=device, evaluation_batch_size=10)
    second.fit(TRAIN, TEST, 2, checkpoint=tmp_path, resume=True)
    whole, values = course(device, epochs=2)
    np.testing.assert_array_equal(figures(second), whole)  # to the bit
    for name, value in values.items():
        np.testing.assert_array_equal(second.graph.get_value(name), value, name)


@pytest.mark.parametrize("device", DEVICES)
def test_measuring_in_the_middle_of_an_epoch_does_not_disturb_it(device: str) -> None:
    plain, _ = course(device)
    trainer = small_trainer(device=device, evaluation_batch_size=10)
    seen = []

    def measure(phase: str, done: int, total: int) -> None:
        if phase == "training":
            seen.append(trainer.evaluate(*TRAIN))

    trainer.fit(TRAIN, TEST, 3, on_batch=measure)
    np.testing.assert_array_equal(figures(trainer), plain)
    np.testing.assert_allclose(seen[6], plain[0, 1:3])
    assert len({loss for loss, _ in seen}) == TRAINING


@pytest.mark.parametrize("device", DEVICES)
def test_data_sets_are_kept_for_the_next_epoch_and_not_for_ever(
    device: str, monkeypatch: pytest.MonkeyPatch, runs: Runs
) -> None:
    made: list[Resident] = []
    make = gn.Executor.resident

    def noted(executor: gn.Executor, *arguments: Any) -> Resident:
        made.append(make(executor, *arguments))
        return made[-1]

    monkeypatch.setattr(gn.Executor, "resident", noted)
    monkeypatch.setattr(feeding, "KEPT", 4)
    trainer = small_trainer(device=device, evaluation_batch_size=10)
    trainer.fit(TRAIN, TEST, 2)
    assert len(made) == 3  # the training plan's, and two of the one that measures
    figures_before = trainer.evaluate(*TEST)
    for number in range(3, 9):  # copies, whose identities may be used again
        losses = [trainer.evaluate(TEST[0][:number].copy(), TEST[1][:number].copy()) for _ in range(2)]
        assert losses[0] == losses[1]
    assert len(trainer._feeding._residents) == 4
    assert trainer.evaluate(*TEST) == figures_before
    assert runs.fed == 0


@pytest.mark.parametrize("device", DEVICES)
def test_a_learning_rate_is_found_and_leaves_no_trace(device: str) -> None:
    found = []
    for each in (device, "numpy"):
        trainer = small_trainer(device=each, optimizer=gn.optim.SGD(0.1))
        trainer.fit(TRAIN, TEST, 1)
        before = {name: trainer.graph.get_value(name) for name in trainer.graph.variables}
        curve = trainer.find_learning_rate(TRAIN, 1e-3, 1.0, steps=12)
        for name, value in before.items():
            np.testing.assert_array_equal(trainer.graph.get_value(name), value)
        found.append(np.array(curve.losses))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3)


@pytest.mark.parametrize("device", DEVICES)
def test_averages_are_measured_and_saved(device: str, tmp_path: Path) -> None:
    found = []
    for each in (device, "numpy"):
        trainer = small_trainer(device=each, average=gn.optim.WeightAverage(0.8), evaluation_batch_size=10)
        trainer.fit(TRAIN, TEST, 2)
        trainer.save(tmp_path / f"{each}.safetensors")
        trainer.fit(TRAIN, TEST, 1)
        found.append(np.array(figures(trainer)))
        gn.load(trainer.graph, tmp_path / f"{each}.safetensors")
        found[-1] = np.append(found[-1], trainer.graph.get_value("last.weight"))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3)
