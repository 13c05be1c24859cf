from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from data_files import CIFAR_NAMES, cifar_archive, cifar_files, cifar_record, write_files
from graphnn.data import DataError
from graphnn.data.cifar_files import read_cifar_archive, read_cifar_files

ARCHIVE = "cifar-10-binary.tar.gz"


def place(folder: Path, form: str) -> Path:
    """Put the files into a folder in one of the forms that they come in."""
    if form == "archive":
        return write_files(folder, {ARCHIVE: cifar_archive(cifar_files())})
    write_files(folder / "cifar-10-batches-bin" if form == "unpacked" else folder, cifar_files())
    return folder


@pytest.mark.parametrize("form", ["archive", "unpacked", "files"])
def test_reads(form: str, tmp_path: Path) -> None:
    (train_images, train_labels), (test_images, test_labels) = read_cifar_files(place(tmp_path, form))

    assert train_images.shape == (15, 3, 32, 32)
    assert test_images.shape == (6, 3, 32, 32)
    assert train_images.dtype == test_images.dtype == np.uint8
    assert train_labels.dtype == test_labels.dtype == np.int32
    assert train_labels.tolist() == [0, 1, 0, 2, 1, 0, 3, 2, 1, 0, 4, 3, 2, 1, 0]
    assert test_labels.tolist() == [5, 4, 3, 2, 1, 0]
    # Red tells the file, green the label, blue is full; the first row is black.
    np.testing.assert_array_equal(train_images[:, 0, 1:, 0].max(axis=1), np.repeat([10, 20, 30, 40, 50], range(1, 6)))
    np.testing.assert_array_equal(train_images[:, 1, 31, 31], train_labels)
    assert (train_images[:, 2, 1:] == 255).all()
    assert not train_images[:, :, 0].any()


def test_unpacked_files_come_before_the_archive(tmp_path: Path) -> None:
    place(tmp_path, "files")
    (tmp_path / ARCHIVE).write_bytes(b"not looked at")

    assert len(read_cifar_files(tmp_path)[0][1]) == 15


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "cut short, or not of CIFAR-10\n.*records of 3073 bytes"),
        (cifar_record(3, 1, 2, 3)[:-1], r"cut short.*\n.*\n.*3072 bytes: 0 records and 3072 bytes"),
        (cifar_record(3, 1, 2, 3) + b"!", r"cut short.*\n.*\n.*3074 bytes: 1 records and 1 bytes"),
        (cifar_record(10, 1, 2, 3), r"a label that is no class of CIFAR-10\n.*0 to 9\n.*10"),
    ],
)
@pytest.mark.parametrize("form", ["archive", "files"])
def test_refuses_contents(form: str, content: bytes, reason: str, tmp_path: Path) -> None:
    files = {**cifar_files(), "data_batch_3.bin": content}
    write_files(tmp_path, {ARCHIVE: cifar_archive(files)} if form == "archive" else files)

    with pytest.raises(DataError, match=rf"data_batch_3\.bin: {reason}"):
        read_cifar_files(tmp_path)


def test_refuses_damaged_archives(tmp_path: Path) -> None:
    whole = cifar_archive(cifar_files())
    path = tmp_path / ARCHIVE
    plain = bytearray(gzip.decompress(whole))
    plain[2000] ^= 1  # a pixel: nothing but the checksum can tell
    other = bytearray(gzip.compress(plain))
    other[-8:] = whole[-8:]
    for damaged in (whole[:-1], whole[: len(whole) // 2], whole[:20], b"", b"no archive", bytes(other)):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=rf"{ARCHIVE}: damaged archive: ") as caught:
            read_cifar_archive(path)
        assert caught.value.hint


def test_refuses_other_archives(tmp_path: Path) -> None:
    files = cifar_files()
    del files["data_batch_4.bin"]
    (tmp_path / ARCHIVE).write_bytes(cifar_archive(files))

    with pytest.raises(DataError, match=r"has no data_batch_4\.bin") as caught:
        read_cifar_files(tmp_path)

    assert caught.value.expected == ", ".join(CIFAR_NAMES)
    assert "data_batch_4" not in caught.value.actual


def test_refuses_missing_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_cifar_archive(tmp_path / ARCHIVE)
    with pytest.raises(DataError, match=r"has neither data_batch_1\.bin nor cifar-10-binary\.tar\.gz"):
        read_cifar_files(tmp_path)
    (place(tmp_path, "files") / "test_batch.bin").unlink()
    with pytest.raises(DataError, match=r"test_batch\.bin: cannot be read: No such file"):
        read_cifar_files(tmp_path)
