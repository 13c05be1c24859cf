"""Data sets in torchvision's manner, made into arrays."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from graphnn.data.errors import DataError
from graphnn.data.mnist_files import Split
from graphnn.data.progress import progress
from graphnn.ops.source import caller


def from_torchvision(dataset: Any) -> Split:
    """Return all images and labels of a data set in torchvision's manner as two arrays.

    torchvision is not needed for that, only an object with a length whose items are pairs of an image and a label,
    such as any map-style data set for classification, with a transform or without. On a terminal, a bar shows the
    progress.

    Parameters
    ----------
    dataset : torchvision.datasets.VisionDataset or the like
        An image is a PIL image or an array, (H, W) or (H, W, C), or a PyTorch tensor, (H, W) or (C, H, W), as in
        torchvision. Its elements are uint8 or floating. A label is an integer.

    Returns
    -------
    images : numpy.ndarray
        (n, C, H, W), uint8 or of the floating type of the images.
    labels : numpy.ndarray
        (n,), int32.

    Raises
    ------
    DataError
        If the data set is empty or an item is something else, or images differ in shape or type.

    Examples
    --------
    >>> pictures = [(np.zeros((4, 5, 3), np.uint8), 7), (np.ones((4, 5, 3), np.uint8), 2)]
    >>> images, labels = from_torchvision(pictures)
    >>> images.shape, images.dtype, labels
    ((2, 3, 4, 5), dtype('uint8'), array([7, 2], dtype=int32))
    """
    count = _length(dataset)
    image, label = _example(dataset, 0)
    images, labels = np.empty((count, *image.shape), image.dtype), np.empty(count, np.int32)
    with progress("reading the data set", count) as advance:
        images[0], labels[0] = image, label
        advance(1)
        for index in range(1, count):
            image, labels[index] = _example(dataset, index)
            if (image.shape, image.dtype) != (images.shape[1:], images.dtype):
                raise DataError(
                    f"the images of the data set differ: item {index}",
                    expected=f"{images.dtype} {images.shape[1:]} (channels, height, width), as item 0",
                    actual=f"{image.dtype} {image.shape}",
                    where=str(caller()),
                    hint="give the data set a transform that makes them equal, such as torchvision's Resize((32, 32))",
                )
            images[index] = image
            advance(1)
    return images, labels


def _length(dataset: Any) -> int:
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise DataError(
            "the data set can't be read item by item",
            expected="an object with a length and with items, dataset[0] and so on",
            actual=type(dataset).__name__,
            where=str(caller()),
            hint="collect the examples of an iterable data set in a list first",
        )
    if not len(dataset):
        raise DataError("the data set is empty", expected="one item or more", where=str(caller()))
    return len(dataset)


def _example(dataset: Any, index: int) -> tuple[np.ndarray, int]:
    """Return an image, (C, H, W), and its label."""
    item = dataset[index]
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        raise _refused(index, "a pair of an image and a label", type(item).__name__)
    image, label = item
    try:
        number = operator.index(label)  # an integer of Python, NumPy or PyTorch
        if not -(2**31) <= number < 2**31:
            raise OverflowError
    except (TypeError, ValueError, OverflowError):
        raise _refused(index, "a label that is an integer of 32 bits", f"the label {label!r}") from None
    return _channels_first(image, index), number


def _channels_first(image: Any, index: int) -> np.ndarray:
    is_tensor = hasattr(image, "detach")
    if getattr(image, "mode", None) == "P":
        raise _refused(index, "an image of pixels", "an image of numbers of a palette; .convert('RGB') looks them up")
    try:
        array = np.asarray(image.detach().cpu() if is_tensor else image)
    except (TypeError, ValueError) as error:
        raise _refused(index, "a PIL image, an array or a tensor", f"{type(image).__name__}: {error}") from error
    if array.ndim not in (2, 3) or not (array.dtype == np.uint8 or array.dtype.kind == "f"):
        raise _refused(
            index,
            "an image of two or three axes, uint8 or floating",
            f"{type(image).__name__}: {array.dtype} of shape {array.shape}",
        )
    if array.ndim == 2:
        return array[None]
    return array if is_tensor else array.transpose(2, 0, 1)


def _refused(index: int, expected: str, actual: str) -> DataError:
    return DataError(
        f"item {index} of the data set is no labelled image",
        expected=expected,
        actual=actual,
        where=str(caller()),
        hint="give the data set a transform or target_transform that makes it one",
    )
