"""Small data sets in the very formats of the large ones, written from the formats' descriptions."""

from __future__ import annotations

import io
import struct
import tarfile
from pathlib import Path

import numpy as np

CIFAR_NAMES = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")


def idx_files(train: int = 3, test: int = 2, side: int = 28) -> dict[str, bytes]:
    """Return the four files of a data set like MNIST; image i has i in all pixels, and the label i."""
    files = {}
    for split, count in (("train", train), ("t10k", test)):
        pixels = np.repeat(np.arange(count, dtype=np.uint8), side * side).tobytes()
        files[f"{split}-images-idx3-ubyte"] = struct.pack(">HBBIII", 0, 8, 3, count, side, side) + pixels
        files[f"{split}-labels-idx1-ubyte"] = struct.pack(">HBBI", 0, 8, 1, count) + bytes(range(count))
    return files


def cifar_record(label: int, red: int, green: int, blue: int) -> bytes:
    """Return a record of CIFAR-10's binary version: an image of one colour, but for its first row, which is black."""
    return bytes([label]) + b"".join(bytes(32) + bytes([value]) * 992 for value in (red, green, blue))


def cifar_files() -> dict[str, bytes]:
    """Return the six files; file i has i images, with the labels i - 1, i - 2 and so on to 0."""
    return {
        name: b"".join(cifar_record(label, 10 * number, label, 255) for label in reversed(range(number)))
        for number, name in enumerate(CIFAR_NAMES, start=1)
    }


def cifar_archive(files: dict[str, bytes]) -> bytes:
    """Return a .tar.gz of files in the folder that the original has, with two more files as there."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name, content in {"batches.meta.txt": b"airplane\n", **files, "readme.html": b"<html>"}.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    """Write files into a folder, which is made if it is not there, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder
