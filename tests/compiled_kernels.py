"""Kernels of the C target for tests: compiled in one unit, called with arrays, and once more under the sanitizers."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import weakref
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphnn.compiler.targets.c import cache as libraries
from graphnn.compiler.targets.c.build import TIMEOUT, Compiler, compile_library
from module_names import ROOT

EXPORT = '__attribute__((visibility("default"))) '
HEADERS = {path.name: path.read_text() for path in Path(libraries.__file__).parent.glob("*.h")}


def aligned(shape: tuple[int, ...] | int, dtype: Any = np.float32, fill: float = 0) -> np.ndarray:
    """Return an array that starts on a cache line and ends where its memory ends, so that a sanitizer sees all."""
    array_type = np.dtype(dtype)
    nbytes = int(np.prod(shape)) * array_type.itemsize
    memory = ctypes.c_void_p()
    if _c_library().posix_memalign(ctypes.byref(memory), 64, nbytes):
        raise MemoryError
    assert memory.value is not None
    buffer = (ctypes.c_char * nbytes).from_address(memory.value)
    weakref.finalize(buffer, _c_library().free, ctypes.c_void_p(memory.value))
    array = np.frombuffer(buffer, array_type).reshape(shape)
    array[...] = fill
    return array


def to_lanes(examples: np.ndarray, lanes: int, beyond: float = 0) -> np.ndarray:
    """Return a block of up to `lanes` examples side by side; `beyond` stands in the lanes that are left over."""
    block = aligned((*examples.shape[1:], lanes), examples.dtype, fill=beyond)
    block[..., : len(examples)] = np.moveaxis(examples, 0, -1)
    return block


def from_lanes(block: np.ndarray, valid: int) -> np.ndarray:
    """Return the first examples of a block, one after the other."""
    return np.moveaxis(block[..., :valid], -1, 0)


def blocks_of(examples: np.ndarray, lanes: int) -> np.ndarray:
    """Return blocks of examples side by side; the lanes that are left over hold NaN."""
    starts = range(0, len(examples), lanes)
    blocks = aligned((len(starts), *examples.shape[1:], lanes))
    for block, start in zip(blocks, starts, strict=True):
        block[...] = to_lanes(examples[start : start + lanes], lanes, np.nan)
    return blocks


def of_one_sign(*shape: int) -> np.ndarray:
    """Return random numbers above 0: what few numbers sum to may otherwise be much smaller than they are."""
    return np.random.default_rng(sum(shape)).uniform(0.2, 1.2, shape).astype(np.float32)


def check_sums(actual: np.ndarray, expected: np.ndarray) -> None:
    """Require that sums of products in float32 are those in float64, but for rounding."""
    error = np.sqrt(np.mean((actual - expected) ** 2))  # NaN if there is one
    assert error <= 1e-6 * np.sqrt(np.mean(expected**2))


def call(library: ctypes.CDLL, name: str, *arguments: np.ndarray | int) -> None:
    """Call a compiled function with the addresses of arrays."""
    getattr(library, name)(*(x if isinstance(x, int) else ctypes.c_void_p(x.ctypes.data) for x in arguments))


def run_under_sanitizers(compiler: Compiler, units: dict[str, str], folder: Path, module: str, function: str) -> None:
    """Build units with the address and undefined-behaviour sanitizers and call a module's function with the library.

    That takes a process of its own, in which the sanitizer's library is loaded before all others.
    """
    library = compile_library(units, HEADERS, sanitizing(compiler), (), folder, TIMEOUT)
    run_with_sanitizers_loaded(
        compiler, f"import ctypes, runpy; runpy.run_path({module!r})[{function!r}](ctypes.CDLL({str(library)!r}))"
    )


def sanitizing(compiler: Compiler) -> Compiler:
    """Return the same compiler, which finds bad addresses and undefined behaviour while its code runs."""
    kept = tuple(flag for flag in compiler.flags if flag != "-O3")
    return replace(compiler, flags=(*kept, "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"))


def run_with_sanitizers_loaded(compiler: Compiler, script: str) -> None:
    """Run a Python script in a process that libraries from `sanitizing` can be loaded into."""
    runtime = subprocess.run(
        [*compiler.command, "-print-file-name=libasan.so"], capture_output=True, text=True, check=False
    ).stdout.strip()
    if not Path(runtime).is_absolute():
        pytest.skip("the compiler has no sanitizers")
    environment = {
        **os.environ,
        "LD_PRELOAD": runtime,
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
    }
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT
    )
    assert done.returncode == 0, done.stderr[:4000]


@cache
def _c_library() -> ctypes.CDLL:
    return ctypes.CDLL(None)
