"""The parts of the GPU benchmark, one after the other."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.competitors import OURS, Competitor
from benchmarks.gpu.card import card, reason_against
from benchmarks.gpu.competitors import NEEDS_GPU, PEERS
from benchmarks.gpu.kernel_race import KernelRace, KernelRow
from benchmarks.gpu.kernel_report import kernel_parts, launch_parts, pool_loop_parts
from benchmarks.gpu.report import Report
from benchmarks.gpu.training_race import TrainingRace
from benchmarks.gpu.training_report import Raced, training_parts
from benchmarks.gpu.workloads import Precision, precisions_of, workload_of
from benchmarks.process import CompetitorError

DEVICES = ("cuda", "cuda-emulator", "cpu", "numpy")
PARTS = ("training", "kernels", "pool-loop", "launches")
WITH_KERNELS = ("cuda", "cuda-emulator")
"""Devices that have kernels to be timed one by one."""

CHAIN_STEPS = 100
CHAIN_REPEATS = 50


class Session:
    """One run of the benchmark.

    Parameters
    ----------
    options : argparse.Namespace
        The command line.
    folder : Path
        Where data sets, caches and messages go.
    out : Path, optional
        The file for the report.
    """

    def __init__(self, options: argparse.Namespace, folder: Path, out: Path | None) -> None:
        self._options = options
        self._device: str = options.device
        self._folder = folder
        self._out = out
        peers = [PEERS[name] for name in options.peers]
        self._peers = [peer for peer in peers if self._can_run(peer)]
        self._absent = [peer for peer in peers if not self._can_run(peer)]
        self._fine = True

    def _can_run(self, peer: Competitor) -> bool:
        return peer.is_installed and (self._device == "cuda" or peer.name not in NEEDS_GPU)

    def run(self) -> int:
        """Measure what was asked for; return the exit code."""
        reason = reason_against(self._device)
        if reason:
            print(f"graphnn can't run on {self._device!r}: {reason}", file=sys.stderr)
            return 1
        self._report = Report(card(self._device), self._absent, self._options.rounds, self._out)
        parts: dict[str, Callable[[], None]] = {
            "training": self._training,
            "kernels": self._kernels,
            "pool-loop": self._pool_loop,
            "launches": self._launches,
        }
        for name in self._options.parts:
            if name != "training" and self._device not in WITH_KERNELS:
                self._report.put(name, [f"No {name}: device {self._device!r} has no kernels to be timed."])
                continue
            try:
                parts[name]()
            except CompetitorError as error:
                self._fine = False
                self._report.put(f"{name} failed", [f"**{name} failed**: {error}"])
        print(self._report.text)
        return 0 if self._fine else 1

    def _training(self) -> None:
        races: list[Raced] = []
        for name in self._options.networks:
            for precision in self._chosen(precisions_of(name)):
                workload = workload_of(name, precision, self._options.images, self._options.batch)
                results = TrainingRace(workload, self._peers, self._device, self._folder).run(self._options.rounds)
                races.append((workload, results))
                self._fine &= all(result.counts for result in results if result.competitor is OURS)
                self._report.put("training", training_parts(races), [result.about for result in results])

    def _chosen(self, precisions: tuple[Precision, ...]) -> list[Precision]:
        return [one for one in precisions if one in self._options.precisions]

    def _kernels(self) -> None:
        options, rows = self._options, list[KernelRow]()
        with self._race() as race:
            versions = race.versions
            for new in race.run(options.kernels, options.precisions, options.batch, options.rounds):
                rows += new
                self._fine &= all(row.is_fine for row in new)
                self._report.put("kernels", kernel_parts(rows, race.peaks), versions)

    def _pool_loop(self) -> None:
        with self._race(alone=True) as race:
            answer = race.ours.ask("pool_loop", self._options.batch)
            self._fine &= bool(answer["equal"])
            self._report.put("pool-loop", pool_loop_parts(answer), race.versions)

    def _launches(self) -> None:
        with self._race() as race:
            ours = race.ours.ask("launches", CHAIN_STEPS, CHAIN_REPEATS)
            answers = {"graphnn": ours}
            if race.theirs is not None:
                answers["PyTorch, torch.cuda.graph"] = race.theirs.ask("launches", ours["kernels"])
            self._report.put("launches", launch_parts(answers), race.versions)

    def _race(self, alone: bool = False) -> KernelRace:
        with_pytorch = not alone and any(peer.package == "torch" for peer in self._peers)
        return KernelRace(self._device, self._folder, with_pytorch)
