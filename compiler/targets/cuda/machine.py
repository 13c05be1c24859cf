"""What the CUDA target needs of a machine: memory, copies, compiling and launching.

CuPy gives it for NVIDIA GPUs, the emulator for the CPU. Work is done in the order in which it is asked for, as on one
CUDA stream; only `Machine.download` and `Machine.synchronize` wait for it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from graphnn.compiler.targets.cuda.cudnn import Cudnn


class Memory(ABC):
    """A stretch of device memory, which is freed when this object dies.

    Attributes
    ----------
    address : int
        Where it starts on the device, a multiple of 256.
    nbytes : int
        How long it is.
    """

    address: int
    nbytes: int


class Kernel(ABC):
    """A compiled kernel.

    Attributes
    ----------
    name : str
        Its name in the text.
    """

    name: str


class Replay(ABC):
    """Recorded work: see `Machine.record`."""

    @abstractmethod
    def __call__(self) -> None:
        """Do all of it once, after what was asked for before."""


class Machine(ABC):
    """One device that runs CUDA kernels.

    Attributes
    ----------
    name : str
        "cuda" or "cuda-emulator", as in ``Executor(device=...)``.
    """

    name: str

    @property
    def cudnn(self) -> Cudnn | None:
        """cuDNN, if this machine has it."""
        return None

    @property
    @abstractmethod
    def memory_bytes(self) -> tuple[int, int]:
        """Bytes of device memory that are free, and all there are."""

    @abstractmethod
    def allocate(self, nbytes: int) -> Memory:
        """Return device memory, whose contents are not defined.

        Raises
        ------
        MemoryError
            If there is not enough.
        """

    @abstractmethod
    def upload(self, address: int, array: np.ndarray) -> None:
        """Copy an array to the device, before whatever is launched later.

        Parameters
        ----------
        address : int
            Where its first byte goes.
        array : np.ndarray
            C-contiguous. It may be changed as soon as this returns.
        """

    @abstractmethod
    def download(self, address: int, array: np.ndarray) -> None:
        """Fill an array from the device, when all that was asked for before is done.

        Parameters
        ----------
        address : int
            Where its first byte lies.
        array : np.ndarray
            C-contiguous and writable.
        """

    @abstractmethod
    def compile(self, text: str, kernels: Sequence[str]) -> Mapping[str, Kernel]:
        """Compile a program, or load it from the disk if that was done before.

        Parameters
        ----------
        text : str
            The whole program: device.h, what else it needs, and its kernels, each ``GN_KERNEL(threads) name(...)``
            with parameters that are pointers, and an ``int`` last.
        kernels : sequence of str
            The names of those that will be launched.

        Raises
        ------
        CompileError
            If the text can't be compiled, or has no such kernel.
        """

    @abstractmethod
    def launch(self, kernel: Kernel, grid: tuple[int, int, int], threads: int, arguments: Sequence[int]) -> None:
        """Ask for one run of a kernel.

        Parameters
        ----------
        kernel : Kernel
            From `compile` of the same machine.
        grid : tuple of int
            How many blocks along x, y and z.
        threads : int
            How many threads a block has.
        arguments : sequence of int
            Device addresses, and the ``int`` last: one for each parameter.
        """

    @abstractmethod
    def call(self, work: Callable[[int], None]) -> None:
        """Let a library ask for its own kernels.

        Parameters
        ----------
        work : callable
            Is given the address of the CUDA stream on which it must ask for all that it wants. If this is recorded, it
            lives as long as the recording.
        """

    @abstractmethod
    def record(self, pieces: Sequence[Callable[[], None]], waits: Sequence[Sequence[int]] | None = None) -> Replay:
        """Return the launches of some pieces of work as one unit that costs little to run again and again.

        Each piece is called once, and its launches are noted rather than carried out (CUDA's stream capture): nothing
        has run until the result is called. Pieces may launch and call, and nothing else. Memory that the kernels use
        must live as long as the result.

        Parameters
        ----------
        pieces : sequence of callable
            In an order in which they may run one after the other.
        waits : sequence of sequence of int
            For each piece the numbers of the earlier ones that it has to wait for; it may run beside all others. If
            not given, each waits for the one before.
        """

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until all that was asked for is done."""

    @abstractmethod
    def timed(self, work: Callable[[], None]) -> float:
        """Return how many seconds the device takes for what `work` asks for."""
