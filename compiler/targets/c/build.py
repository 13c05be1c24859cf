"""C text in, shared library out; and what is said when a compiler refuses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from graphnn.compiler.targets.c.processes import ProcessError, run
from graphnn.ops.errors import CompileError

TIMEOUT = 120.0
"""Seconds after which a compiler counts as hanging."""

BASE_FLAGS = (
    "-O3",
    "-std=gnu11",
    "-fPIC",
    "-fvisibility=hidden",
    # In place of -ffast-math, whose reordering of sums makes gcc spill registers and breaks NaN.
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
)
"""What every compiler is asked for."""

_LINK_FLAGS = ("-shared",)
_LIBRARIES = ("-lm",)
_DIAGNOSTIC = re.compile(r"^(?P<file>[^\s:][^:\n]*):(?P<line>\d+):(?:\d+:)? (?:fatal )?error: .*$", re.MULTILINE)
# The linker's own words come before the driver's "error: ld returned 1 exit status".
_COMPLAINT = re.compile(r"error: |undefined |cannot find ")
_PLAIN_NAME = re.compile(r"\w[\w.-]*")
_MARKER = re.compile(r"/\* kernel: (.*?) \*/")


@dataclass(frozen=True)
class Compiler:
    """A C compiler that works on this machine.

    Attributes
    ----------
    command : tuple of str
        The program, by its full path, and arguments that always come first.
    version : str
        The first line of what it says of its version.
    cpu : str
        The processor that it compiles for.
    flags : tuple of str
        For compiling and for linking. `dataclasses.replace` adds more, for a sanitizer say.
    vector_bytes : int
        How wide a vector register is.
    threads : bool
        Whether OpenMP is on.
    """

    command: tuple[str, ...]
    version: str
    cpu: str = field(repr=False)
    flags: tuple[str, ...] = BASE_FLAGS
    vector_bytes: int = 16
    threads: bool = False


class BuildError(CompileError):
    """C text that did not become a library.

    Attributes
    ----------
    output : str
        All that the compiler printed.
    """

    def __init__(self, message: str, *, actual: str = "", hint: str = "", output: str = "") -> None:
        super().__init__(message, actual=actual, hint=hint)
        self.output = output


class BuildTimeoutError(BuildError):
    """A compiler that hung."""


def compile_library(
    units: Mapping[str, str],
    headers: Mapping[str, str],
    compiler: Compiler,
    link_flags: Sequence[str],
    folder: Path,
    timeout: float,
) -> Path:
    """Compile translation units side by side, link them and return the library, which lies in `folder`.

    Parameters
    ----------
    units, headers : mapping of str to str
        C text by file name.
    compiler : Compiler
        What compiles it.
    link_flags : sequence of str
        Further arguments for linking.
    folder : Path
        An empty folder to work in.
    timeout : float
        Seconds that each process may take.

    Raises
    ------
    BuildError
        If the text is wrong or the compiler is. It names the unit, the kernel by the nearest comment
        ``/* kernel: … */`` above the error, and the compiler's first error.
    OSError
        If the text can't be written.
    """
    texts = {**headers, **units}
    for name in texts:
        if not _PLAIN_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a plain file name")
    if len(texts) < len(headers) + len(units):
        raise ValueError("a unit and a header have the same name")
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    call = (*compiler.command, *compiler.flags)
    # The largest first, so that the cores end together.
    names = sorted(units, key=lambda name: (-len(units[name]), name))
    objects = {name: f"{name}.o" for name in sorted(units)}
    _run([(*call, "-c", name, "-o", objects[name]) for name in names], names, compiler, texts, folder, timeout)
    link = (*call, *_LINK_FLAGS, *objects.values(), "-o", "library.so", *link_flags, *_LIBRARIES)
    _run([link], [f"the linking of {', '.join(objects)}"], compiler, texts, folder, timeout)
    return folder / "library.so"


def _run(
    commands: Sequence[Sequence[str]],
    labels: Sequence[str],
    compiler: Compiler,
    texts: Mapping[str, str],
    folder: Path,
    timeout: float,
) -> None:
    try:
        run(commands, folder, timeout)
    except ProcessError as error:
        raise _explained(error, labels[error.number], compiler, texts) from None


def _explained(error: ProcessError, label: str, compiler: Compiler, texts: Mapping[str, str]) -> BuildError:
    """Turn the end of a process into an error that names the unit, the kernel and the compiler's own first error."""
    found = _DIAGNOSTIC.search(error.output)
    kernel = _kernel_above(texts.get(found["file"], ""), int(found["line"])) if found else ""
    said = found[0] if found else _first_complaint(error.output)
    hint = "this is a fault of graphnn; please report it with the error's `output` and `executor.source`"
    if "No space left on device" in error.output:
        hint = "make room on the disk, or set TMPDIR to a folder that has some"
    kind = BuildTimeoutError if error.timed_out else BuildError
    return kind(
        f"the C compiler failed on {label}" + (f", kernel {kernel}" if kernel else ""),
        actual=f"{said or error.reason} ({error.reason + ', ' if said else ''}{compiler.version})",
        hint=hint,
        output=error.output,
    )


def _kernel_above(text: str, line: int) -> str:
    markers = _MARKER.findall("\n".join(text.split("\n")[:line]))
    return markers[-1] if markers else ""


def _first_complaint(output: str) -> str:
    """Return the first line that speaks of an error, else the first that says anything."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return next(filter(_COMPLAINT.search, lines), lines[0] if lines else "")
