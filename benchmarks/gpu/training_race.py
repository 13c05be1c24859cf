"""One network, trained by all competitors in turn, epoch by epoch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.competitors import OURS, Competitor
from benchmarks.gpu.process import worker_process
from benchmarks.gpu.workloads import Precision, Workload, write_data
from benchmarks.process import CompetitorError, WorkerProcess
from benchmarks.result import Result, compare_losses

TOLERANCES: dict[Precision, float] = {"fp32": 1e-4, "tf32": 1e-2, "bf16": 5e-2}
"""How far a loss of the first steps may be from the median of all competitors', relative to it."""

CHECKED_STEPS = 20
"""The first steps, whose losses have to agree."""

WAKING_STEPS = 50
"""Steps before each timed epoch: a card that waits lowers its clock."""


@dataclass
class EpochResult(Result):
    """What was measured of one competitor; `step_seconds` are the mean times of a step in each timed epoch.

    Attributes
    ----------
    note : str
        What the competitor says about its training; may be empty.
    last_loss : float
        The mean loss over the last epoch.
    """

    note: str = ""
    last_loss: float = float("nan")


class TrainingRace:
    """The competitors' processes, all alive, one at work. A context manager that ends them.

    Parameters
    ----------
    workload : Workload
        What is trained.
    peers : sequence of Competitor
        Who trains it besides graphnn.
    device : str
        graphnn's name of it.
    folder : Path
        Where data sets, caches and messages go.
    """

    def __init__(self, workload: Workload, peers: Sequence[Competitor], device: str, folder: Path) -> None:
        self._workload = workload
        self._device = device
        self._folder = folder
        self._stack = ExitStack()
        self._processes: dict[str, WorkerProcess] = {}
        self._checked = min(CHECKED_STEPS, workload.steps)
        self.results = [EpochResult(competitor) for competitor in (OURS, *peers)]

    def run(self, rounds: int) -> list[EpochResult]:
        """Start everyone, check the first steps, time so many epochs of each."""
        with self._stack:
            data = write_data(self._workload, self._folder)
            for result in self.results:  # they import their libraries side by side
                self._processes[result.competitor.name] = self._start(result.competitor, data)
            for result in self.results:  # but measure what is quickest for them one by one
                _tell(f"{self._workload.title}: {result.competitor.label} builds")
                self._attempt(result, self._first_steps)
            compare_losses([one for one in self.results if not one.failure], TOLERANCES[self._workload.precision])
            for number in range(rounds + 1):  # the first is not timed
                _tell(f"{self._workload.title}: round {number} of {rounds}")
                turn = number % len(self.results)
                for result in self.results[turn:] + self.results[:turn]:
                    self._attempt(result, self._epoch, number)
        return self.results

    def _start(self, competitor: Competitor, data: Path) -> WorkerProcess:
        workload = self._workload
        names = [competitor.module, competitor.variant, workload.network.name, workload.precision]
        arguments = [*names, str(workload.images), str(workload.network.batch), self._device, str(data)]
        process = worker_process("training", arguments, self._device, self._folder, workload.precision)
        return self._stack.enter_context(process)

    def _attempt(self, result: EpochResult, stage: Callable[..., None], *arguments: object) -> None:
        """Carry out a stage unless an earlier one failed; note a failure."""
        if result.failure:
            return
        try:
            stage(result, self._processes[result.competitor.name], *arguments)
        except CompetitorError as error:
            result.failure = str(error)
            _tell(f"{self._workload.title}: {result.competitor.label} failed: {error}")

    def _first_steps(self, result: EpochResult, process: WorkerProcess) -> None:
        answer = process.ask("build")
        result.about, result.note, result.cold_seconds = answer["about"], answer["note"], answer["seconds"]
        steps = [process.ask("train", 0, number, 1) for number in range(1, self._checked)]
        result.losses = [answer["loss"], *(step["loss"] for step in steps)]

    def _epoch(self, result: EpochResult, process: WorkerProcess, number: int) -> None:
        process.ask("train", number, 0, min(WAKING_STEPS, self._workload.steps))
        answer = process.ask("train", number, 0, self._workload.steps)
        result.last_loss = answer["loss"]
        if number:
            result.step_seconds.append(answer["seconds"] / self._workload.steps)


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
