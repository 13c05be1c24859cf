"""Stand-ins for NVIDIA's driver and for CuPy, at the border of what graphnn calls, for machines without a GPU."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

Program = Mapping[str, Callable[..., None]]


@dataclass
class DriverLibrary:
    """The functions of libcuda that are called; cards are (name, major, minor, bytes)."""

    version: int = 13000
    cards: Sequence[tuple[str, int, int, int]] = (("NVIDIA H200", 9, 0, 139 << 30),)
    answer_to_init: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    def _answer(self, name: str) -> int:
        self.calls.append(name)
        return self.refused.get(name, 0)

    def cuInit(self, flags: int) -> int:  # noqa: N802  # its name in libcuda, as those below
        assert flags == 0
        self.calls.append("cuInit")
        return self.answer_to_init

    def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
        version._obj.value = self.version
        return self._answer("cuDriverGetVersion")

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = len(self.cards)
        return self._answer("cuDeviceGetCount")

    def cuDeviceGet(self, device: Any, index: int) -> int:  # noqa: N802
        device._obj.value = 70 + index
        return self._answer("cuDeviceGet")

    def cuDeviceGetName(self, name: Any, length: int, device: ctypes.c_int) -> int:  # noqa: N802
        name.value = self.cards[device.value - 70][0].encode()[: length - 1]
        return self._answer("cuDeviceGetName")

    def cuDeviceTotalMem_v2(self, memory: Any, device: ctypes.c_int) -> int:  # noqa: N802
        memory._obj.value = self.cards[device.value - 70][3]
        return self._answer("cuDeviceTotalMem_v2")

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: ctypes.c_int) -> int:  # noqa: N802
        value._obj.value = self.cards[device.value - 70][{75: 1, 76: 2}[attribute]]
        return self._answer("cuDeviceGetAttribute")

    def cuGetErrorName(self, code: int, name: Any) -> int:  # noqa: N802
        names = {
            3: b"CUDA_ERROR_NOT_INITIALIZED",
            100: b"CUDA_ERROR_NO_DEVICE",
            803: b"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
        }
        name._obj.value = names.get(code)
        return 0 if code in names else 1


class CudaRuntimeError(RuntimeError):
    def __init__(self, status: int) -> None:
        super().__init__(f"CUDA error {status}")
        self.status = status


class CudaDriverError(RuntimeError):
    pass


class CompileException(Exception):  # noqa: N818  # as CuPy calls it
    def get_message(self) -> str:
        return str(self.args[0])


class Stream:
    """Work that is carried out no sooner than somebody waits for it, as a slow card would."""

    def __init__(self, card: Card, non_blocking: bool) -> None:
        assert non_blocking
        self.card = card
        self.ptr = 4711
        self.queue: list[Callable[[], None]] = []
        self.captured: list[Callable[[], None]] | None = None
        self.invalid = False
        card.streams.append(self)

    def ask(self, work: Callable[[], None]) -> None:
        self.card.check_current()
        (self.queue if self.captured is None else self.captured).append(work)

    def run_until(self, work: Callable[[], None] | None) -> None:
        if self.captured is not None:
            self.invalid = True
            raise CudaRuntimeError(900)
        while self.queue and (work is None or work in self.queue):
            self.queue.pop(0)()

    def synchronize(self) -> None:
        self.run_until(None)

    def begin_capture(self, mode: int | None = None) -> None:
        assert mode is None
        assert self.captured is None
        self.captured = []

    def end_capture(self) -> Graph:
        return Graph(self.end())

    def end(self) -> list[Callable[[], None]]:
        captured, invalid = self.captured, self.invalid
        self.captured, self.invalid = None, False
        if captured is None or invalid:
            raise CudaRuntimeError(901)
        return captured


class Event:
    def __init__(self, disable_timing: bool = False) -> None:
        self.timing = not disable_timing
        self.stream: Stream | None = None
        self.mark: Callable[[], None] | None = None
        self.seconds = 0.0

    def record(self, stream: Stream) -> None:
        def mark() -> None:
            self.seconds = stream.card.seconds

        self.stream, self.mark = stream, mark
        stream.ask(mark)

    def synchronize(self) -> None:
        if self.stream is not None and self.mark in self.stream.queue:
            self.stream.run_until(self.mark)


class Graph:
    def __init__(self, work: list[Callable[[], None]]) -> None:
        self.work = work
        self.uploads = 0

    def upload(self, stream: Stream) -> None:
        self.uploads += 1

    def launch(self, stream: Stream) -> None:
        for work in self.work:
            stream.ask(work)


class Block:
    """Memory of the card, which lies in the host's."""

    def __init__(self, card: Card, nbytes: int) -> None:
        card.check_current()
        if nbytes > card.free:
            raise CudaRuntimeError(2)
        self.card = card
        self.bytes = np.full(nbytes + 256, 0xFF, np.uint8)
        self.ptr = -(-self.bytes.ctypes.data // 256) * 256
        self.size = nbytes
        card.free -= nbytes

    def __del__(self) -> None:
        if hasattr(self, "card"):
            self.card.free += self.size
            self.card.freed_while_busy |= any(stream.queue for stream in self.card.streams)


class Device:
    id = property(lambda self: self.number)
    compute_capability = "90"
    attributes = {"MultiProcessorCount": 132}  # noqa: RUF012  # a stand-in for a property

    def __init__(self, card: Card, number: int) -> None:
        self.card = card
        self.number = card.number = number

    def __enter__(self) -> Device:
        self.card.current.append(self.number)
        return self

    def __exit__(self, *_: object) -> None:
        self.card.current.pop()


class Card:
    """CuPy with one card: memory lies in the host's, kernels are Python functions of addresses and n.

    Parameters
    ----------
    programs : mapping of str to mapping
        The kernels of each text by their names; any other text is refused with `complaint`.
    """

    def __init__(
        self, programs: Mapping[str, Program] | None = None, complaint: str = "", whole: int = 1 << 30
    ) -> None:
        self.programs = programs or {}
        self.complaint = complaint
        self.free = self.whole = whole
        self.seconds = 0.0
        self.streams: list[Stream] = []
        self.number = 0
        self.current = [0]
        self.freed_while_busy = False
        self.options: tuple[str, ...] = ()
        self.nvrtc: Callable[[], tuple[int, int]] = lambda: (13, 1)
        runtime = SimpleNamespace(
            CUDARuntimeError=CudaRuntimeError,
            memcpyHostToDevice=1,
            memcpyDeviceToHost=2,
            memcpyAsync=self._copy,
            memGetInfo=self._memory_info,
            streamEndCapture=lambda _: id(self.streams[0].end()),
            graphDestroy=lambda _: None,
            runtimeGetVersion=lambda: 13010,
            driverGetVersion=lambda: 13000,
            getDeviceProperties=lambda number: {"name": {self.number: b"NVIDIA H200"}[number]},
        )
        self.cuda = SimpleNamespace(
            runtime=runtime,
            Device=lambda number: Device(self, number),
            Stream=lambda non_blocking=False: Stream(self, non_blocking),
            Event=Event,
            Memory=lambda nbytes: Block(self, nbytes),
            alloc_pinned_memory=self._pinned,
            get_elapsed_time=lambda start, end: 1000 * (end.seconds - start.seconds),
            compiler=SimpleNamespace(CompileException=CompileException),
            driver=SimpleNamespace(CUDADriverError=CudaDriverError),
            nvrtc=SimpleNamespace(getVersion=lambda: self.nvrtc()),
        )

    __version__ = "14.2.0"

    def check_current(self) -> None:
        """Require that CUDA's current device is this one."""
        assert self.current[-1] == self.number

    def _memory_info(self) -> tuple[int, int]:
        self.check_current()
        return self.free, self.whole

    def _copy(self, target: int, source: int, nbytes: int, kind: int, stream: int) -> None:
        assert kind in (1, 2)
        assert stream == self.streams[0].ptr

        def copy() -> None:
            ctypes.memmove(target, source, nbytes)

        self.streams[0].ask(copy)

    def _pinned(self, nbytes: int) -> bytearray:
        if nbytes > self.whole:
            raise CudaRuntimeError(2)
        return bytearray(nbytes)

    def RawModule(self, *, code: str, options: tuple[str, ...], backend: str) -> Any:  # noqa: N802  # as in CuPy
        assert backend == "nvrtc"
        self.options = options

        def compile_it() -> None:
            if code not in self.programs:
                raise CompileException(self.complaint)

        def get_function(name: str) -> Any:
            if name not in self.programs[code]:
                raise CudaDriverError("CUDA_ERROR_NOT_FOUND: named symbol not found")
            return SimpleNamespace(kernel=Function(self, self.programs[code][name]))

        return SimpleNamespace(compile=compile_it, get_function=get_function)


class Function:
    def __init__(self, card: Card, body: Callable[..., None]) -> None:
        self.card = card
        self.body = body

    def __call__(
        self,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        args: Sequence[object],
        shared_mem: int = 0,
        *,
        stream: Stream,
    ) -> None:
        assert all(type(value) is int for value in args[:-1])
        assert type(args[-1]) is np.int32
        stream.ask(lambda: self.body(*args))
