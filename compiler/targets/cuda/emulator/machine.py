"""The CPU as a machine that runs CUDA kernels, thread by thread."""

from __future__ import annotations

import ctypes
import os
import random
import re
import threading
import time
import weakref
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from graphnn.compiler.interrupts import postponed_interrupts
from graphnn.compiler.targets.c.build import Compiler
from graphnn.compiler.targets.cuda.emulator.toolchain import emulator_compiler, load_program, load_scheduler
from graphnn.compiler.targets.cuda.machine import Kernel, Machine, Memory, Replay
from graphnn.ops.errors import CompileError

Order = Literal["forward", "reverse"] | int
"""In which order blocks, warps and lanes run: by number, the other way round, or at random from a seed."""

_FORWARD, _REVERSE, _RANDOM = 0, 1, 2
_MOST_THREADS = 1024
_MOST_BLOCKS = (2**31 - 1, 65535, 65535)
_MESSAGE_BYTES = 1024
_HINT = "this is a fault of graphnn; please report it with `executor.source`"
_LINE = re.compile(r"\bline (\d+)")
# The scheduler's state and that of a program are globals of their libraries, which all machines of a process share.
_one_at_a_time = threading.Lock()


class KernelError(CompileError):
    """A kernel that does what CUDA does not allow: a barrier that not all threads reach, say."""


class EmulatorMemory(Memory):
    """Memory beside the host's own, full of NaN at first."""

    def __init__(self, scheduler: ctypes.CDLL, nbytes: int) -> None:
        address = scheduler.gn_allocate(nbytes)
        if address is None:
            raise MemoryError(f"the emulator can't have {nbytes:,} bytes of memory")
        self.address: int = address
        self.nbytes = nbytes
        weakref.finalize(self, scheduler.gn_free, address)


class EmulatorKernel(Kernel):
    """A kernel in a library.

    Attributes
    ----------
    state, entry : int
        The addresses of its program's state and of the function that calls it.
    parameters : int
        How many it has.
    text : str
        The program, from which errors quote.
    """

    def __init__(self, name: str, library: ctypes.CDLL, text: str) -> None:
        self.name = name
        self.text = text
        state = library[f"gn_state_{name}"]
        state.restype = ctypes.c_void_p
        self.state: int = state()
        self.entry = ctypes.cast(library[f"gn_enter_{name}"], ctypes.c_void_p).value
        self.parameters: int = library[f"gn_parameters_{name}"]()


class EmulatorReplay(Replay):
    """Recorded launches, piece by piece, and which pieces wait for which."""

    def __init__(
        self,
        pieces: Sequence[Sequence[Callable[[], None]]],
        waits: Sequence[Sequence[int]],
        next_order: Callable[[], tuple[int, int]],
    ) -> None:
        self._pieces = tuple(map(tuple, pieces))
        self._waits = tuple(map(tuple, waits))
        self._next_order = next_order

    def __call__(self) -> None:
        order, seed = self._next_order()
        choose = random.Random(seed)
        done: set[int] = set()
        left = list(range(len(self._pieces)))
        with postponed_interrupts():  # as on a GPU, a recorded step is done whole or not at all
            while left:
                ready = [number for number in left if done.issuperset(self._waits[number])]
                number = ready[0] if order == _FORWARD else ready[-1] if order == _REVERSE else choose.choice(ready)
                for launch in self._pieces[number]:
                    launch()
                left.remove(number)
                done.add(number)


class _Recording(threading.local):
    """The launches that the thread notes for later, if it does."""

    launches: list[Callable[[], None]] | None = None


class EmulatorMachine(Machine):
    """Runs the very same CUDA text on the CPU.

    Threads take turns on one core, each until it waits for others or ends, in an order of choice: what is right only if
    threads happen to run in some order is wrong in another. Shared and device memory starts as NaN.

    Parameters
    ----------
    order : "forward", "reverse" or int, optional
        In which order the blocks, the warps of a block and the lanes of a warp run. A number is a seed, the same for
        each launch. If not given, each launch has a seed of its own, which is its number.
    compiler : Compiler, optional
        What compiles programs; this machine's if not given. With a sanitizer, that watches the kernels too.
    folder : Path, optional
        Where compiled programs are kept; the user's cache folder if not given.

    Raises
    ------
    CompileError
        If there is no C++ compiler.
    """

    name = "cuda-emulator"

    def __init__(
        self, order: Order | None = None, *, compiler: Compiler | None = None, folder: Path | None = None
    ) -> None:
        self.order = order
        self._compiler = compiler or emulator_compiler()
        self._folder = folder
        self._scheduler = load_scheduler(self._compiler, folder)
        self._memories: weakref.WeakValueDictionary[int, EmulatorMemory] = weakref.WeakValueDictionary()
        self._launches = 0
        self._of_this_thread = _Recording()

    @property
    def memory_bytes(self) -> tuple[int, int]:
        """Bytes of the computer's memory that are free, and all there are."""
        page = os.sysconf("SC_PAGE_SIZE")
        whole = page * os.sysconf("SC_PHYS_PAGES")
        if "SC_AVPHYS_PAGES" not in os.sysconf_names:
            return whole, whole
        return page * os.sysconf("SC_AVPHYS_PAGES"), whole

    def allocate(self, nbytes: int) -> EmulatorMemory:
        """Return memory that starts as NaN, or -1 where integers are read from it."""
        memory = EmulatorMemory(self._scheduler, nbytes)
        self._memories[memory.address] = memory
        return memory

    def upload(self, address: int, array: np.ndarray) -> None:
        """Copy an array to the device."""
        self._check_copy("upload", address, array)
        ctypes.memmove(address, array.ctypes.data, array.nbytes)

    def download(self, address: int, array: np.ndarray) -> None:
        """Fill an array from the device."""
        self._check_copy("download", address, array)
        if not array.flags.writeable:
            raise ValueError("the array that a download fills must be writable")
        ctypes.memmove(array.ctypes.data, address, array.nbytes)

    def compile(self, text: str, kernels: Sequence[str]) -> Mapping[str, EmulatorKernel]:
        """Compile a program by the C++ compiler, or load it from the disk."""
        library = load_program(text, kernels, self._compiler, self._folder)
        return {name: EmulatorKernel(name, library, text) for name in kernels}

    def launch(self, kernel: Kernel, grid: tuple[int, int, int], threads: int, arguments: Sequence[int]) -> None:
        """Run a kernel to its end.

        Raises
        ------
        KernelError
            If the kernel, or the way it is launched, is none that a GPU would run.
        """
        assert isinstance(kernel, EmulatorKernel)
        values = tuple(arguments)
        self._check_launch(kernel, grid, threads, values)
        self._now_or_later(lambda: self._run(kernel, grid, threads, values))

    def call(self, work: Callable[[int], None]) -> None:
        """Let a library work at once, in the host's memory; there is no stream."""
        self._now_or_later(lambda: work(0))

    def _now_or_later(self, work: Callable[[], None]) -> None:
        launches = self._of_this_thread.launches
        if launches is None:
            work()
        else:
            launches.append(work)

    def record(
        self, pieces: Sequence[Callable[[], None]], waits: Sequence[Sequence[int]] | None = None
    ) -> EmulatorReplay:
        """Note the launches of pieces for later; those that need not wait for each other run in a random order."""
        recording = self._of_this_thread
        if recording.launches is not None:
            raise CompileError("work that is being recorded can't be recorded once more inside")
        noted: list[list[Callable[[], None]]] = []
        try:
            for piece in pieces:
                noted.append([])
                recording.launches = noted[-1]
                piece()
        finally:
            recording.launches = None
        behind = [(k - 1,) if k else () for k in range(len(noted))] if waits is None else waits
        return EmulatorReplay(noted, behind, self._next_order)

    def synchronize(self) -> None:
        """Do nothing: each launch ends before it returns."""

    def timed(self, work: Callable[[], None]) -> float:
        """Return how many seconds `work` takes."""
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    def _run(self, kernel: EmulatorKernel, grid: tuple[int, int, int], threads: int, values: tuple[int, ...]) -> None:
        message = ctypes.create_string_buffer(_MESSAGE_BYTES)
        with _one_at_a_time:
            order, seed = self._next_order()
            failed = self._scheduler.gn_emulate(
                *(kernel.state, kernel.entry, (ctypes.c_int64 * len(values))(*values), (ctypes.c_int32 * 3)(*grid)),
                *(threads, order, seed, message, _MESSAGE_BYTES),
            )
        if failed:
            raise KernelError(
                f"kernel {kernel.name} can't run to its end",
                actual=_with_quotes(message.value.decode(errors="replace"), kernel.text),
                hint=_HINT + (f" and the order of its threads, {seed}" if order == _RANDOM else ""),
            )

    def _next_order(self) -> tuple[int, int]:
        self._launches += 1
        match self.order:
            case "forward":
                return _FORWARD, 0
            case "reverse":
                return _REVERSE, 0
            case None:
                return _RANDOM, self._launches
            case seed:
                return _RANDOM, seed % 2**64

    def _check_launch(
        self, kernel: EmulatorKernel, grid: tuple[int, int, int], threads: int, values: tuple[int, ...]
    ) -> None:
        if len(values) != kernel.parameters:
            raise KernelError(
                f"kernel {kernel.name} is launched with a wrong number of arguments",
                expected=f"{kernel.parameters}",
                actual=f"{len(values)}",
                hint=_HINT,
            )
        if not 1 <= threads <= _MOST_THREADS or any(
            not 1 <= n <= most for n, most in zip(grid, _MOST_BLOCKS, strict=True)
        ):
            raise KernelError(
                f"kernel {kernel.name} is launched with a grid that no GPU has",
                expected=f"1 to {_MOST_THREADS} threads, and 1 to {_MOST_BLOCKS} blocks",
                actual=f"{threads} threads, {grid} blocks",
                hint=_HINT,
            )
        for place, value in enumerate(values[:-1]):
            if self._room(value) < 0:
                raise KernelError(
                    f"kernel {kernel.name} is launched with an address that is not in device memory",
                    actual=f"argument {place} is {value:#x}",
                    hint=_HINT,
                )

    def _check_copy(self, verb: str, address: int, array: np.ndarray) -> None:
        if self._of_this_thread.launches is not None:
            raise CompileError(f"there can be no {verb} in work that is recorded")
        if not array.flags.c_contiguous:
            raise ValueError(f"the array of an {verb} must be C-contiguous")
        if array.nbytes > max(0, self._room(address)):
            raise ValueError(
                f"{verb} of {array.nbytes:,} bytes at {address:#x}, where {self._room(address):,} are left"
            )

    def _room(self, address: int) -> int:
        """Return how many bytes lie between an address and the end of its memory; -1 if it is in none."""
        starts = sorted(self._memories)
        place = bisect_right(starts, address) - 1
        memory = self._memories.get(starts[place]) if place >= 0 else None
        return max(-1, memory.address + memory.nbytes - address) if memory else -1


def _with_quotes(message: str, text: str) -> str:
    """Return a message with the lines of the text that it speaks of."""
    lines = text.splitlines()

    def quoted(found: re.Match[str]) -> str:
        return f"{found[0]} (`{lines[int(found[1]) - 1].strip()}`)"

    return _LINE.sub(quoted, message)
