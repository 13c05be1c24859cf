"""Single kernels of graphnn and PyTorch, timed in turn with the card's peaks."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.gpu.kernel_cases import TOLERANCES, KernelCase, Pass, Work, case_of, difference
from benchmarks.gpu.process import worker_process
from benchmarks.gpu.workloads import Precision
from benchmarks.process import CompetitorError, WorkerProcess


@dataclass
class Side:
    """One competitor's times of a pass, by variant, in each round; or why there are none."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    sample: list[float] = field(default_factory=list)
    failure: str = ""

    def add(self, times: dict[str, float]) -> None:
        """Take over the times of one round."""
        for variant, seconds in times.items():
            self.seconds.setdefault(variant, []).append(seconds)

    @property
    def best(self) -> tuple[str, float] | None:
        """The quickest variant and its median, if there are times."""
        medians = {variant: statistics.median(values) for variant, values in self.seconds.items()}
        return min(medians.items(), key=lambda item: item[1], default=None)


@dataclass
class KernelRow:
    """A pass of a case in one precision."""

    case: KernelCase
    which: Pass
    precision: Precision
    ours: Side = field(default_factory=Side)
    theirs: Side = field(default_factory=Side)

    @property
    def work(self) -> Work:
        """What it has to do at least."""
        return self.case.work(self.which, self.precision)

    @property
    def difference(self) -> float | None:
        """How far graphnn's result is from PyTorch's, if both have one."""
        both = self.ours.sample and self.theirs.sample
        return difference(self.ours.sample, self.theirs.sample) if both else None

    @property
    def is_fine(self) -> bool:
        """Whether graphnn has a result, and nearly PyTorch's if that has one."""
        off = self.difference
        return not self.ours.failure and (off is None or off <= TOLERANCES[self.precision])


class Helper:
    """A worker's process, which is started anew after a failure: a card's error makes all later calls fail."""

    def __init__(self, kind: str, device: str, folder: Path, stack: ExitStack) -> None:
        self._kind = kind
        self._device = device
        self._folder = folder
        self._stack = stack
        self._process: WorkerProcess | None = None
        self._start()

    def _start(self) -> WorkerProcess:
        process = worker_process(self._kind, [self._device], self._device, self._folder)
        self._process = self._stack.enter_context(process)
        return process

    def ask(self, command: str, *arguments: object) -> dict[str, Any]:
        """Have a method of the worker called; raises CompetitorError if it failed."""
        process = self._process or self._start()
        try:
            return process.ask(command, *arguments)
        except CompetitorError:
            self._process = None
            raise


class KernelRace:
    """graphnn's worker and, if it takes part, PyTorch's. A context manager that ends them.

    Parameters
    ----------
    device : str
        graphnn's name of it.
    folder : Path
        Where caches and messages go.
    with_pytorch : bool
        Whether PyTorch takes part; without it there are no peaks either.
    """

    def __init__(self, device: str, folder: Path, with_pytorch: bool) -> None:
        self._stack = ExitStack()
        self.ours = Helper("graphnn-kernels", device, folder, self._stack)
        self.theirs = Helper("pytorch-kernels", device, folder, self._stack) if with_pytorch else None
        self._peaks: dict[str, list[float]] = {}

    def __enter__(self) -> KernelRace:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def helpers(self) -> list[Helper]:
        """Those that take part."""
        return [self.ours] + ([self.theirs] if self.theirs else [])

    @property
    def versions(self) -> list[str]:
        """Who takes part, as the report names them."""
        return [str(helper.ask("about")["about"]) for helper in self.helpers]

    @property
    def peaks(self) -> dict[str, float]:
        """The medians of the card's peaks: bytes a second of a "copy", FLOPs a second by precision."""
        return {name: statistics.median(values) for name, values in self._peaks.items()}

    def run(
        self, names: Sequence[str], precisions: Sequence[Precision], batch: int | None, rounds: int
    ) -> Iterator[list[KernelRow]]:
        """Time the cases in the precisions that each has, in so many rounds; yield one's passes after the other's."""
        for name in names:
            case = case_of(name, batch)
            self._measure_peaks()
            for precision in (one for one in precisions if one in case.precisions):
                print(f"{case.title}, {precision}", file=sys.stderr, flush=True)
                new = [KernelRow(case, which, precision) for which in case.passes]
                self._time(new, [name, batch, precision], rounds)
                yield new

    def _measure_peaks(self) -> None:
        if self.theirs is not None:
            for name, rate in self.theirs.ask("peaks").items():
                self._peaks.setdefault(name, []).append(rate)

    def _time(self, rows: Sequence[KernelRow], arguments: Sequence[object], rounds: int) -> None:
        """Time the passes of one case by all, in turn; a failure ends one's part in this case."""
        sides = [(self.ours, [row.ours for row in rows])]
        if self.theirs is not None:
            sides.append((self.theirs, [row.theirs for row in rows]))
        for number in range(rounds + 1):  # the first round prepares
            for helper, parts in sides:
                if any(part.failure for part in parts):
                    continue
                try:
                    answer = helper.ask("time") if number else helper.ask("prepare", *arguments)
                except CompetitorError as error:
                    for part in parts:
                        part.failure = str(error)
                    continue
                for row, part in zip(rows, parts, strict=True):
                    if number:
                        part.add(answer["passes"][row.which])
                    else:
                        part.sample = answer["samples"][row.which]
