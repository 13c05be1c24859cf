"""NVIDIA's driver, asked without CuPy or a CUDA toolkit: which CUDA it can run, and on which cards."""

from __future__ import annotations

import ctypes
import sys
from ctypes import byref
from dataclasses import dataclass
from functools import cached_property
from typing import Any

_NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR


class DriverError(Exception):
    """A call that the driver refused."""


@dataclass(frozen=True)
class Gpu:
    """A card that this process may use.

    Attributes
    ----------
    index : int
        Its number among them.
    name : str
        As its maker calls it.
    architecture : int
        Its compute capability times 10: 90 for 9.0, which compilers call sm_90.
    memory_bytes : int
        Its memory.
    """

    index: int
    name: str
    architecture: int
    memory_bytes: int

    def __str__(self) -> str:
        memory = f"{self.memory_bytes / 2**30:.1f} GiB"
        return f"{self.name}, {memory}, compute capability {self.architecture / 10}"


def load_library() -> Any:
    """Return the driver's library.

    Raises
    ------
    OSError
        If there is none.
    """
    return ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")


class Driver:
    """The driver behind a library: https://docs.nvidia.com/cuda/cuda-driver-api/.

    Parameters
    ----------
    library : ctypes.CDLL
        From `load_library`, or an object with its functions.
    """

    def __init__(self, library: Any) -> None:
        self._library = library

    @cached_property
    def cuda(self) -> tuple[int, int]:
        """The newest CUDA that it can run.

        Raises
        ------
        DriverError
            If it doesn't say.
        """
        version = ctypes.c_int()
        self._call("cuDriverGetVersion", byref(version))
        return version.value // 1000, version.value % 1000 // 10

    @cached_property
    def gpus(self) -> tuple[Gpu, ...]:
        """The cards that this process may use.

        Raises
        ------
        DriverError
            If it can't be initialised, or doesn't say.
        """
        code = self._library.cuInit(0)
        if code == _NO_DEVICE:
            return ()
        self._check("cuInit", code)
        count = ctypes.c_int()
        self._call("cuDeviceGetCount", byref(count))
        return tuple(self._gpu(index) for index in range(count.value))

    def _gpu(self, index: int) -> Gpu:
        device = ctypes.c_int()
        self._call("cuDeviceGet", byref(device), index)
        name = ctypes.create_string_buffer(256)
        self._call("cuDeviceGetName", name, len(name), device)
        memory = ctypes.c_size_t()
        self._call("cuDeviceTotalMem_v2", byref(memory), device)
        major, minor = (self._attribute(number, device) for number in (_MAJOR, _MINOR))
        return Gpu(index, name.value.decode(errors="replace"), 10 * major + minor, memory.value)

    def _attribute(self, number: int, device: ctypes.c_int) -> int:
        value = ctypes.c_int()
        self._call("cuDeviceGetAttribute", byref(value), number, device)
        return value.value

    def _call(self, name: str, *arguments: Any) -> None:
        self._check(name, getattr(self._library, name)(*arguments))

    def _check(self, name: str, code: int) -> None:
        if code == 0:
            return
        text = ctypes.c_char_p()
        self._library.cuGetErrorName(code, byref(text))  # leaves null for a code that it does not know
        raise DriverError(f"{name} gave {(text.value or b'an error').decode()} ({code})")
