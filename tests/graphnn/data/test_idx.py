import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphnn.data import DataError, read_idx

CODES = {"uint8": 0x08, "int8": 0x09, "int16": 0x0B, "int32": 0x0C, "float32": 0x0D, "float64": 0x0E}
PAIR = bytes([0, 0, 0x08, 1, 0, 0, 0, 2, 7, 9])


def idx_bytes(array: np.ndarray) -> bytes:
    """Write an array as the format says, without the code under test."""
    header = struct.pack(f">HBB{array.ndim}I", 0, CODES[array.dtype.name], array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write(folder: Path, content: bytes) -> Path:
    path = folder / "file.idx"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3), (2, 0, 3), (2, 3, 4, 5)])
@pytest.mark.parametrize("compress", [False, True])
def test_reads_back(tmp_path: Path, dtype: str, shape: tuple[int, ...], compress: bool) -> None:
    numbers = np.random.default_rng(0).integers(0, 127, shape)
    array = np.asarray(numbers / 4 if dtype.startswith("float") else numbers - 60).astype(dtype)
    content = idx_bytes(array)

    read = read_idx(write(tmp_path, gzip.compress(content) if compress else content))

    assert read.dtype == array.dtype
    assert read.dtype.isnative
    assert read.shape == shape
    np.testing.assert_array_equal(read, array)


def test_negative_numbers_are_big_endian(tmp_path: Path) -> None:
    content = bytes([0, 0, 0x0B, 1, 0, 0, 0, 2]) + b"\xff\xfe" + b"\x01\x00"

    np.testing.assert_array_equal(read_idx(write(tmp_path, content)), [-2, 256])


def test_result_is_owned_and_writable(tmp_path: Path) -> None:
    read = read_idx(write(tmp_path, PAIR))

    read[0] = 1

    assert read.flags.c_contiguous
    assert read.base is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "cut short"),
        (PAIR[:3], "cut short"),
        (PAIR[:7], "cut short.*header of 8 bytes"),
        (PAIR[:-1], "cut short.*2 bytes after the header.*1 bytes"),
        (PAIR + b"!", "trailing bytes.*2 bytes after the header.*3 bytes"),
        (b"\x01" + PAIR[1:], "not an IDX file.*01 00"),
        (b"\x00\x01" + PAIR[2:], "not an IDX file.*00 01"),
        (b"\x89PNG\r\n\x1a\n", "not an IDX file.*89 50"),
        (b"\x00\x00\x0a" + PAIR[3:], "unknown element type.*0x0a"),
        # 255 axes of 2³² - 1 elements: more bytes than any number type but Python's can count.
        (b"\x00\x00\x0e\xff" + b"\xff" * 4 * 255, "cut short"),
        (gzip.compress(PAIR)[:-9], "damaged gzip data"),
        (gzip.compress(PAIR)[:-5] + b"\x00" * 5, "damaged gzip data"),
        (gzip.compress(PAIR)[:5], "damaged gzip data"),
        (gzip.compress(PAIR) + b"!", "damaged gzip data"),
        (b"\x1f\x8b\x08" + b"\x00" * 7 + b"\xff" * 20, "damaged gzip data"),
        (gzip.compress(PAIR[:-1]), "cut short"),
    ],
)
def test_refuses(tmp_path: Path, content: bytes, reason: str) -> None:
    path = write(tmp_path, content)

    with pytest.raises(DataError, match=f"(?s)file.idx: {reason}") as caught:
        read_idx(path)

    assert str(path) in str(caught.value)


def test_refuses_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent: cannot be read: No such file"):
        read_idx(tmp_path / "absent")


def test_refuses_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_idx(str(tmp_path))


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = write(tmp_path_factory.getbasetemp(), content)
    try:
        array = read_idx(path)
    except DataError:
        return
    assert idx_bytes(array) == content or content.startswith(b"\x1f\x8b")
