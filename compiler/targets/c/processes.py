"""Compilers as processes: several at once, none of them left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path


class ProcessError(Exception):
    """A command that failed.

    Attributes
    ----------
    number : int
        Its place among the commands.
    reason : str
        How it ended, to be read after its name.
    output : str
        What it printed.
    timed_out : bool
        Whether it was stopped because it took too long.
    """

    def __init__(self, number: int, reason: str, output: str = "", timed_out: bool = False) -> None:
        super().__init__(reason)
        self.number = number
        self.reason = reason
        self.output = output
        self.timed_out = timed_out


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(commands: Sequence[Sequence[str]], folder: Path, timeout: float) -> list[str]:
    r"""Run commands side by side, one a core, and return what each printed.

    Parameters
    ----------
    commands : sequence of sequences of str
        Programs and their arguments.
    folder : Path
        Where they run.
    timeout : float
        Seconds that each may take.

    Raises
    ------
    ProcessError
        For the first that fails. The others are stopped, as they are by an interrupt.

    Examples
    --------
    >>> run([["echo", "one"], ["echo", "two"]], Path.cwd(), timeout=10)
    ['one\n', 'two\n']
    """
    crew = _Crew(folder, timeout)
    with ThreadPoolExecutor(min(len(commands), usable_cores())) as pool:
        futures = [pool.submit(crew.run, number, command) for number, command in enumerate(commands)]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in futures:
                if future in done and (error := future.exception()):
                    raise error
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            crew.stop()
            raise


class _Crew:
    """Processes that can all be stopped from another thread."""

    def __init__(self, folder: Path, timeout: float) -> None:
        self.folder = folder
        self.timeout = timeout
        self.lock = threading.Lock()
        self.stopped = False
        self.running: set[subprocess.Popen[bytes]] = set()

    def run(self, number: int, command: Sequence[str]) -> str:
        """Run a command and return what it printed."""
        try:
            process = self.start(command)
        except OSError as error:
            raise ProcessError(number, f"can't be started: {error.strerror or error}") from None
        with process:
            try:
                printed, _ = process.communicate(timeout=self.timeout)
            except subprocess.TimeoutExpired as error:
                _kill(process)
                reason = f"had not finished after {self.timeout:g} s and was stopped"
                raise ProcessError(number, reason, _text(error.output), timed_out=True) from None
            finally:
                with self.lock:
                    self.running.discard(process)
        if process.returncode:
            raise ProcessError(number, _ending(process.returncode), _text(printed))
        return _text(printed)

    def start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        # The lock: no process may start behind the back of `stop`.
        with self.lock:
            if self.stopped:
                raise InterruptedError("the build was stopped")
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**os.environ, "LC_ALL": "C"},  # messages are read by programs
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a group of its own: a compiler's driver has processes below it
            )
            self.running.add(process)
        return process

    def stop(self) -> None:
        with self.lock:
            self.stopped = True
            for process in self.running:
                _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if hasattr(os, "killpg"):
        # macOS says "not permitted" where nothing is left to kill.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def _ending(status: int) -> str:
    if status > 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"


def _text(printed: bytes | None) -> str:
    return (printed or b"").decode(errors="replace")
