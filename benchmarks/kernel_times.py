"""The kernels of networks under training, timed in turn with the machine's peaks."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from benchmarks.networks import Network, initial_weights
from benchmarks.peaks import PeakMeter, Peaks
from benchmarks.peers.graphnn import GraphnnTraining
from graphnn import data
from graphnn.profile import Profile, ProfileRow

Resource = Literal["arithmetic", "data", "threads"]
"""What a kernel keeps busy.

``arithmetic``: the multipliers; ``data``: the way to the caches; ``threads``: none of both, when threads wait for each
other or add up their sums.
"""


@dataclass
class Kernel:
    """One kernel of a training step: what it has to do, and how long it took in each round."""

    name: str
    node: str
    flops: int
    nbytes: int
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Seconds a step."""
        return statistics.median(self.seconds)

    def least_seconds(self, peaks: Peaks) -> dict[Resource, float]:
        """Return how long it would take at each peak."""
        return {"arithmetic": self.flops / peaks.flops, "data": self.nbytes / peaks.cache_bytes}

    def resource(self, peaks: Peaks) -> Resource:
        """Return what it could be limited by at best: what would take longer at its peak."""
        least = self.least_seconds(peaks)
        return max(least, key=lambda resource: least[resource]) if self.flops or self.nbytes else "threads"


@dataclass
class NetworkTimes:
    """The kernels of a network's training on so many threads, by name and node."""

    network: Network
    threads: int
    kernels: dict[tuple[str, str], Kernel] = field(default_factory=dict)

    def add(self, profile: Profile) -> None:
        """Take over the times of one round."""
        for kernel in kernels_of(profile):
            known = self.kernels.setdefault((kernel.name, kernel.node), kernel)
            if known is not kernel:
                known.seconds += kernel.seconds

    @property
    def seconds(self) -> float:
        """Time of a step's kernels together."""
        return sum(kernel.median for kernel in self.kernels.values())

    @property
    def flops(self) -> int:
        """Arithmetic of a step."""
        return sum(kernel.flops for kernel in self.kernels.values())

    def by_resource(self, peaks: Peaks) -> dict[Resource, list[Kernel]]:
        """Return the kernels by what could limit them at best."""
        kernels: dict[Resource, list[Kernel]] = {"arithmetic": [], "data": [], "threads": []}
        for kernel in self.kernels.values():
            kernels[kernel.resource(peaks)].append(kernel)
        return kernels


def kernels_of(profile: Profile) -> Iterator[Kernel]:
    """Yield the kernels of a profile; what has one name in several places counts as one."""
    kernels: dict[tuple[str, str], Kernel] = {}
    for row in _leaves(profile.rows):
        kernel = kernels.setdefault((row.kernel, row.node), Kernel(row.kernel, row.node, 0, 0, [0.0]))
        kernel.flops += row.flops
        kernel.nbytes += row.nbytes
        kernel.seconds[0] += row.seconds
    yield from kernels.values()


def _leaves(rows: Sequence[ProfileRow]) -> Iterator[ProfileRow]:
    for row in rows:
        yield from row.inner or (row,)


class KernelMeter:
    """A network's training, and the times of its kernels as they are measured.

    Parameters
    ----------
    network : Network
        What is trained, on MNIST.
    threads : int
        How many threads train it.
    """

    def __init__(self, network: Network, threads: int) -> None:
        self.times = NetworkTimes(network, threads)
        self._training = GraphnnTraining(network, initial_weights(network), threads)
        digits = data.mnist()
        images = digits.train_images[: network.batch].astype(np.float32) / np.float32(255)
        self._batch = self._training.place(images, digits.train_labels[: network.batch])

    def measure(self, repeats: int) -> None:
        """Time all kernels once more, each by its median over so many steps."""
        self.times.add(self._training.executor.profile(self._batch, repeats))


def measure_in_turn(networks: Sequence[KernelMeter], peaks: Mapping[int, PeakMeter], rounds: int, repeats: int) -> None:
    """Measure the networks, each right after the peaks of as many threads, in so many rounds."""
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        for meter in networks:
            peaks[meter.times.threads].measure()
            meter.measure(repeats)
