"""What NVRTC says when it refuses a program, as an error of graphnn."""

from __future__ import annotations

import re

from graphnn.compiler.targets.c.build import BuildError

_MARKER = re.compile(r"/\* kernel: (.*?) \*/")
_DIAGNOSTIC = re.compile(r"^.*\((?P<line>\d+)\): (?P<said>(?:catastrophic )?error\b.*)$", re.MULTILINE)
_COMPLAINT = re.compile(r"^.*\berror\b.*$", re.MULTILINE)
_ENTRY = re.compile(r"[Ee]ntry function '(\w+)'")


def explained(log: str, text: str) -> BuildError:
    """Turn what NVRTC printed into an error that names the kernel and NVRTC's own first error."""
    found = _DIAGNOSTIC.search(log)
    if found:
        markers = _MARKER.findall("\n".join(text.split("\n")[: int(found["line"])]))
        kernel = markers[-1] if markers else ""
        said = f"line {found['line']}: {found['said']}"
    else:
        complaint, entry = _COMPLAINT.search(log), _ENTRY.search(log)
        kernel = entry[1] if entry else ""
        said = complaint[0] if complaint else log.partition("\n")[0]
    return BuildError(
        "NVRTC failed" + (f" on kernel {kernel}" if kernel else ""),
        actual=said,
        hint="this is a fault of graphnn; please report it with the error's `output` and `executor.source`",
        output=log,
    )
