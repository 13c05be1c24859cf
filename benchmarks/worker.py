"""The process of one competitor in the CPU benchmark: it waits for commands and does bursts of training steps.

Commands and answers are lines of JSON on standard input and output; `benchmarks.process` is the other side.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.processors import hold_to

if TYPE_CHECKING:
    from benchmarks.peers import Training

Answer = dict[str, Any]


class Worker:
    """A competitor's training and its batches."""

    def __init__(self, module: str, variant: str, network: str, threads: int, data: str) -> None:
        started = time.perf_counter()
        # First of all, so that everything the competitor needs counts as its import, NumPy included.
        self._start: Callable[..., Training] = importlib.import_module(f"benchmarks.peers.{module}").start
        self._import_seconds = time.perf_counter() - started
        self._variant = variant
        self._threads = threads
        self._network_name = network
        self._data = data
        self._batches: list[Any] = []
        self._done = 0

    def build(self) -> Answer:
        """Build the training and do its first step: that is what its users wait for."""
        import numpy as np

        from benchmarks.networks import NETWORKS, initial_weights

        network = NETWORKS[self._network_name]
        weights = initial_weights(network)
        with np.load(self._data) as arrays:
            batches = list(zip(arrays["images"], arrays["labels"], strict=True))
        started = time.perf_counter()
        self._training = self._start(network, weights, self._threads, self._variant)
        self._batches.append(self._training.place(*batches[0]))
        first = self.steps(1)
        seconds = time.perf_counter() - started
        self._batches.extend(self._training.place(*batch) for batch in batches[1:])
        return {
            "about": self._training.about,
            "import_seconds": self._import_seconds,
            "compile_seconds": seconds,
            "loss": first["loss"],
        }

    def steps(self, count: int) -> Answer:
        """Do some steps, each with the next batch, and wait until they are done."""
        training, batches, result = self._training, self._batches, None
        started = time.perf_counter()
        for number in range(self._done, self._done + count):
            result = training.step(batches[number % len(batches)])
        loss = training.loss(result)
        seconds = time.perf_counter() - started
        self._done += count
        return {"seconds": seconds, "loss": loss}

    def peak(self) -> Answer:
        """Tell the most memory that this process ever held."""
        return {"bytes": _peak_bytes()}


def _peak_bytes() -> int:
    try:
        rows = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    # Not ru_maxrss, which on Linux begins with what the parent held.
    return next(int(row.split()[1]) for row in rows if row.startswith("VmHWM:")) * 1024


def own_output() -> int:
    """Return standard output for the answers alone: what libraries print must not get between them."""
    answers = os.dup(1)
    os.dup2(2, 1)
    return answers


def serve(worker: object, answers: int) -> None:
    """Answer commands, the names of methods, until there are no more.

    Each answer tells the processor time that the wait before it took.
    """
    with os.fdopen(answers, "w", encoding="utf-8") as output:
        idle_since = time.process_time()
        for line in sys.stdin:
            idle = time.process_time() - idle_since
            name, arguments = json.loads(line)
            answer: Answer = getattr(worker, name)(*arguments)
            output.write(json.dumps({**answer, "idle_processor_seconds": idle}) + "\n")
            output.flush()
            idle_since = time.process_time()


def main() -> None:
    """Take the settings from the command line and serve."""
    module, variant, network, threads, data = sys.argv[1:]
    hold_to(int(threads))
    answers = own_output()
    serve(Worker(module, variant, network, int(threads), data), answers)


if __name__ == "__main__":
    main()
