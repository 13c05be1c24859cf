"""One network, trained by all competitors in turn."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import numpy as np

from benchmarks.competitors import Competitor
from benchmarks.networks import Network
from benchmarks.process import CompetitorError, CompetitorProcess
from benchmarks.result import TOLERANCES, Result, compare_losses
from graphnn import data

BATCHES = 32
"""How many there are; steps go through them again and again."""

CHECKED_STEPS = 30
"""The first steps, whose losses have to agree."""

BURST_SECONDS = 0.25
"""How long the slowest competitor's burst of steps takes, about; all do the same number."""

BURST_STEPS = range(3, 301)
"""The numbers of steps that a burst may have."""

WAKING_STEPS = 2
"""Steps before each burst, not timed: the others had the caches, and threads have gone to sleep."""

PAUSE_SECONDS = 0.05
"""Before each burst, so that the threads of the one before stop waiting for work."""


class Race:
    """The competitors' processes, all alive, one at work. A context manager that ends them.

    Parameters
    ----------
    network : Network
        What is trained.
    competitors : sequence of Competitor
        Who trains it.
    threads : int
        How many each may use.
    """

    def __init__(self, network: Network, competitors: Sequence[Competitor], threads: int) -> None:
        self._network = network
        self._threads = threads
        self._stack = ExitStack()
        self._folder = Path(self._stack.enter_context(TemporaryDirectory(prefix="graphnn-benchmark-")))
        self._data = self._folder / "batches.npz"
        self.results = [Result(competitor) for competitor in competitors]
        self._processes: dict[str, CompetitorProcess] = {}
        self._estimates: list[float] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, rounds: int) -> list[Result]:
        """Start everyone, check the first steps, time so many rounds."""
        _write_batches(self._data, self._network.batch)
        for result in self.results:
            _tell(f"{self._network.name}: {result.competitor.label} starts")
            self._attempt(result, self._start)
        for result in self.results:
            self._attempt(result, self._first_steps)
        compare_losses([result for result in self.results if not result.failure], TOLERANCES[self._network.optimizer])
        count = self._burst_steps()
        _tell(f"{self._network.name}: {rounds} rounds of {count} steps")
        for number in range(rounds):
            turn = number % len(self.results)
            for result in self.results[turn:] + self.results[:turn]:
                self._attempt(result, self._burst, count)
        for result in self.results:
            self._attempt(result, self._finish)
        return self.results

    def _attempt(self, result: Result, stage: Callable[..., object], *arguments: object) -> None:
        """Carry out a stage unless an earlier one failed; note a failure."""
        if result.failure:
            return
        try:
            stage(result, *arguments)
        except CompetitorError as error:
            result.failure = str(error)
            _tell(f"{self._network.name}: {result.competitor.label} failed: {error}")

    def _start(self, result: Result) -> None:
        process = self._stack.enter_context(self._process(result.competitor))
        self._processes[result.competitor.name] = process
        result.cold_seconds = result.warm_seconds = self._build(result, process)
        if result.competitor.caches:
            # The first process goes on: a peer may run what it took from its cache more slowly.
            with self._process(result.competitor) as second:
                result.warm_seconds = self._build(result, second)

    def _process(self, competitor: Competitor) -> CompetitorProcess:
        folder = self._folder / competitor.name
        return CompetitorProcess(competitor, self._network.name, self._threads, self._data, folder)

    def _build(self, result: Result, process: CompetitorProcess) -> float:
        answer = process.ask("build")
        result.about = answer["about"]
        result.import_seconds.append(answer["import_seconds"])
        result.losses = [answer["loss"]]
        return float(answer["compile_seconds"])

    def _steps(self, result: Result, count: int) -> Mapping[str, float]:
        return self._processes[result.competitor.name].ask("steps", count)

    def _first_steps(self, result: Result) -> None:
        answers = [self._steps(result, 1) for _ in range(CHECKED_STEPS - 1)]
        result.losses += [answer["loss"] for answer in answers]
        self._estimates.append(statistics.median(answer["seconds"] for answer in answers))

    def _burst_steps(self) -> int:
        """Return how many steps a burst has, by the slowest competitor."""
        wanted = int(BURST_SECONDS / max(self._estimates, default=BURST_SECONDS))
        return min(max(wanted, BURST_STEPS[0]), BURST_STEPS[-1])

    def _burst(self, result: Result, count: int) -> None:
        time.sleep(PAUSE_SECONDS)
        self._steps(result, WAKING_STEPS)
        result.step_seconds.append(self._steps(result, count)["seconds"] / count)

    def _finish(self, result: Result) -> None:
        process = self._processes[result.competitor.name]
        result.peak_bytes = process.ask("peak")["bytes"]
        result.idle_share = process.idle_share


def _write_batches(path: Path, batch: int) -> None:
    """Write MNIST's first images as float32 from 0 to 1, so that no competitor converts them while it is timed."""
    digits = data.mnist()
    count = BATCHES * batch
    images = digits.train_images[:count].astype(np.float32) / np.float32(255)
    np.savez(
        path,
        images=images.reshape(BATCHES, batch, *images.shape[1:]),
        labels=digits.train_labels[:count].reshape(BATCHES, batch),
    )


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
