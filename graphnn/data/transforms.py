"""Random changes to batches of images, by which a network sees each image a little different in every epoch.

They are callables of a batch (N, C, H, W), uint8 or floating, and of a random generator, and leave the batch that they
are given alone. `Batches` calls them in its threads with a generator of its own for each batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from graphnn.data.errors import DataError
from graphnn.ops.source import caller

__all__ = ["Compose", "Cutout", "RandomCrop", "RandomHorizontalFlip", "Transform"]

Transform = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""What a batch of images becomes, given a generator of random numbers."""


class Compose:
    """Several changes, one after another.

    Parameters
    ----------
    transforms : sequence of callable
        Each is given the result of the one before it, and the same generator.

    Examples
    --------
    >>> augment = Compose([RandomCrop(32, padding=4), RandomHorizontalFlip(), Cutout(8)])
    >>> augment(np.zeros((2, 3, 32, 32), np.uint8), np.random.default_rng(0)).shape
    (2, 3, 32, 32)
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = tuple(transforms)

    def __call__(self, images: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Return what the last one makes of the batch."""
        for transform in self.transforms:
            images = transform(images, random)
        return images

    def __repr__(self) -> str:
        return f"Compose([{', '.join(map(repr, self.transforms))}])"


@dataclass(frozen=True)
class RandomCrop:
    """A part of each image, at a place that is drawn for it; all places are equally likely.

    Parameters
    ----------
    size : int or tuple of two int
        Height and width of the part.
    padding : int
        Rows and columns that are first added on each side.
    fill : float
        What they are filled with.

    Raises
    ------
    DataError
        If an argument is out of its range; at the call, if the padded images are smaller than the part.

    Examples
    --------
    >>> images = np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 4)
    >>> RandomCrop(2)(images, np.random.default_rng(0))
    array([[[[4, 5],
             [8, 9]]]], dtype=uint8)
    """

    size: int | tuple[int, int]
    padding: int = 0
    fill: float = 0

    def __post_init__(self) -> None:
        _require(min(self._height_and_width) >= 1, "RandomCrop: size", "1 or more", self.size)
        _require(self.padding >= 0, "RandomCrop: padding", "0 or more", self.padding)

    @property
    def _height_and_width(self) -> tuple[int, int]:
        return self.size if isinstance(self.size, tuple) else (self.size, self.size)

    def __call__(self, images: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Return a part of each image."""
        count, channels, height, width = _shape(images)
        border = self.padding
        part = self._height_and_width
        rows, columns = height + 2 * border - part[0] + 1, width + 2 * border - part[1] + 1
        if min(rows, columns) < 1:
            raise DataError(
                "RandomCrop: the part is larger than the images",
                expected=f"images of {part} or more, with {border} added on each side",
                actual=f"images of {(height, width)}",
                hint="choose a smaller size or a larger padding",
            )
        tops, lefts = _below(rows, count, random), _below(columns, count, random)
        padded = images
        if border:
            padded = np.full(
                (count, channels, height + 2 * border, width + 2 * border), _element(self.fill, images), images.dtype
            )
            padded[:, :, border:-border, border:-border] = images
        places = sliding_window_view(padded, part, axis=(2, 3))
        return places[np.arange(count), :, tops, lefts]


@dataclass(frozen=True)
class RandomHorizontalFlip:
    """Each image as it is or, with a given probability, with left and right exchanged.

    Parameters
    ----------
    p : float
        The probability.

    Raises
    ------
    DataError
        If it is not between 0 and 1.

    Examples
    --------
    >>> RandomHorizontalFlip(p=1)(np.array([[[[1, 2, 3]]]], np.uint8), np.random.default_rng(0))
    array([[[[3, 2, 1]]]], dtype=uint8)
    """

    p: float = 0.5

    def __post_init__(self) -> None:
        _require(0 <= self.p <= 1, "RandomHorizontalFlip: p", "0 to 1", self.p)

    def __call__(self, images: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Return the images, some of them mirrored."""
        flipped = random.random(_shape(images)[0]) < self.p
        return np.where(flipped[:, None, None, None], images[..., ::-1], images)


@dataclass(frozen=True)
class Cutout:
    """Each image without a square whose centre is drawn from all of its pixels; at borders, the square is cut off.

    DeVries and Taylor, 2017, https://arxiv.org/abs/1708.04552

    Parameters
    ----------
    size : int
        Side of the square.
    fill : float
        What it is filled with, in all channels.

    Raises
    ------
    DataError
        If the side is less than 1.

    Examples
    --------
    >>> Cutout(2)(np.ones((1, 1, 3, 4), np.uint8), np.random.default_rng(0))
    array([[[[0, 0, 1, 1],
             [0, 0, 1, 1],
             [1, 1, 1, 1]]]], dtype=uint8)
    """

    size: int
    fill: float = 0

    def __post_init__(self) -> None:
        _require(self.size >= 1, "Cutout: size", "1 or more", self.size)

    def __call__(self, images: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Return the images with a square missing in each."""
        count, _, height, width = _shape(images)
        rows, columns = (self._covered(length, count, random) for length in (height, width))
        covered = rows[:, None, :, None] & columns[:, None, None, :]
        return np.where(covered, _element(self.fill, images), images)

    def _covered(self, length: int, count: int, random: np.random.Generator) -> np.ndarray:
        """Return for each image which of its rows, or of its columns, the square covers."""
        first = _below(length, count, random) - self.size // 2
        offset = np.arange(length) - first[:, None]
        return (offset >= 0) & (offset < self.size)


def _below(bound: int, count: int, random: np.random.Generator) -> np.ndarray:
    """Draw so many integers from 0 to `bound` - 1."""
    # NumPy may change what `integers` makes of a bit generator's words; of `random`, whose numbers are the upper
    # bits of a word, there is one way to compute it.
    return (random.random(count) * bound).astype(np.intp)


def _shape(images: np.ndarray) -> tuple[int, int, int, int]:
    if images.ndim != 4:
        raise DataError(
            "only batches of images can be changed",
            expected="shape (images, channels, height, width)",
            actual=f"shape {images.shape}",
            hint="let the images be the first array of Batches; give grey ones an axis for their one channel",
        )
    count, channels, height, width = images.shape
    return count, channels, height, width


def _element(value: float, images: np.ndarray) -> np.generic:
    """Return a number as an element of the images, of which integer ones can't hold every number."""
    bounds = np.iinfo(images.dtype) if images.dtype.kind in "iu" else None
    if bounds is not None and not (bounds.min <= value <= bounds.max and value == int(value)):
        raise DataError(
            f"{images.dtype} images can't be filled with {value}",
            expected=f"an integer from {bounds.min} to {bounds.max}",
            actual=str(value),
            hint="choose another fill",
        )
    return images.dtype.type(value)


def _require(holds: bool, name: str, expected: str, actual: object) -> None:
    if not holds:
        raise DataError(f"{name} is out of its range", expected=expected, actual=str(actual), where=str(caller()))
