"""Data sets, read into memory: MNIST comes with graphnn."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from graphnn.data.errors import DataError
from graphnn.data.idx import read_idx

_DIGITS = tuple("0123456789")
_HINT = "give a folder with the four files of one data set"


# Arrays have no single truth value, so a generated __eq__ could only fail.
@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images, split into those to train on and those to test on. The arrays cannot be written to.

    Attributes
    ----------
    train_images, test_images : numpy.ndarray
        uint8, (images, channels, height, width).
    train_labels, test_labels : numpy.ndarray
        int32, (images,): for each image the index of its class.
    class_names : tuple of str
        The name of each class.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...]


def mnist(directory: str | Path | None = None) -> Dataset:
    """Return the MNIST digits: 60,000 images to train on and 10,000 to test on.

    Parameters
    ----------
    directory : str or Path, optional
        A folder with the same four files (``train-images-idx3-ubyte`` and so on, with ``.gz`` or without), to be
        read instead of those that come with graphnn. They are read once and shared, a folder at each call.

    Returns
    -------
    Dataset
        Images of shape (n, 1, 28, 28), uint8, and labels of shape (n,), int32.

    Raises
    ------
    DataError
        If a file is missing or damaged, or holds something else.

    Examples
    --------
    >>> digits = mnist()
    >>> digits.train_images.shape, digits.train_images.dtype
    ((60000, 1, 28, 28), dtype('uint8'))
    >>> digits.class_names[digits.test_labels[0]]
    '7'
    """
    return _embedded_mnist() if directory is None else _read_mnist(Path(directory))


@cache
def _embedded_mnist() -> Dataset:
    return _read_mnist(Path(__file__).with_name("mnist"))


def _read_mnist(folder: Path) -> Dataset:
    train_images, train_labels = _read_split(folder, "train")
    test_images, test_labels = _read_split(folder, "t10k")
    return Dataset(train_images, train_labels, test_images, test_labels, _DIGITS)


def _read_split(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Read the images and labels of one half, and make sure that they belong together."""
    images_path = _find(folder, f"{split}-images-idx3-ubyte")
    labels_path = _find(folder, f"{split}-labels-idx1-ubyte")
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
    if labels.size and labels.max() >= len(_DIGITS):
        raise DataError(
            f"{labels_path}: a label that is no digit", expected="0 to 9", actual=str(labels.max()), hint=_HINT
        )
    images, labels = images.reshape(-1, 1, 28, 28), labels.astype(np.int32)
    images.setflags(write=False)
    labels.setflags(write=False)
    return images, labels


def _find(folder: Path, name: str) -> Path:
    """Return the file of that name, plain or compressed."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataError(
        f"{folder}: has neither {name} nor {name}.gz",
        hint="give the folder that holds the four files, or no folder for those of graphnn",
    )
