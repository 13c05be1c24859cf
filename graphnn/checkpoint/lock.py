"""A lock on a folder, which dies with its process."""

from __future__ import annotations

import errno
import logging
import os
import platform
import sys
from contextlib import suppress
from pathlib import Path

from graphnn.ops.errors import CheckpointError
from graphnn.ops.source import caller

NAME = ".lock"
"""Of the file that is locked. It stays: removing it would let two processes lock two files of that name."""

_HELD = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}  # what the systems say of a lock that somebody else has
_BYTE_LOCKED_ON_WINDOWS = 1 << 30  # far behind the text, which others are to read


class FolderLock:
    """A lock that one writer in all processes can have on a folder.

    Raises
    ------
    CheckpointError
        If another writer has it.
    OSError
        If the file to be locked can't be made.
    """

    def __init__(self, folder: Path) -> None:
        self._descriptor = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(self._descriptor)
        except OSError as error:
            if error.errno in _HELD:
                owner = _read(self._descriptor)
                os.close(self._descriptor)
                raise _taken(folder, owner) from error
            # Some network file systems have no locks. Checkpoints without one are better than none.
            logging.getLogger("graphnn").warning(
                "%s can't be locked (%s): let no other process write checkpoints there", folder, error.strerror
            )
        with suppress(OSError):  # a full disk: others will not know who has the lock, that is all
            os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, _own_name().encode())

    def release(self) -> None:
        """Let others have the lock."""
        os.close(self._descriptor)


def _own_name() -> str:
    return f"process {os.getpid()} on {platform.node()}"


def _read(descriptor: int) -> str:
    with suppress(OSError):
        return os.read(descriptor, 200).decode(errors="replace")
    return ""


def _taken(folder: Path, owner: str) -> CheckpointError:
    return CheckpointError(
        f"{str(folder)!r} can't be written to: another writer has checkpoints there",
        expected="one writer in a folder",
        actual="this process has it already" if owner == _own_name() else f"{owner or 'another process'} has it",
        where=str(caller()),
        hint="choose another folder, or end the other writer",
    )


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, _BYTE_LOCKED_ON_WINDOWS, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
