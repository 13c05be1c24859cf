"""Libraries kept on disk: sealed with a digest, in a folder that only its owner can write."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_SIZE_LIMIT = 512 << 20
_SPARED_SECONDS = 600.0  # what was used this recently is in use: another process may be about to load it
_MAGIC = b"graphnn\x01"
_SEAL_BYTES = len(_MAGIC) + 2 * hashlib.sha256().digest_size
# A link would lead out of the folder; opening a pipe would wait for ever. Windows has neither flag.
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True)
class Store:
    """A folder of sealed libraries, named by their keys.

    A sealed library is followed by a mark, its key and the SHA-256 of all before; loaders ignore what follows a
    library. Files are never changed, only replaced as a whole by renaming, so that any number of processes can read
    and write without locks.

    Attributes
    ----------
    folder : Path
        Where they lie. `open_store` has found that only the user can write there.
    size_limit : int
        Bytes beyond which the files that were not used for longest are removed.
    """

    folder: Path
    size_limit: int = _SIZE_LIMIT

    def path(self, key: str) -> Path:
        """Return where the library of a key lies, or would lie."""
        return self.folder / f"{key}.so"

    def find(self, key: str) -> Path | None:
        """Return the library of a key if it is there and whole, and note that it is in use."""
        path = self.path(key)
        try:
            if not _is_sealed(_read_own(path), key):
                return None
        except OSError:
            return None
        with suppress(OSError):  # a folder that can only be read still serves
            os.utime(path)
        return path

    def put(self, key: str, library: bytes) -> Path:
        """Keep a library, at once or not at all, and return where.

        Raises
        ------
        OSError
            If it can't be written. Nothing is left behind.
        """
        path = self.path(key)
        descriptor, name = tempfile.mkstemp(prefix=f"{key[:16]}-", suffix=".part", dir=self.folder)
        part = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(_sealed(library, key))
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise
        with suppress(OSError):
            self._trim()
        return path

    def remove(self, key: str) -> None:
        """Remove the library of a key, if that is possible."""
        with suppress(OSError):
            self.path(key).unlink()

    def _trim(self) -> None:
        """Remove what was not used for longest beyond the limit, and what killed processes have left."""
        latest = time.time() - _SPARED_SECONDS
        kept: list[tuple[float, int, Path]] = []
        for path in self.folder.iterdir():
            with suppress(OSError):  # another process may have been faster
                status = path.lstat()
                if path.suffix == ".so" and stat.S_ISREG(status.st_mode):
                    kept.append((status.st_mtime, status.st_size, path))
                elif path.suffix == ".part" and status.st_mtime < latest:
                    path.unlink()
        excess = sum(size for _, size, _ in kept) - self.size_limit
        for used, size, path in sorted(kept):
            if excess <= 0 or used >= latest:
                break
            with suppress(OSError):
                path.unlink()
            excess -= size


def open_store(folder: Path) -> Store:
    """Return the store in a folder, which is made if it is not there.

    Raises
    ------
    OSError
        If it can't be made, or if somebody else could put files into it.
    """
    if not folder.is_absolute():  # "~/.cache" stays as it is for a user without a home
        raise FileNotFoundError(errno.ENOENT, "there is no home folder; set XDG_CACHE_HOME", str(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "it is a link or a file, not a folder", str(folder))
    _require_own(status, folder)
    for parent in folder.resolve().parents:
        mode = parent.stat().st_mode
        if os.name == "posix" and mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise PermissionError(errno.EPERM, f"anybody could exchange it, since anybody can write to {parent}")
    return Store(folder)


def _require_own(status: os.stat_result, path: Path) -> None:
    """Raise a PermissionError unless a file or folder belongs to the user and nobody else can write to it."""
    if os.name != "posix":  # folders of a Windows profile are their user's own, and modes say nothing there
        return
    if status.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, f"it belongs to another user (number {status.st_uid})", str(path))
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(errno.EPERM, f"others can write to it; run `chmod 700 {path}`", str(path))


def _read_own(path: Path) -> bytes:
    with os.fdopen(os.open(path, _OPEN_FLAGS), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a plain file", str(path))
        _require_own(status, path)
        return file.read()


def _sealed(library: bytes, key: str) -> bytes:
    marked = library + _MAGIC + bytes.fromhex(key)
    return marked + hashlib.sha256(marked).digest()


def _is_sealed(data: bytes, key: str) -> bool:
    return len(data) > _SEAL_BYTES and data == _sealed(data[:-_SEAL_BYTES], key)
