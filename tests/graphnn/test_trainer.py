import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from graphnn import ops
from graphnn.data import DataError
from graphnn.trainer import EpochRow, loop

CLASSES = 3


class Counting(gn.optim.Optimizer):
    """Gradient descent that also counts its runs and the examples in them."""

    def __init__(self, size: Callable[[], gn.Node], lr: float = 0.1) -> None:
        super().__init__(lr)
        self.size = size
        self.calls = 0

    def minimize(self, loss: gn.Node, variables: Any = None) -> list[gn.Node]:
        self.calls += 1
        examples = gn.variable("examples", 0, trainable=False)
        steps = gn.variable("steps", 0, trainable=False)
        return [
            *gn.optim.SGD(float(self.lr)).minimize(loss),  # type: ignore[arg-type]  # no schedule here
            ops.assign(examples, examples + self.size()),
            ops.assign(steps, steps + 1),
        ]


class Classifier:
    """A linear classifier of points in the plane, with its data."""

    def __init__(self, seed: int = 0) -> None:
        random = np.random.default_rng(3)
        self.points = random.standard_normal((25, 2)).astype(np.float32)
        self.sides = random.integers(0, CLASSES, 25).astype(np.int32)
        with gn.Graph(seed=seed) as self.graph:
            self.x = gn.placeholder("points", (None, 2))
            self.y = gn.placeholder("sides", (None,), "int32")
            self.weight = gn.variable("weight", random.standard_normal((2, CLASSES)).astype(np.float32))
            self.logits = self.x @ self.weight
            self.loss = ops.cross_entropy(self.logits, self.y)
        self.optimizer = Counting(lambda: ops.size(self.x, 0))

    def trainer(self, **options: Any) -> gn.Trainer:
        settings = {"batch_size": 4, "optimizer": self.optimizer, "device": "numpy", **options}
        return gn.Trainer(self.loss, self.logits, inputs=self.x, labels=self.y, **settings)

    @property
    def train(self) -> tuple[np.ndarray, np.ndarray]:
        return self.points[:18], self.sides[:18]

    @property
    def test(self) -> tuple[np.ndarray, np.ndarray]:
        return self.points[18:], self.sides[18:]

    def figures(self, points: np.ndarray, sides: np.ndarray) -> tuple[float, float]:
        logits = points.astype(np.float64) @ self.graph.get_value("weight")
        losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(sides)), sides]
        return float(losses.mean()), float(np.mean(logits.argmax(1) != sides))


class Recorder:
    """Stands for an executor and keeps what it is fed."""

    has_own_memory = False

    def __init__(self, executor: gn.Executor, on_run: Callable[[], object] = lambda: None) -> None:
        self.executor = executor
        self.on_run = on_run
        self.feeds: list[dict[gn.Node, np.ndarray]] = []

    def run(self, feed: dict[gn.Node, np.ndarray]) -> Any:
        self.feeds.append(feed)
        self.on_run()
        return self.executor.run(feed)


