"""Write a file beside its place and rename it, so that no one ever sees half of it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
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
            hint=f"end the file's name in {supported[0]}",
        )
    return suffix


def require_writable(path: str | Path) -> None:
    """Raise a GraphError unless a file can be put there. What stands there stays."""
    with _beside(path, str(caller())) as (part, _):
        part.touch(exist_ok=False)


def write_whole(path: str | Path, write: Callable[[BinaryIO], object]) -> None:
    """Let a function write a file, which takes the place of what stood there when all of it is written.

    Raises
    ------
    GraphError
        If it can't be written; nothing has changed then.
    """
    with _beside(path, str(caller())) as (part, target):
        with part.open("xb") as file:
            write(file)
        part.replace(target)


@contextmanager
def _beside(path: str | Path, where: str) -> Iterator[tuple[Path, Path]]:
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
            where=where,
            hint="name a file in a folder that exists and may be written to",
        ) from error
    finally:
        _remove(part)


def _remove(part: Path) -> None:
    try:
        part.unlink(missing_ok=True)
    except OSError:  # a part of the path is no folder, so there is no file either
        return
