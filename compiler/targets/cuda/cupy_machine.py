"""An NVIDIA GPU through CuPy: the machine behind ``device="cuda"``.

All work goes to one stream of its own, never to CUDA's default stream, on which CuPy's other users work. Kernels are
compiled by NVRTC for the card that is there.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from graphnn.compiler.targets.cuda.availability import require_gpu
from graphnn.compiler.targets.cuda.branches import Branches
from graphnn.compiler.targets.cuda.cudnn import Cudnn, open_cudnn
from graphnn.compiler.targets.cuda.machine import Kernel, Machine, Memory, Replay
from graphnn.compiler.targets.cuda.nvrtc import explained
from graphnn.ops.errors import CompileError

STAGE_BYTES = 4 << 20
"""Size of a stretch of pinned memory through which arrays go to and fro."""

OPTIONS = ("-std=c++17",)
"""What NVRTC is asked for, besides the card's architecture, which CuPy adds."""

_OUT_OF_MEMORY = 2  # cudaErrorMemoryAllocation
_only_one_starts = threading.Lock()


class CupyMemory(Memory):
    """Memory of the card."""

    def __init__(self, address: int, nbytes: int) -> None:
        self.address = address
        self.nbytes = nbytes


class CupyKernel(Kernel):
    """A kernel on the card.

    Attributes
    ----------
    function : cupy.cuda.Function
        What CuPy launches; it keeps its program loaded.
    """

    def __init__(self, name: str, function: Any) -> None:
        self.name = name
        self.function = function


class CupyReplay(Replay):
    """A CUDA graph, with all that must live as long as it does."""

    def __init__(self, launch: Callable[[], None], kept: Sequence[object]) -> None:
        self._launch = launch
        self._kept = tuple(kept)

    def __call__(self) -> None:
        """Launch it."""
        self._launch()


@dataclass(frozen=True)
class _Stage:
    """Pinned memory on the way between an array and the card, and the event after which it is free again."""

    array: np.ndarray
    event: Any


