"""The user's file and line that a node came from."""

from __future__ import annotations

import linecache
import sys
from typing import NamedTuple


class Source(NamedTuple):
    """A place in the user's code."""

    file: str
    line: int

    def __str__(self) -> str:
        text = linecache.getline(self.file, self.line).strip()
        return f"{self.file}:{self.line}" + (f": {text}" if text else "")


def caller() -> Source:
    """Return the innermost line on the stack that is not graphnn's own.

    Only frames are read, no text: a graph of thousands of nodes is built at full speed, and the text of a line
    is looked up when an error or a report prints it.
    """
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    return Source(frame.f_code.co_filename, frame.f_lineno)


def _is_ours(module: str) -> bool:
    """Whether a module is part of the library; the command line is a user of it like any other."""
    return (module == "graphnn" or module.startswith("graphnn.")) and not module.startswith("graphnn.cli")
