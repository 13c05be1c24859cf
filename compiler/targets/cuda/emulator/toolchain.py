"""How the emulator's C++ is compiled, and the library that runs its threads."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from graphnn.compiler.targets.c.build import BuildError, Compiler
from graphnn.compiler.targets.c.cache import load_library
from graphnn.compiler.targets.c.processes import usable_cores
from graphnn.compiler.targets.c.toolchain import find_compiler, unavailable_reason
from graphnn.ops.errors import CompileError

FLAGS = (
    "-DGN_EMULATOR=1",
    "-Og",  # programs are compiled more often than they run long
    "-std=c++17",
    "-fPIC",
    "-fvisibility=hidden",
    "-fno-exceptions",
    "-fno-rtti",
    "-fno-strict-aliasing",  # nvcc has none either
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
)
"""What a compiler is asked for."""

_KERNELS_OF_A_UNIT = 16
_FOLDER = Path(__file__).parent
_INSTALL = "install g++ or clang, or run `pip install ziglang`"


def emulator_compiler() -> Compiler:
    """Return this machine's C++ compiler.

    It is the C compiler, since all of them compile C++ by the file's name where they can; nothing is linked that only
    C++ has.

    Raises
    ------
    CompileError
        If there is none.
    """
    compiler = find_compiler()
    if compiler is None:
        raise CompileError("the emulator needs a C++ compiler", actual=unavailable_reason() or "", hint=_INSTALL)
    return replace(compiler, flags=FLAGS, threads=False)


def load_program(text: str, kernels: Sequence[str], compiler: Compiler, folder: Path | None) -> ctypes.CDLL:
    """Compile a program, or load it from the disk.

    Each kernel can be called through ``gn_enter_<name>``. Every unit has the whole text but calls a part of the
    kernels; compilers drop the others before the work begins, so that all cores share it.
    """
    names = list(dict.fromkeys(kernels))
    units = min(usable_cores(), 1 + len(names) // _KERNELS_OF_A_UNIT)
    texts = {
        f"program_{number}.cpp": "\n".join([text, *(f"GN_ENTRY({name})" for name in names[number::units]), ""])
        for number in range(units)
    }
    return load_library(texts, _headers("emulator.h", "runtime.h"), compiler, folder=folder)


@cache
def load_scheduler(compiler: Compiler, folder: Path | None) -> ctypes.CDLL:
    """Load the library that runs threads.

    Raises
    ------
    CompileError
        If the compiler has no C++, or can't compile it.
    """
    unit = {"scheduler.cpp": (_FOLDER / "scheduler.cpp").read_text(encoding="utf-8")}
    quick = replace(compiler, flags=(*compiler.flags, "-O2"))  # the last one counts; it is compiled only once
    headers = _headers("fibres.h", "runtime.h", "tensor_cores.h")
    try:
        library = load_library(unit, headers, quick, folder=folder)
    except BuildError as error:
        if "cc1plus" not in error.output:
            raise
        raise CompileError("the emulator needs a C++ compiler", actual=error.actual, hint=_INSTALL) from None
    address, number = ctypes.c_void_p, ctypes.c_int64
    library.gn_emulate.argtypes = [
        *(address, address, ctypes.POINTER(number), ctypes.POINTER(ctypes.c_int32)),
        *(ctypes.c_int32, ctypes.c_int32, ctypes.c_uint64, ctypes.c_char_p, number),
    ]
    library.gn_allocate.restype, library.gn_allocate.argtypes = address, [number]
    library.gn_free.restype, library.gn_free.argtypes = None, [address]
    return library


def _headers(*names: str) -> dict[str, str]:
    return {name: (_FOLDER / name).read_text(encoding="utf-8") for name in names}
