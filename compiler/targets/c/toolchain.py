"""Which C compiler this machine has, and what it can do."""

from __future__ import annotations

import importlib.util
import logging
import os
import platform
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path

from graphnn.compiler.targets.c.build import BASE_FLAGS, TIMEOUT, BuildError, BuildTimeoutError, Compiler
from graphnn.compiler.targets.c.cache import load_library
from graphnn.compiler.targets.c.processes import ProcessError, run
from graphnn.ops.errors import CompileError

_INSTALL = "install gcc or clang, or run `pip install ziglang`"
_NAMES = ("cc", "gcc", "clang")
_CPU_FLAGS = ("-march=native", "-mcpu=native", "")
_THREAD_FLAGS = ("-fopenmp", "")
_X86_FACTS = ("vendor_id", "cpu family", "model", "model name", "stepping", "flags")
_ARM_FACTS = ("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "Features")
_CPU_FACTS = frozenset([*_X86_FACTS, *_ARM_FACTS, "isa", "uarch", "cpu"])  # and those of RISC-V and POWER

# What kernels rely on: vector types, the mathematical library, and OpenMP where it is on.
_PROBE = """\
#include <math.h>
#include <stdint.h>
#ifdef _OPENMP
#include <omp.h>
#endif

typedef float vector __attribute__((vector_size(16)));

__attribute__((visibility("default"))) void graphnn_probe_threads(vector *values, int64_t count)
{
#ifdef _OPENMP
    count *= omp_get_max_threads();
#endif
#pragma omp parallel for
    for (int64_t i = 0; i < count; ++i)
        values[i] = values[i] * values[i] + expf(values[i][0]);
}

__attribute__((visibility("default"))) int graphnn_probe_vector_bytes(void)
{
#if defined(__AVX512F__)
    return 64;
#elif defined(__AVX2__) && defined(__FMA__)
    return 32;
#else
    return 16;
#endif
}
"""


def find_compiler() -> Compiler | None:
    """Return this machine's C compiler, or None if it has none that works: see `unavailable_reason`.

    The first of these that builds a library which can be loaded: ``$CC``, cc, gcc, clang, and that of the Python
    package ziglang. The answer is kept for the life of the process.
    """
    return _search()[0]


def unavailable_reason() -> str | None:
    """Return one line that says why there is no C compiler and what to install, or None if there is one."""
    return _search()[1]


def candidates() -> Iterator[tuple[str, ...]]:
    """Yield the commands that may be a C compiler, the preferred first."""
    if wanted := _wanted():
        yield wanted
    yield from ((name,) for name in _NAMES if shutil.which(name))
    if importlib.util.find_spec("ziglang"):
        yield (sys.executable, "-m", "ziglang", "cc")


def examine(command: Sequence[str], *, folder: Path | None = None, timeout: float = TIMEOUT) -> Compiler:
    """Find out what a compiler can do, by building and loading a small library.

    Parameters
    ----------
    command : sequence of str
        The program and arguments that always come first.
    folder : Path, optional
        Where that library is kept, as in `load_library`.
    timeout : float
        Seconds after which the compiler counts as hanging.

    Raises
    ------
    CompileError
        If it doesn't work.
    """
    program = shutil.which(command[0])
    if program is None:
        raise CompileError(f"there is no program {command[0]!r}")
    # Compilers run in another folder than this process.
    full = (str(Path(program).absolute()), *command[1:])
    plain = Compiler(full, _version(full, timeout), describe_cpu())
    failure: BuildError | None = None
    for cpu_flag, thread_flag in product(_CPU_FLAGS, _THREAD_FLAGS):
        flags = (*BASE_FLAGS, *filter(None, (cpu_flag, thread_flag)))
        compiler = replace(plain, flags=flags, threads=bool(thread_flag))
        try:
            library = load_library({"probe.c": _PROBE}, {}, compiler, folder=folder, timeout=timeout)
        except BuildTimeoutError:
            raise
        except BuildError as error:
            failure = error
        else:
            return replace(compiler, vector_bytes=library.graphnn_probe_vector_bytes())
    assert failure is not None
    raise failure


@cache
def describe_cpu() -> str:
    """Return what tells this machine's processor from others that would need other code."""
    facts = []
    with suppress(OSError), Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
        for line in file:
            name, _, value = map(str.strip, line.partition(":"))
            if not name:  # the end of the first processor
                break
            if name in _CPU_FACTS:
                facts.append(f"{name}: {value}")
    # Where little is known, a cache that several machines share serves each of them alone.
    return "\n".join([platform.machine(), *(facts or (platform.processor(), platform.node()))])


def _wanted() -> tuple[str, ...]:
    """Return the command in ``$CC``, empty if there is none."""
    text = os.environ.get("CC", "")
    try:
        return tuple(shlex.split(text))
    except ValueError:  # a quote that is never closed
        return (text,)


@cache
def _search() -> tuple[Compiler | None, str | None]:
    failures = []
    for command in candidates():
        try:
            compiler = examine(command)
        except CompileError as error:
            failures.append(f"{shlex.join(command)}: {error.message}" + (f": {error.actual}" if error.actual else ""))
            continue
        if failures and _wanted():
            used = shlex.join(compiler.command)
            logging.getLogger("graphnn").warning(f"$CC can't be used ({failures[0]}); {used} is used instead")
        return compiler, None
    if failures:
        return None, f"no C compiler works ({'; '.join(failures)}); {_INSTALL}"
    return None, f"no C compiler is installed; {_INSTALL}"


def _version(command: Sequence[str], timeout: float) -> str:
    try:
        (printed,) = run([[*command, "--version"]], Path(tempfile.gettempdir()), timeout)
    except ProcessError as error:
        raise CompileError(f"{command[0]} {error.reason} when asked for its version") from None
    return printed.strip().partition("\n")[0]
