"""Data sets by name. MNIST comes with graphnn, the others are fetched when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from graphnn.data.cifar_files import CIFAR_ARCHIVE, has_cifar_files, read_cifar_archive, read_cifar_files
from graphnn.data.download import RemoteFile, cache_folder, fetch
from graphnn.data.errors import DataError
from graphnn.data.mnist_files import MNIST_NAMES, Split, find_mnist_files, has_mnist_files, read_mnist_files
from graphnn.ops.source import caller

_DIGITS = tuple("0123456789")
_CLOTHES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
_THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

_FASHION_URL = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/"
FASHION_FILES = (
    RemoteFile(f"{_FASHION_URL}train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
    RemoteFile(f"{_FASHION_URL}train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
    RemoteFile(f"{_FASHION_URL}t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
    RemoteFile(f"{_FASHION_URL}t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
)
"""Fashion-MNIST, where its authors keep it."""

CIFAR_FILE = RemoteFile(f"https://www.cs.toronto.edu/~kriz/{CIFAR_ARCHIVE}", "c32a1d4ab5d03f1284b67883e8d87530")
"""CIFAR-10, where its authors keep it."""


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
    return _embedded_mnist() if directory is None else _read_mnist(Path(directory), _DIGITS)


def fashion_mnist(directory: str | Path | None = None) -> Dataset:
    """Return Fashion-MNIST: pictures of clothes, as many and as large as the digits of MNIST.

    Without a folder, the four files (31 MB) are downloaded at the first use, kept in the user's cache folder, and
    compared with the checksums that their authors publish at every use.

    Parameters
    ----------
    directory : str or Path, optional
        A folder with the four files (``train-images-idx3-ubyte`` and so on, with ``.gz`` or without), to be read as
        they are. Nothing is downloaded then.

    Returns
    -------
    Dataset
        Images of shape (n, 1, 28, 28), uint8, and labels of shape (n,), int32.

    Raises
    ------
    DataError
        If a file is missing or damaged, holds something else, or can't be downloaded. The message says where to get
        it and where to put it.

    References
    ----------
    Xiao, Rasul, Vollgraf, 2017, https://arxiv.org/abs/1708.07747
    """
    return _fetched_fashion_mnist() if directory is None else _read_mnist(Path(directory), _CLOTHES)


def cifar10(directory: str | Path | None = None) -> Dataset:
    """Return CIFAR-10: 50,000 small colour images to train on and 10,000 to test on.

    Without a folder, the archive of the binary version (170 MB) is downloaded at the first use, kept in the user's
    cache folder, and compared with the checksum that its authors publish at every use.

    Parameters
    ----------
    directory : str or Path, optional
        A folder with the six files (``data_batch_1.bin`` and so on, or ``cifar-10-batches-bin`` with them in it), or
        with the archive ``cifar-10-binary.tar.gz``, to be read as they are. Nothing is downloaded then.

    Returns
    -------
    Dataset
        Images of shape (n, 3, 32, 32), uint8, the channels being red, green and blue, and labels of shape (n,), int32.

    Raises
    ------
    DataError
        If a file is missing or damaged, holds something else, or can't be downloaded. The message says where to get
        it and where to put it.

    References
    ----------
    Krizhevsky, 2009, *Learning Multiple Layers of Features from Tiny Images*
    """
    return _fetched_cifar10() if directory is None else _dataset(read_cifar_files(Path(directory)), _THINGS)


class DatasetEntry(NamedTuple):
    """A data set with a name: how to get it, and what is known without it."""

    load: Callable[[], Dataset]
    image_shape: tuple[int, int, int]
    description: str


DATASETS: Mapping[str, DatasetEntry] = MappingProxyType(
    {
        "mnist": DatasetEntry(mnist, (1, 28, 28), "handwritten digits; comes with graphnn"),
        "fashion_mnist": DatasetEntry(fashion_mnist, (1, 28, 28), "pictures of clothes; 31 MB, fetched once"),
        "cifar10": DatasetEntry(cifar10, (3, 32, 32), "small colour photographs; 170 MB, fetched once"),
    }
)
"""The data sets by name."""


def load_dataset(source: str | Path) -> Dataset:
    """Return a data set by its name, or from a folder with the files of one.

    Parameters
    ----------
    source : str or Path
        A name of `DATASETS`, or a folder: the names of its files tell whether they are in the format of MNIST or in
        that of CIFAR-10.

    Raises
    ------
    DataError
        If there is neither, or the data set can't be read or fetched.

    Examples
    --------
    >>> load_dataset("mnist").test_images.shape
    (10000, 1, 28, 28)
    """
    if source in DATASETS:
        return DATASETS[str(source)].load()
    folder = Path(source)
    if has_mnist_files(folder):
        return mnist(folder)
    if has_cifar_files(folder):
        return cifar10(folder)
    raise DataError(
        f"{str(source)!r} is no data set" + (": it has none of the files" if folder.is_dir() else " and no folder"),
        expected=f"one of {', '.join(DATASETS)}, or a folder with {MNIST_NAMES[0]} and so on, or with {CIFAR_ARCHIVE}",
        where=str(caller()),
        hint="give a data set's name, or the folder in which its files lie themselves",
    )


@cache
def _embedded_mnist() -> Dataset:
    return _read_mnist(Path(__file__).with_name("mnist"), _DIGITS)


@cache
def _fetched_fashion_mnist() -> Dataset:
    folder = cache_folder("fashion_mnist")
    return _dataset(read_mnist_files([fetch(file, folder) for file in FASHION_FILES]), _CLOTHES)


@cache
def _fetched_cifar10() -> Dataset:
    return _dataset(read_cifar_archive(fetch(CIFAR_FILE, cache_folder("cifar10"))), _THINGS)


def _read_mnist(folder: Path, class_names: tuple[str, ...]) -> Dataset:
    return _dataset(read_mnist_files(find_mnist_files(folder)), class_names)


def _dataset(splits: tuple[Split, Split], class_names: tuple[str, ...]) -> Dataset:
    (train_images, train_labels), (test_images, test_labels) = splits
    for array in (train_images, train_labels, test_images, test_labels):
        array.setflags(write=False)
    return Dataset(train_images, train_labels, test_images, test_labels, class_names)
