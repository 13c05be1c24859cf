"""The parent's side of a worker's process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.competitors import Competitor

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 600.0
"""Seconds after which a worker that does not answer is stopped."""


class CompetitorError(Exception):
    """A competitor's process failed; the message is the last line that it wrote."""


class WorkerProcess:
    """A worker in a process of its own. A context manager that ends it.

    Parameters
    ----------
    module : str
        What is run: a module whose program ends in `benchmarks.worker.serve`.
    arguments : sequence of str
        Of that program.
    environment : mapping of str to str
        Its environment variables.
    messages : Path
        The file for what it writes besides answers.
    """

    def __init__(self, module: str, arguments: Sequence[str], environment: Mapping[str, str], messages: Path) -> None:
        messages.parent.mkdir(parents=True, exist_ok=True)
        self._messages = messages
        with messages.open("a", encoding="utf-8") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                encoding="utf-8",
            )
        self._answered = time.perf_counter()
        self._waited = 0.0
        self._busy_while_waiting = 0.0

    @property
    def idle_share(self) -> float:
        """The share of one processor that the process used between commands, while others ran."""
        return self._busy_while_waiting / self._waited if self._waited else 0.0

    def ask(self, command: str, *arguments: object) -> dict[str, Any]:
        """Have a method of the worker called and return its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._waited += time.perf_counter() - self._answered
        watch = threading.Timer(PATIENCE, self._process.kill)
        watch.start()
        try:
            self._process.stdin.write(json.dumps([command, arguments]) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            watch.cancel()
        if not line:
            raise CompetitorError(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        self._busy_while_waiting += answer.pop("idle_processor_seconds")
        self._answered = time.perf_counter()
        return answer

    def _last_words(self) -> str:
        status = self._process.wait()
        lines = [line.strip() for line in self._messages.read_text(encoding="utf-8", errors="replace").splitlines()]
        last = next((line for line in reversed(lines) if line), "no message")
        return f"stopped by signal {-status}: {last}" if status < 0 else last

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Nothing that it could still do at its end is of use, and some libraries take their time there.
        self._process.kill()
        self._process.communicate()


class CompetitorProcess(WorkerProcess):
    """A competitor of the CPU benchmark, held to some processors.

    Parameters
    ----------
    competitor : Competitor
        Who.
    network : str
        What it trains.
    threads : int
        How many it may use; it is also held to as many processors, for peers that can't be told.
    data : Path
        The batches: an ``.npz`` file with ``images`` and ``labels``.
    folder : Path
        Where what it writes and its caches go.
    """

    def __init__(self, competitor: Competitor, network: str, threads: int, data: Path, folder: Path) -> None:
        super().__init__(
            "benchmarks.worker",
            [competitor.module, competitor.variant, network, str(threads), str(data)],
            _environment(threads, folder / "cache"),
            folder / f"{competitor.name}.log",
        )


def _environment(threads: int, cache: Path) -> dict[str, str]:
    """Return this process's environment with the number of threads, an empty cache and no GPU."""
    numbers = (
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "NPROC",  # XLA's thread pool
        "TF_NUM_INTRAOP_THREADS",
        "TF_NUM_INTEROP_THREADS",
    )
    return {
        **os.environ,
        **dict.fromkeys(numbers, str(threads)),
        "XDG_CACHE_HOME": str(cache),
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
        "JAX_COMPILATION_CACHE_DIR": str(cache / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
