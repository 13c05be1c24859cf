"""The files of CIFAR-10's binary version, which reading can't make run anything, as pickles could.

A file is a sequence of records: a byte for the label, then 1024 bytes of red, 1024 of green and 1024 of blue, row by
row. Five files are there to train on and one to test on, inside one compressed archive.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from graphnn.data.errors import DataError
from graphnn.data.mnist_files import Split

CIFAR_ARCHIVE = "cifar-10-binary.tar.gz"
"""Name of the archive."""

_INNER_FOLDER = "cifar-10-batches-bin"  # the files' own folder in the archive, and wherever that was unpacked
_TRAIN_NAMES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
_TEST_NAME = "test_batch.bin"
_NAMES = (*_TRAIN_NAMES, _TEST_NAME)
_IMAGE_SHAPE = (3, 32, 32)
_RECORD_BYTES = 1 + 3 * 32 * 32
_CLASSES = 10
_CHUNK = 1 << 20
_HINT = "compare the file with its source, or fetch it again"


def has_cifar_files(folder: Path) -> bool:
    """Whether a folder has the archive, or one of the files at least."""
    return _place_in(folder) is not None or (folder / CIFAR_ARCHIVE).is_file()


def read_cifar_files(folder: Path) -> tuple[Split, Split]:
    """Return what to train on and what to test on, from the files in a folder or else from the archive in it.

    Raises
    ------
    DataError
        If a file is missing or damaged, or holds something else.
    """
    place = _place_in(folder)
    if place is None and not has_cifar_files(folder):
        raise DataError(
            f"{folder}: has neither {_TRAIN_NAMES[0]} nor {CIFAR_ARCHIVE}",
            hint="give the folder that holds the six files or the archive, or no folder, to have it fetched",
        )
    if place is None:
        return read_cifar_archive(folder / CIFAR_ARCHIVE)
    contents = {}
    for name in _NAMES:
        try:
            contents[name] = (place / name).read_bytes()
        except OSError as error:
            raise DataError(
                f"{place / name}: cannot be read: {error.strerror or error}",
                expected=", ".join(_NAMES),
                hint="give the folder that holds the six files, or the archive",
            ) from error
    return _splits(contents, place)


def read_cifar_archive(path: Path) -> tuple[Split, Split]:
    """Return what to train on and what to test on, from the archive. Nothing is unpacked to the disk.

    Raises
    ------
    DataError
        If it is missing or damaged, or holds something else.
    """
    contents = {}
    try:
        with gzip.open(path) as stream:
            with tarfile.open(fileobj=stream, mode="r:") as archive:
                for member in archive:
                    name = PurePosixPath(member.name).name
                    if name in _NAMES and (file := archive.extractfile(member)) is not None:
                        contents[name] = file.read()
            while stream.read(_CHUNK):  # the checksum of all comes at the end
                pass
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: damaged archive: {error}", expected="a .tar.gz file", hint=_HINT) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}", hint=_HINT) from error
    missing = [name for name in _NAMES if name not in contents]
    if missing:
        raise DataError(
            f"{path}: has no {missing[0]}",
            expected=", ".join(_NAMES),
            actual=", ".join(contents) or "none of them",
            hint="fetch the binary version of CIFAR-10, not that for Python or Matlab",
        )
    return _splits(contents, path)


def _place_in(folder: Path) -> Path | None:
    for place in (folder, folder / _INNER_FOLDER):
        if any((place / name).is_file() for name in _NAMES):
            return place
    return None


def _splits(contents: Mapping[str, bytes], place: Path) -> tuple[Split, Split]:
    records = {name: _records(content, place / name) for name, content in contents.items()}
    return _split([records[name] for name in _TRAIN_NAMES]), _split([records[_TEST_NAME]])


def _records(content: bytes, path: Path) -> np.ndarray:
    whole, rest = divmod(len(content), _RECORD_BYTES)
    if rest or not whole:
        raise DataError(
            f"{path}: cut short, or not of CIFAR-10",
            expected=f"records of {_RECORD_BYTES} bytes",
            actual=f"{len(content)} bytes: {whole} records and {rest} bytes",
            hint=_HINT,
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, _RECORD_BYTES)
    if (highest := records[:, 0].max()) >= _CLASSES:
        raise DataError(
            f"{path}: a label that is no class of CIFAR-10", expected="0 to 9", actual=str(highest), hint=_HINT
        )
    return records


def _split(records: Sequence[np.ndarray]) -> Split:
    images = np.concatenate([several[:, 1:] for several in records])
    labels = np.concatenate([several[:, 0] for several in records])
    return images.reshape(-1, *_IMAGE_SHAPE), labels.astype(np.int32)
