"""The IDX format, in which MNIST is distributed.

A file is two zero bytes, a byte for the type of the elements, a byte for the number of axes, the length of each axis
as a big-endian 32-bit number, and then the elements, big-endian, the last axis running fastest.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from graphnn.data.errors import DataError

_ELEMENT_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"
_HINT = "compare the file with its source, or fetch it again"


def read_idx(path: str | Path) -> np.ndarray:
    """Read one array from an IDX file.

    Parameters
    ----------
    path : str or Path
        The file, compressed with gzip or not; its content tells which.

    Returns
    -------
    numpy.ndarray
        The elements in the machine's byte order, in an array of its own.

    Raises
    ------
    DataError
        If the file is missing, cut short, longer than it says, damaged, or not an IDX file.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name, "labels")
    >>> _ = path.write_bytes(bytes([0, 0, 0x08, 1, 0, 0, 0, 3, 7, 2, 1]))
    >>> read_idx(path)
    array([7, 2, 1], dtype=uint8)
    >>> folder.cleanup()
    """
    path = Path(path)
    content = _content(path)
    dtype, shape, start = _header(path, content)
    expected = dtype.itemsize * math.prod(shape)
    actual = len(content) - start
    if actual != expected:
        raise DataError(
            f"{path}: {'cut short' if actual < expected else 'trailing bytes'}",
            expected=f"{expected} bytes after the header, for {dtype.name} of shape {shape}",
            actual=f"{actual} bytes",
            hint=_HINT,
        )
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def _content(path: Path) -> bytes:
    """Return the bytes of the file, without its compression."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not content.startswith(_GZIP_MAGIC):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path}: damaged gzip data: {error}", hint=_HINT) from error


def _header(path: Path, content: bytes) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Return the element type, the shape and where the elements start."""
    if len(content) < 4:
        raise DataError(
            f"{path}: cut short", expected="a header of 4 bytes or more", actual=f"{len(content)} bytes", hint=_HINT
        )
    zeros, code, rank = struct.unpack_from(">HBB", content)
    if zeros:
        raise DataError(
            f"{path}: not an IDX file", expected="00 00 as its first bytes", actual=content[:2].hex(" "), hint=_HINT
        )
    if code not in _ELEMENT_TYPES:
        known = ", ".join(f"0x{code:02x}" for code in _ELEMENT_TYPES)
        raise DataError(f"{path}: unknown element type", expected=known, actual=f"0x{code:02x}", hint=_HINT)
    start = 4 + 4 * rank
    if len(content) < start:
        raise DataError(
            f"{path}: cut short",
            expected=f"a header of {start} bytes, for {rank} axes",
            actual=f"{len(content)} bytes",
            hint=_HINT,
        )
    return np.dtype(_ELEMENT_TYPES[code]), struct.unpack_from(f">{rank}I", content, 4), start
