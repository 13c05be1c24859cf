"""Write a file beside its place and rename it, so that no one ever sees half of it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from graphnn.ops.errors import GraphError
from graphnn.ops.source import caller


def require_suffix(path: str | Path, supported: tuple[str, ...], what: str) -> str:
    """Return a path's suffix in lower case, or raise a GraphError if it is not a supported one."""
    suffix = Path(path).suffix.lower()
    if suffix not in supported:
        raise GraphError(
            f"{what} can't be written to {str(path)!r}: its suffix chooses the format",
            expected=" or ".join(supported),
            actual=suffix or "no suffix",
            where=str(caller()),
            hint=f"name the file {Path(path).stem or what}{supported[0]}",
        )
    return suffix


def require_writable(path: str | Path) -> None:
    """Raise a GraphError unless a file can be put there. What stands there stays."""
    with _beside(path) as (part, _):
        part.touch(exist_ok=False)


@contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file that takes its place, and the place of what stood there, when the block ends without an error.

    Raises
    ------
    GraphError
        If it can't be written.
    """
    with _beside(path) as (part, target):
        with part.open("xb") as file:
            yield file
        part.replace(target)


@contextmanager
def _beside(path: str | Path) -> Iterator[tuple[Path, Path]]:
    """Give a free name in the same folder and the place itself; at the end nothing is left under that name."""
    target = Path(os.path.realpath(path))  # a link stays one: what it points to is replaced
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        if target.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        yield part, target
    except OSError as error:
        raise GraphError(
            f"{str(path)!r} can't be written: {error.strerror or error}",
            where=str(caller()),
            hint="give a file in a folder that exists and may be written to",
        ) from error
    finally:
        part.unlink(missing_ok=True)