def threads_end() -> bool:
    """Say whether the threads that prepare batches come to an end."""
    deadline = time.monotonic() + 30
    while any(thread.name == "graphnn-batches" for thread in threading.enumerate()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


@pytest.fixture
def classifier() -> Classifier:
    return Classifier()


def record(trainer: gn.Trainer, **options: Any) -> Recorder:
    recorder = Recorder(trainer.executor, **options)
    trainer.executor = recorder  # type: ignore[assignment]  # stands for it
    return recorder


def test_rows_hold_the_figures_after_each_epoch(classifier: Classifier) -> None:
    trainer = classifier.trainer()
    expected: list[tuple[float, ...]] = []

    def check(row: EpochRow) -> None:
        expected.append((*classifier.figures(*classifier.train), *classifier.figures(*classifier.test)))
        assert trainer.history[-1] is row  # it is there before anyone hears of it

    rows = trainer.fit(classifier.train, classifier.test, epochs=3, on_epoch=check)

    assert [row.epoch for row in rows] == [1, 2, 3]
    actual = [(row.train_loss, row.train_error, row.test_loss, row.test_error) for row in rows]
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
    assert len({row.train_loss for row in rows}) == 3  # it did train
    assert trainer.history == rows


def test_loss_falls(classifier: Classifier) -> None:
    rows = classifier.trainer().fit(classifier.train, classifier.test, epochs=5)

    losses = [row.train_loss for row in rows]
    assert losses == sorted(losses, reverse=True)


def test_every_example_counts_once_an_epoch(classifier: Classifier) -> None:
    trainer = classifier.trainer(batch_size=4)
    recorder = record(trainer)

    trainer.fit(classifier.train, classifier.test, epochs=2)

    assert classifier.graph.get_value("steps") == 2 * 5  # 18 examples: four batches of 4 and one of 2
    assert classifier.graph.get_value("examples") == 2 * 18
    epochs = [np.concatenate([feed[classifier.x] for feed in recorder.feeds[start : start + 5]]) for start in (0, 5)]
    rows = [tuple(row) for row in classifier.train[0].tolist()]
    orders = [[tuple(row) for row in epoch.tolist()] for epoch in epochs]
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(rows)
    assert orders[0] != orders[1]
    labels = dict(zip(rows, classifier.train[1], strict=True))
    for feed in recorder.feeds:
        for row, label in zip(feed[classifier.x].tolist(), feed[classifier.y], strict=True):
            assert labels[tuple(row)] == label


def test_one_minimize_and_two_plans(classifier: Classifier) -> None:
    trainer = classifier.trainer(batch_size=4)
    trainer.fit(classifier.train, classifier.test, epochs=2)

    assert classifier.optimizer.calls == 1
    assert trainer.executor.plan.written_variables == ("weight", "examples", "steps")
    assert trainer.evaluator.plan.written_variables == ()
    assert (trainer.executor.plan.max_batch, trainer.evaluator.plan.max_batch) == (4, 100)
    assert Classifier().trainer(batch_size=300).evaluator.plan.max_batch == 300
    assert Classifier().trainer(evaluation_batch_size=7).evaluator.plan.max_batch == 7


@pytest.mark.parametrize("evaluation_batch_size", [1, 3, 25, 100])
def test_evaluate_weighs_a_smaller_last_batch(classifier: Classifier, evaluation_batch_size: int) -> None:
    trainer = classifier.trainer(evaluation_batch_size=evaluation_batch_size)
    before = classifier.graph.get_value("weight")

    loss, error = trainer.evaluate(classifier.points, classifier.sides)

    expected_loss, expected_error = classifier.figures(classifier.points, classifier.sides)
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    assert error == expected_error
    np.testing.assert_array_equal(classifier.graph.get_value("weight"), before)


def test_evaluation_takes_the_branch_for_evaluation() -> None:
    with gn.Graph() as graph:
        x = gn.placeholder("x", (None, 2))
        y = gn.placeholder("y", (None,), "int32")
        weight = gn.variable("weight", np.eye(2, dtype=np.float32))
        logits = ops.when_training(-(x @ weight), x @ weight)
        loss = ops.cross_entropy(logits, y)
    trainer = gn.Trainer(loss, logits, inputs=x, labels=y, optimizer=gn.optim.SGD(1.0), device="numpy")
    points, sides = np.array([[5, 0], [0, 5]], np.float32), np.array([0, 1], np.int32)

    loss_before, error_before = trainer.evaluate(points, sides)
    assert loss_before == pytest.approx(0.0067, abs=1e-4)
    assert error_before == 0

    trainer.fit((points, sides), (points, sides))
    assert graph.get_value("weight")[0, 0] < 0  # in training the signs are turned, so that the weights learn to turn


def test_error_counts_every_label() -> None:
    with gn.Graph():
        x = gn.placeholder("x", (None, 2, 3, 1))
        y = gn.placeholder("y", (None, 3, 1), "int64")
        logits = x * gn.variable("scale", 1.0)
        loss = ops.cross_entropy(logits, y)
    trainer = gn.Trainer(loss, logits, inputs=x, labels=y, optimizer=gn.optim.SGD(0.0), device="numpy")
    images = np.zeros((4, 2, 3, 1), np.float32)
    images[:, 1] = 1  # class 1 everywhere
    labels = np.ones((4, 3, 1), np.int64)
    labels[0, :2] = 0

    assert trainer.evaluate(images, labels)[1] == 2 / 12


def test_seeds_make_it_repeatable() -> None:
    def course(**options: Any) -> list[float]:
        classifier = Classifier()
        rows = classifier.trainer(**options).fit(classifier.train, classifier.test, epochs=2)
        return [row.train_loss for row in rows]

    assert course(seed=1) == course(seed=1)
    assert course(seed=1) != course(seed=2)


def test_second_call_goes_on() -> None:
    together, apart = Classifier(), Classifier()
    whole = together.trainer()
    parts = apart.trainer()

    whole.fit(together.train, together.test, epochs=3)
    first = parts.fit(apart.train, apart.test)
    second = parts.fit(apart.train, apart.test, epochs=2)

    assert [row.epoch for row in first] == [1]
    assert [row.epoch for row in second] == [2, 3]
    assert parts.history == first + second
    assert [row.train_loss for row in parts.history] == [row.train_loss for row in whole.history]


def test_reports_each_batch(classifier: Classifier) -> None:
    heard: list[tuple[str, int, int] | str] = []

    classifier.trainer(batch_size=8, evaluation_batch_size=10).fit(
        classifier.train,
        classifier.test,
        on_batch=lambda *report: heard.append(report),
        on_epoch=lambda row: heard.append("epoch"),
    )

    assert heard == [
        *[("training", done, 3) for done in (1, 2, 3)],
        *[("train figures", done, 2) for done in (1, 2)],
        ("test figures", 1, 1),
        "epoch",
    ]


def test_seconds_are_those_of_the_training_pass(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def pass_time(seconds: float) -> Callable[[], None]:
        def advance() -> None:
            nonlocal now
            now += seconds

        return advance

    class Clock:
        @staticmethod
        def perf_counter() -> float:
            return now

    monkeypatch.setattr(loop, "time", Clock)
    trainer = classifier.trainer(batch_size=6)
    record(trainer, on_run=pass_time(1.0))
    evaluator = Recorder(trainer.evaluator, on_run=pass_time(100.0))
    trainer.evaluator = evaluator  # type: ignore[assignment]  # stands for it

    rows = trainer.fit(classifier.train, classifier.test, epochs=2)

    assert [row.seconds for row in rows] == [3.0, 3.0]
    assert len(evaluator.feeds) == 4


def test_interrupt_keeps_what_was_finished(classifier: Classifier) -> None:
    trainer = classifier.trainer(batch_size=4)

    def interrupt(phase: str, done: int, total: int) -> None:
        if phase == "training" and done == 2 and len(trainer.history) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.fit(classifier.train, classifier.test, epochs=3, on_batch=interrupt)

    assert [row.epoch for row in trainer.history] == [1]
    assert classifier.graph.get_value("steps") == 5 + 2
    assert threads_end()
    assert [row.epoch for row in trainer.fit(classifier.train, classifier.test)] == [2]


def test_refuses_arrays_of_different_lengths(classifier: Classifier) -> None:
    trainer = classifier.trainer()
    points, sides = classifier.train

    with pytest.raises(DataError, match=r"different lengths\n.*\n.*18, 17"):
        trainer.fit((points, sides[:-1]), classifier.test)
    with pytest.raises(DataError, match="different lengths"):
        trainer.evaluate(points, sides[:-1])
    assert classifier.graph.get_value("steps") == 0
    assert trainer.history == []


def test_refuses_labels_out_of_range(classifier: Classifier) -> None:
    points, sides = classifier.train

    with pytest.raises(gn.FeedError, match=r"'sides' is fed an index out of range(.|\n)*actual: +3"):
        classifier.trainer().fit((points, np.full_like(sides, CLASSES)), classifier.test)


def test_refuses_a_loss_that_is_no_number(classifier: Classifier) -> None:
    with classifier.graph:
        classifier.loss = ops.cross_entropy(classifier.logits, classifier.y, reduction="none")

    with pytest.raises(gn.ShapeError, match=r"is no scalar(.|\n)*test_trainer\.py"):
        classifier.trainer(optimizer=gn.optim.SGD(0.1))


def test_two_trainers_share_a_graph(classifier: Classifier) -> None:
    first = classifier.trainer(optimizer=gn.optim.SGD(0.1, momentum=0.9))
    second = classifier.trainer(optimizer=gn.optim.SGD(0.01))

    first.fit(classifier.train, classifier.test)

    assert second.evaluate(*classifier.test) == first.evaluate(*classifier.test)
