"""Write a file beside its place and rename it, so that no one ever sees half of it."""

from __future__ import annotations

import errno
import os
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from graphnn.ops.errors import GraphError
from graphnn.ops.source import caller

_PART = re.compile(r"\.(?P<target>.+)\.[0-9a-f]{8}\.part", re.DOTALL)
_NO_ROOM = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}  # Windows has no quota of that name


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
    with _beside(path, str(caller()), GraphError) as (part, _):
        part.touch(exist_ok=False)


def write_whole(path: str | Path, write: Callable[[BinaryIO], object], kind: type[GraphError] = GraphError) -> None:
    """Let a function write a file, which takes the place of what stood there when all of it is safely on the disk.

    A new file has the usual permissions, one that replaces another has those of that one.

    Raises
    ------
    GraphError
        Of the given kind, if it can't be written; nothing has changed then.
    """
    with _beside(path, str(caller()), kind) as (part, target):
        with part.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileNotFoundError):
            part.chmod(target.stat().st_mode & 0o777)
        part.replace(target)
        sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system can do that."""
    if os.name != "posix":  # Windows opens no folders
        return
    with suppress(PermissionError):  # a folder that may be written to but not read
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems know it for files alone
                raise
        finally:
            os.close(descriptor)


def target_of_part(name: str) -> str | None:
    """Return what an unfinished file was to be called, None for the name of any other file.

    Examples
    --------
    >>> target_of_part(".a.svg.0123abcd.part"), target_of_part("a.svg")
    ('a.svg', None)
    """
    match = _PART.fullmatch(name)
    return match["target"] if match else None


@contextmanager
def _beside(path: str | Path, where: str, kind: type[GraphError]) -> Iterator[tuple[Path, Path]]:
    """Give a free name in the same folder and the place itself; at the end nothing is left under that name."""
    target = Path(os.path.realpath(path))  # a link stays one: what it points to is replaced
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        if target.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        yield part, target
    except OSError as error:
        is_full = error.errno in _NO_ROOM
        raise kind(
            f"{str(path)!r} can't be written: {error.strerror or error}",
            expected="room for it on the disk" if is_full else "a file that can be written",
            where=where,
            hint="make room, or write to another disk" if is_full else "name a file in a folder that can be written to",
        ) from error
    finally:
        _remove(part)


def _remove(part: Path) -> None:
    try:
        part.unlink(missing_ok=True)
    except OSError:  # a part of the path is no folder, so there is no file either
        return
