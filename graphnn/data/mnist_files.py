"""The four files of MNIST, and of the data sets made in its image, such as Fashion-MNIST."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from graphnn.data.errors import DataError
from graphnn.data.idx import read_idx

MNIST_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
"""Names of the files; with ``.gz`` at their end they are compressed."""

_CLASSES = 10
_HINT = "give a folder with the four files of one data set"

Split = tuple[np.ndarray, np.ndarray]
"""Images (n, channels, height, width), uint8, and labels (n,), int32."""


def has_mnist_files(folder: Path) -> bool:
    """Whether a folder has one of the files at least."""
    return any(path.is_file() for name in MNIST_NAMES for path in _places(folder, name))


def find_mnist_files(folder: Path) -> list[Path]:
    """Return the four files in the order of their names above, plain ones rather than compressed ones.

    Raises
    ------
    DataError
        If one is missing.
    """
    return [_find(folder, name) for name in MNIST_NAMES]


def read_mnist_files(paths: Sequence[Path]) -> tuple[Split, Split]:
    """Return what to train on and what to test on, from the four files in the order of their names above.

    Raises
    ------
    DataError
        If a file is missing or damaged, or holds something else.
    """
    train_images, train_labels, test_images, test_labels = paths
    return _read_split(train_images, train_labels), _read_split(test_images, test_labels)


def _read_split(images_path: Path, labels_path: Path) -> Split:
    """Read the images and labels of one half, and make sure that they belong together."""
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.dtype != np.uint8 or images.shape[1:] != (28, 28):
        raise DataError(
            f"{images_path}: not MNIST images",
            expected="uint8 of shape (n, 28, 28)",
            actual=f"{images.dtype} of shape {images.shape}",
            hint=_HINT,
        )
    if labels.dtype != np.uint8 or labels.shape != images.shape[:1]:
        raise DataError(
            f"{labels_path}: not the labels of {images_path.name}",
            expected=f"uint8 of shape {images.shape[:1]}",
            actual=f"{labels.dtype} of shape {labels.shape}",
            hint=_HINT,
        )
    if labels.size and labels.max() >= _CLASSES:
        raise DataError(
            f"{labels_path}: a label that is no digit", expected="0 to 9", actual=str(labels.max()), hint=_HINT
        )
    return images.reshape(-1, 1, 28, 28), labels.astype(np.int32)


def _find(folder: Path, name: str) -> Path:
    """Return the file of that name, plain or compressed."""
    for path in _places(folder, name):
        if path.is_file():
            return path
    raise DataError(
        f"{folder}: has neither {name} nor {name}.gz",
        hint="give the folder that holds the four files, or no folder for those that graphnn has or fetches",
    )


def _places(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / name, folder / f"{name}.gz"