class CupyMachine(Machine):
    """An NVIDIA GPU.

    Any thread may use it: a lock lets one in at a time, so that what one thread records or times holds no work of
    another.

    Parameters
    ----------
    cupy : module
        CuPy.
    device : int
        The card's number among those that this process may use.

    Attributes
    ----------
    architecture : int
        The card's compute capability times 10, such as 90 for 9.0.
    multiprocessors : int
        How many of them it has, each of which runs blocks side by side.

    See Also
    --------
    machine : the one that all plans on a card share
    """

    name = "cuda"

    def __init__(self, cupy: Any, device: int = 0) -> None:
        self._cupy = cupy
        self._runtime = cupy.cuda.runtime
        self._device = cupy.cuda.Device(device)
        self._lock = threading.RLock()
        self._recording: list[object] | None = None
        self._in_flight: list[np.ndarray] = []
        self._dying: deque[object] = deque()
        self.architecture = int(self._device.compute_capability)
        with self._device:
            self.multiprocessors: int = self._device.attributes["MultiProcessorCount"]
            self._stream = cupy.cuda.Stream(non_blocking=True)
            self._branches = Branches(cupy, self._stream)
            self._clock = cupy.cuda.Event(), cupy.cuda.Event()
            # Two, so that one is filled while the other is on its way.
            self._stages = [_Stage(self.pinned(STAGE_BYTES), cupy.cuda.Event(disable_timing=True)) for _ in range(2)]

    @cached_property
    def cudnn(self) -> Cudnn | None:
        """cuDNN, if it is installed; only who asks pays for its import."""
        with self._turn():
            name = self._runtime.getDeviceProperties(self._device.id)["name"].decode()
            driver = self._runtime.driverGetVersion()
            return open_cudnn(self, f"{name}, driver {driver}, CuPy {self._cupy.__version__}")

    @property
    def memory_bytes(self) -> tuple[int, int]:
        """Bytes of the card's memory that are free, and all there are."""
        with self._turn():
            self._bury()
            free, whole = self._runtime.memGetInfo()
            return free, whole

    def allocate(self, nbytes: int) -> CupyMemory:
        """Return memory of the card.

        It comes from CUDA rather than from CuPy's pool: there is little of it to ask for, and what is freed is free for
        everybody.
        """
        with self._turn(), self._memory_errors(f"{nbytes:,} bytes of memory of the GPU"):
            self._bury()
            block = self._cupy.cuda.Memory(max(1, nbytes))
        memory = CupyMemory(block.ptr, nbytes)
        weakref.finalize(memory, self._release, block).atexit = False
        return memory

    def upload(self, address: int, array: np.ndarray) -> None:
        """Copy an array to the card, by way of pinned memory."""
        source = _bytes_of(array)
        with self._turn():
            for number, start in enumerate(range(0, source.size, STAGE_BYTES)):
                stage = self._stages[number % len(self._stages)]
                part = source[start : start + STAGE_BYTES]
                stage.event.synchronize()
                stage.array[: part.size] = part
                self._copy_up(address + start, stage.array[: part.size])
                stage.event.record(self._stream)

    def download(self, address: int, array: np.ndarray) -> None:
        """Fill an array from the card, by way of pinned memory."""
        target = _bytes_of(array)
        on_the_way: deque[tuple[_Stage, np.ndarray]] = deque()
        with self._turn():
            for number, start in enumerate(range(0, target.size, STAGE_BYTES)):
                stage = self._stages[number % len(self._stages)]
                part = target[start : start + STAGE_BYTES]
                self._copy_down(address + start, stage.array[: part.size])
                stage.event.record(self._stream)
                on_the_way.append((stage, part))
                if len(on_the_way) == len(self._stages):
                    _arrive(*on_the_way.popleft())
            for stage, part in on_the_way:
                _arrive(stage, part)
            if target.size:
                self._in_flight.clear()

    def pinned(self, nbytes: int) -> np.ndarray:
        """Return memory of the host, as bytes, that the card itself can read and write.

        Raises
        ------
        MemoryError
            If there is not enough.
        """
        with self._turn(), self._memory_errors(f"{nbytes:,} bytes of pinned memory"):
            block = self._cupy.cuda.alloc_pinned_memory(max(1, nbytes))
        return np.frombuffer(block, np.uint8, max(1, nbytes))[:nbytes]

    def upload_later(self, address: int, array: np.ndarray) -> None:
        """Ask for a copy from pinned memory to the card; it may be recorded.

        The array is read when its turn comes. It must not be changed before something has waited for that.
        """
        with self._turn(recordable=True):
            self._keep(array)
            self._copy_up(address, _bytes_of(array))

    def download_later(self, address: int, array: np.ndarray) -> None:
        """Ask for a copy from the card to pinned memory; it may be recorded.

        The array is written when its turn comes: see `synchronize`.
        """
        with self._turn(recordable=True):
            self._keep(array)
            self._copy_down(address, _bytes_of(array))

    def compile(self, text: str, kernels: Sequence[str]) -> Mapping[str, CupyKernel]:
        """Compile a program by NVRTC, or load it from CuPy's cache, ``$CUPY_CACHE_DIR`` or ``~/.cupy/kernel_cache``."""
        # Only comments, which quote the user's lines, hold anything else; CuPy writes the text to a file.
        code = text.encode("ascii", "backslashreplace").decode("ascii")
        with self._turn():
            module = self._cupy.RawModule(code=code, options=OPTIONS, backend="nvrtc")
            try:
                module.compile()
            except self._cupy.cuda.compiler.CompileException as error:
                raise explained(error.get_message().rstrip("\0\n"), text) from None
            except (self._cupy.cuda.driver.CUDADriverError, OSError) as error:
                raise CompileError(
                    "the compiled kernels can't be loaded",
                    expected=f"a program for compute capability {self.architecture / 10}",
                    actual=str(error),
                    hint="update CuPy and NVRTC; the folder $CUPY_CACHE_DIR or ~/.cupy must be writable",
                ) from error
            return {name: CupyKernel(name, self._function(module, name)) for name in kernels}

    def launch(self, kernel: Kernel, grid: tuple[int, int, int], threads: int, arguments: Sequence[int]) -> None:
        """Ask for one run of a kernel."""
        assert isinstance(kernel, CupyKernel)
        values = (*arguments[:-1], np.int32(arguments[-1]))  # CuPy passes Python's integers as 64 bits
        with self._turn(recordable=True):
            if self._recording is not None:
                self._recording.append(kernel)
            kernel.function(grid, (threads,), values, stream=self._branches.current)

    def call(self, work: Callable[[int], None]) -> None:
        """Let a library ask for work on the present stream."""
        with self._turn(recordable=True):
            if self._recording is not None:
                self._recording.append(work)
            work(self._branches.current.ptr)

    def record(self, pieces: Sequence[Callable[[], None]], waits: Sequence[Sequence[int]] | None = None) -> CupyReplay:
        """Return the launches and later copies of some pieces of work as a CUDA graph."""
        behind = [(k - 1,) if k else () for k in range(len(pieces))] if waits is None else waits
        with self._turn():
            kept: list[object] = []
            self._recording = kept
            try:
                # In CuPy's default mode; a stricter one fails if Python happens to free memory of CUDA meanwhile.
                self._stream.begin_capture()
                try:
                    self._branches.ask_for(pieces, behind, kept)
                except BaseException:
                    self._abandon_capture()
                    raise
                graph = self._stream.end_capture()
            finally:
                self._recording = None
                self._branches.current = self._stream
            graph.upload(self._stream)
        return CupyReplay(lambda: self._replay(graph), kept)

    def synchronize(self) -> None:
        """Wait until all that was asked for is done."""
        with self._turn():
            self._stream.synchronize()
            self._in_flight.clear()

    def timed(self, work: Callable[[], None]) -> float:
        """Return how many seconds the card takes for `work`."""
        start, end = self._clock
        with self._turn():
            start.record(self._stream)
            work()
            end.record(self._stream)
            end.synchronize()
            milliseconds: float = self._cupy.cuda.get_elapsed_time(start, end)
        return milliseconds / 1000

    @contextmanager
    def _turn(self, recordable: bool = False) -> Iterator[None]:
        """Let this thread alone use the card, and make it the thread's current one."""
        with self._lock, self._device:
            if self._recording is not None and not recordable:
                raise CompileError("only launches and later copies can be recorded")
            yield

    def _copy_up(self, address: int, pinned: np.ndarray) -> None:
        kind = self._runtime.memcpyHostToDevice
        self._runtime.memcpyAsync(address, pinned.ctypes.data, pinned.nbytes, kind, self._branches.current.ptr)

    def _copy_down(self, address: int, pinned: np.ndarray) -> None:
        kind = self._runtime.memcpyDeviceToHost
        self._runtime.memcpyAsync(pinned.ctypes.data, address, pinned.nbytes, kind, self._branches.current.ptr)

    def _keep(self, array: np.ndarray) -> None:
        """Let pinned memory live as long as the card may use it."""
        (self._in_flight if self._recording is None else self._recording).append(array)

    def _replay(self, graph: Any) -> None:
        with self._turn():
            graph.launch(self._stream)

    def _abandon_capture(self) -> None:
        with suppress(self._runtime.CUDARuntimeError):  # the work may have made the capture invalid, which ends it too
            self._runtime.graphDestroy(self._runtime.streamEndCapture(self._stream.ptr))

    def _function(self, module: Any, name: str) -> Any:
        try:
            return module.get_function(name).kernel  # now, since loading a kernel would disturb a capture
        except self._cupy.cuda.driver.CUDADriverError as error:
            raise CompileError(f"the program has no kernel {name!r}", actual=str(error)) from None

    def _release(self, block: object) -> None:
        """Free memory that nothing refers to any more, once nothing on the card uses it.

        Python calls this whenever it likes, in any thread: while one records, what is freed has to wait.
        """
        self._dying.append(block)
        if self._lock.acquire(blocking=False):
            try:
                if self._recording is None:
                    self._bury()
            finally:
                self._lock.release()

    def _bury(self) -> None:
        if count := len(self._dying):  # others may join them while the card is waited for
            with suppress(self._runtime.CUDARuntimeError):  # a kernel's fault, which whoever waits for it will see
                self._stream.synchronize()
            for _ in range(count):
                self._dying.popleft()

    @contextmanager
    def _memory_errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except self._runtime.CUDARuntimeError as error:
            if error.status != _OUT_OF_MEMORY:
                raise
            free, whole = self._runtime.memGetInfo()
            raise MemoryError(f"can't have {what}; of the GPU's {whole:,} bytes {free:,} are free") from None


def machine(device: int = 0) -> CupyMachine:
    """Return the machine of a card, the same one for the life of the process.

    Parameters
    ----------
    device : int
        The card's number among those that this process may use.

    Raises
    ------
    GpuUnavailableError
        If there is no such card, or no CuPy that can use it: see `require_gpu`.
    """
    with _only_one_starts:
        return _started(device)


@cache
def _started(device: int) -> CupyMachine:
    require_gpu(device)
    import cupy

    return CupyMachine(cupy, device)


def _arrive(stage: _Stage, part: np.ndarray) -> None:
    stage.event.synchronize()
    part[...] = stage.array[: part.size]


def _bytes_of(array: np.ndarray) -> np.ndarray:
    """Return a C-contiguous array's own memory as bytes."""
    if not array.flags.c_contiguous:
        raise ValueError("only C-contiguous arrays can be copied to and from the GPU")
    return array.reshape(-1).view(np.uint8)
