"""Files fetched once from where their authors keep them, and checked each time they are used."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Generator
from contextlib import closing, suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from graphnn.data.errors import DataError
from graphnn.data.progress import progress
from graphnn.files import target_of_part, write_whole
from graphnn.ops.source import caller

_CHUNK = 1 << 18
_TIMEOUT = 30.0  # seconds without a byte
_ABANDONED_SECONDS = 3600.0  # a part that nobody has written to for so long was left by a process that was killed


@dataclass(frozen=True)
class RemoteFile:
    """A file on the network.

    Attributes
    ----------
    url : str
        Its last part is the file's name.
    md5 : str
        The checksum that its authors publish, 32 hexadecimal digits.
    """

    url: str
    md5: str

    @property
    def name(self) -> str:
        """The file's name, there and here."""
        return self.url.rpartition("/")[2]


def cache_folder(name: str) -> Path:
    """Return the folder, made if need be, in which a data set is kept: ``~/.cache/graphnn/data/NAME`` on Linux.

    Raises
    ------
    DataError
        If it can't be made.
    """
    from platformdirs import user_cache_path

    top = user_cache_path("graphnn", appauthor=False)
    folder = top / "data" / name
    try:
        if not top.is_absolute():  # "~/.cache" stays as it is for a user without a home
            raise FileNotFoundError(None, "there is no home folder")
        top.parent.mkdir(parents=True, exist_ok=True)
        # Compiled code is kept there as well, and is used only from a folder that is the user's own.
        top.mkdir(mode=0o700, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{folder}: can't be made: {error.strerror or error}",
            expected="a folder to keep downloaded data in",
            where=str(caller()),
            hint="set XDG_CACHE_HOME to a folder that may be written to",
        ) from error
    return folder


def fetch(file: RemoteFile, folder: Path) -> Path:
    """Return where a file lies in a folder; download it if it is not there, or not as it should be.

    It is written beside its place, compared with its checksum and then renamed: nobody ever reads a part of it, and
    a download that was broken off leaves nothing.

    Raises
    ------
    DataError
        If it can't be fetched or kept, or what came has another checksum. The message says where to get the file and
        where to put it.
    """
    path = folder / file.name
    try:
        if path.is_file() and _md5_of(path) == file.md5:
            return path
        _remove_abandoned_parts(file, folder)
    except OSError as error:
        raise _failure(file, path, f"{path}: can't be read: {error.strerror or error}") from error
    write_whole(path, lambda part: _download(file, path, part), DataError)
    return path


def _download(file: RemoteFile, path: Path, part: BinaryIO) -> None:
    digest = hashlib.md5(usedforsecurity=False)
    with closing(_chunks(file, path)) as chunks:
        for chunk in chunks:
            digest.update(chunk)
            part.write(chunk)
    if digest.hexdigest() != file.md5:
        raise _failure(
            file, path, f"{file.url}: not the file it should be", f"MD5 {file.md5}", f"MD5 {digest.hexdigest()}"
        )


def _chunks(file: RemoteFile, path: Path) -> Generator[bytes, None, None]:
    """Yield the content of a file as it comes over the network."""
    received, total = 0, None
    try:
        with urlopen(Request(file.url, headers={"User-Agent": "graphnn"}), timeout=_TIMEOUT) as response:
            stated = response.headers.get("Content-Length", "")
            total = int(stated) if stated.isdecimal() else None
            with progress(file.name, total, in_bytes=True) as advance:
                while chunk := response.read(_CHUNK):
                    received += len(chunk)
                    yield chunk
                    advance(len(chunk))
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        if isinstance(error, HTTPError):
            reason = f"{error.code} {reason}"
            error.close()
        actual = "the file there has another" if path.is_file() else "no file there"
        raise _failure(file, path, f"{file.url}: can't be fetched: {reason}", actual=actual) from error
    if total is not None and received < total:
        raise _failure(file, path, f"{file.url}: cut short", f"{total} bytes", f"{received} bytes")


def _failure(file: RemoteFile, path: Path, message: str, expected: str = "", actual: str = "") -> DataError:
    return DataError(
        message,
        expected=expected or f"{path} with the MD5 {file.md5}",
        actual=actual,
        where=str(caller()),
        hint=f"fetch {file.url} by other means, compare its MD5 with {file.md5}, and put it at {path}",
    )


def _md5_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _remove_abandoned_parts(file: RemoteFile, folder: Path) -> None:
    latest = time.time() - _ABANDONED_SECONDS
    for path in folder.iterdir():
        with suppress(OSError):  # another process may have been faster
            if target_of_part(path.name) == file.name and path.stat().st_mtime < latest:
                path.unlink()
