from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from graphnn.trainer.accumulation import Accumulation
from small_training import TEST, TRAIN, small_trainer

OPTIMIZERS: dict[str, Callable[[], gn.optim.Optimizer]] = {
    "sgd": lambda: gn.optim.SGD(0.5, momentum=0.9, weight_decay=0.01),
    "adam": lambda: gn.optim.Adam(gn.optim.schedules.cosine(0.05, 9)),
    "clipped": lambda: gn.optim.SGD(0.5, clip_norm=0.1),
    "groups": lambda: gn.optim.SGD(0.5, groups=[{"params": ["last.bias"], "optimizer": gn.optim.AdamW(0.01)}]),
}


def weights(trainer: gn.Trainer) -> dict[str, np.ndarray]:
    return {name: trainer.graph.get_value(name) for name in trainer.graph.variables if "accumulation" not in name}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("device", ["numpy", "cpu"])
@pytest.mark.parametrize("accumulate", [2, 3])
def test_equals_one_large_batch(accumulate: int, device: str, optimizer: str) -> None:
    # 26 examples: the last update of an epoch has fewer runs, and its last run fewer examples.
    options: dict[str, Any] = {"device": device, "threads": 1}
    large = small_trainer(batch_size=4 * accumulate, optimizer=OPTIMIZERS[optimizer](), **options)
    several = small_trainer(batch_size=4, accumulate=accumulate, optimizer=OPTIMIZERS[optimizer](), **options)

    large.fit(TRAIN, TEST, 3)
    several.fit(TRAIN, TEST, 3)

    expected, actual = weights(large), weights(several)
    assert expected.keys() == actual.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(actual[name], value, rtol=1e-4, atol=1e-6, err_msg=name)
    assert several.place.steps == 21
    assert several.graph.get_value("accumulation.count") == 0


def test_averages_follow_updates_alone() -> None:
    trainer = small_trainer(accumulate=3, average=gn.optim.WeightAverage(None))

    trainer.fit(TRAIN, TEST)

    assert trainer.graph.get_value("weightaverage.count") == 3  # seven runs: 3, 3 and 1


def test_updates_of_layers_are_made_in_each_run() -> None:
    with gn.Graph() as graph:
        x = gn.placeholder("x", (None, 2))
        y = gn.placeholder("y", (None,), "int32")
        runs = gn.variable("runs", 0, trainable=False)
        graph.add_update(gn.ops.assign(runs, runs + 1))
        logits = gn.nn.Linear(2, 2)(x)
        loss = gn.ops.cross_entropy(logits, y)
    options: dict[str, Any] = {"batch_size": 2, "accumulate": 3, "device": "numpy"}
    trainer = gn.Trainer(loss, logits, inputs=x, labels=y, optimizer=gn.optim.SGD(0.1), **options)
    examples = np.ones((9, 2), np.float32), np.ones(9, np.int32)

    trainer.fit(examples, examples)

    assert graph.get_value("runs") == 5


def test_an_interrupted_sum_is_forgotten() -> None:
    interrupted, fresh = (small_trainer(accumulate=3, optimizer=gn.optim.SGD(0.1)) for _ in range(2))

    def interrupt(phase: str, done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(TRAIN, TEST, on_batch=interrupt)
    assert interrupted.graph.get_value("accumulation.count") == 8
    interrupted.fit(TRAIN, TEST)
    fresh.fit(TRAIN, TEST)

    for name, value in weights(fresh).items():
        np.testing.assert_array_equal(interrupted.graph.get_value(name), value)


def test_sums_of_halves_do_not_overflow() -> None:
    with gn.Graph() as graph:
        x = gn.placeholder("x", (None,), "float16")
        w = gn.variable("w", 0.0, dtype="float16")
        several = Accumulation(gn.optim.SGD(1.0), x)
        updates = several.minimize((w * x).mean())
    collector = gn.Executor([], several.collecting, device="numpy", max_batch=100)
    updater = gn.Executor([], updates, device="numpy", max_batch=100)

    for _ in range(9):
        collector.run({x: np.full(100, 100, np.float16)})  # a sum of 90,000, and 65,504 is the largest half
    updater.run({x: np.full(100, 100, np.float16)})

    assert graph.get_value(w) == -100


def test_sums_are_no_weights(tmp_path: Any) -> None:
    trainer = small_trainer(accumulate=2)
    trainer.save(tmp_path / "weights.safetensors")

    misfits = gn.load(small_trainer().graph, tmp_path / "weights.safetensors")

    assert not misfits


def test_hessian_free_is_refused() -> None:
    with pytest.raises(gn.GraphError, match=r"HessianFree: it can't accumulate gradients(.|\n)*raise batch_size"):
        small_trainer(accumulate=2, optimizer=gn.optim.HessianFree())


@pytest.mark.parametrize("accumulate", [0, -1])
def test_out_of_range(accumulate: int) -> None:
    with pytest.raises(gn.GraphError, match=f"accumulate is {accumulate}"):
        small_trainer(accumulate=accumulate)


def test_without_it_there_is_nothing_of_it() -> None:
    assert not [name for name in small_trainer().graph.variables if "accumulation" in name]
