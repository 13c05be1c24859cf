from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphnn.data import DataError
from graphnn.data.transforms import Compose, Cutout, RandomCrop, RandomHorizontalFlip, Transform

DTYPES = ["uint8", "float16", "float32", "float64"]


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def batch(count: int = 5, channels: int = 3, height: int = 6, width: int = 7, dtype: str = "uint8") -> np.ndarray:
    """Return images in which no two pixels of a channel are equal, and none is 0."""
    pixels = np.arange(1, 1 + height * width).reshape(1, 1, height, width)
    offsets = np.arange(count * channels).reshape(count, channels, 1, 1)
    return np.asarray(pixels + offsets).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "transform",
    [
        RandomCrop((6, 7)),
        RandomCrop((6, 7), padding=2, fill=9),
        RandomHorizontalFlip(),
        Cutout(3, fill=1),
        Compose([RandomCrop((6, 7), padding=1), RandomHorizontalFlip(), Cutout(2)]),
    ],
)
def test_batches_stay_what_they_are(transform: Transform, dtype: str) -> None:
    images = batch(dtype=dtype)
    images.setflags(write=False)
    before = images.copy()

    changed = transform(images, generator())

    assert changed.shape == images.shape
    assert changed.dtype == images.dtype
    np.testing.assert_array_equal(images, before)
    changed[...] = 0  # an array of its own
    np.testing.assert_array_equal(images, before)


@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    padding=st.integers(0, 3),
    part=st.tuples(st.integers(1, 15), st.integers(1, 15)),
    seed=st.integers(0, 2**32),
)
def test_crops_are_parts_of_the_padded_images(
    height: int, width: int, padding: int, part: tuple[int, int], seed: int
) -> None:
    images = batch(4, 2, height, width)
    crop = RandomCrop(part, padding, fill=200)
    if part[0] > height + 2 * padding or part[1] > width + 2 * padding:
        with pytest.raises(DataError, match="larger than the images"):
            crop(images, generator(seed))
        return

    cropped = crop(images, generator(seed))

    borders = [(0, 0), (0, 0), (padding, padding), (padding, padding)]
    padded = np.pad(images, borders, constant_values=200)
    for image, got in zip(padded, cropped, strict=True):
        places = [
            (top, left)
            for top in range(image.shape[1] - part[0] + 1)
            for left in range(image.shape[2] - part[1] + 1)
            if np.array_equal(image[:, top : top + part[0], left : left + part[1]], got)
        ]
        assert places


def counts(values: np.ndarray) -> np.ndarray:
    return np.unique(values, return_counts=True)[1]


def test_all_places_of_a_crop_are_equally_likely() -> None:
    images = np.broadcast_to(np.arange(12, dtype=np.uint8).reshape(1, 1, 3, 4), (12_000, 1, 3, 4))

    places = counts(RandomCrop(1)(images, generator()))

    assert len(places) == 12
    assert abs(places - 1000).max() < 150  # five standard deviations


def test_crop_without_a_choice() -> None:
    np.testing.assert_array_equal(RandomCrop((6, 7))(batch(), generator()), batch())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", [0, 0.25, 1])
def test_flips_so_many(p: float, dtype: str) -> None:
    images = np.broadcast_to(batch(1, 2, 2, 3, dtype), (4000, 2, 2, 3))

    changed = RandomHorizontalFlip(p)(images, generator())

    is_flipped = (changed == images[..., ::-1]).all(axis=(1, 2, 3))
    is_same = (changed == images).all(axis=(1, 2, 3))
    assert (is_flipped ^ is_same).all()
    assert is_flipped.mean() == pytest.approx(p, abs=0.035 if 0 < p < 1 else 0)


@given(height=st.integers(1, 8), width=st.integers(1, 8), size=st.integers(1, 12), seed=st.integers(0, 2**32))
def test_cutout_is_a_square_around_a_pixel(height: int, width: int, size: int, seed: int) -> None:
    images = batch(6, 2, height, width)

    changed = Cutout(size)(images, generator(seed))

    for image, got in zip(images, changed, strict=True):
        masks = []
        for row in range(height):
            for column in range(width):
                mask = np.zeros((height, width), bool)
                top, left = row - size // 2, column - size // 2
                mask[max(top, 0) : top + size, max(left, 0) : left + size] = True
                masks.append(mask)
        assert any(np.array_equal(np.where(mask, 0, image), got) for mask in masks)


def test_all_centres_of_a_cutout_are_equally_likely() -> None:
    images = np.ones((12_000, 1, 3, 4), np.uint8)

    holes = (Cutout(1)(images, generator()) == 0).sum(axis=(0, 1))

    assert holes.sum() == 12_000
    assert abs(holes - 1000).max() < 150


def test_compose_goes_from_first_to_last_with_one_generator() -> None:
    images = batch()
    one, two = RandomCrop(4), RandomHorizontalFlip()
    random = generator()

    composed = Compose([one, two])(images, generator())

    np.testing.assert_array_equal(composed, two(one(images, random), random))
    np.testing.assert_array_equal(Compose([])(images, generator()), images)
    assert repr(Compose([two, Cutout(3)])) == "Compose([RandomHorizontalFlip(p=0.5), Cutout(size=3, fill=0)])"


def test_what_is_drawn_stays_the_same_with_every_version() -> None:
    # Resuming a run relies on it.
    images = np.arange(1, 65, dtype=np.uint8).reshape(4, 1, 4, 4)
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(7, spawn_key=(1, 2))))

    changed = Compose([RandomCrop(2, padding=1), RandomHorizontalFlip(), Cutout(1)])(images, random)

    assert changed.reshape(4, 4).tolist() == [[0, 5, 10, 9], [0, 0, 17, 0], [48, 0, 0, 0], [0, 0, 0, 51]]


@pytest.mark.parametrize("transform", [RandomCrop(1), RandomHorizontalFlip(), Cutout(1)])
def test_refuses_what_is_no_batch_of_images(transform: Transform) -> None:
    with pytest.raises(DataError, match="only batches of images") as caught:
        transform(np.zeros((5, 28, 28), np.uint8), generator())

    assert caught.value.actual == "shape (5, 28, 28)"
    assert caught.value.hint


@pytest.mark.parametrize("fill", [256, -1, 0.5])
@pytest.mark.parametrize("make", [lambda fill: RandomCrop(2, padding=1, fill=fill), lambda fill: Cutout(2, fill)])
def test_refuses_fill_that_pixels_cannot_hold(make: Callable[[float], Transform], fill: float) -> None:
    with pytest.raises(DataError, match=rf"uint8 images can't be filled with {fill}") as caught:
        make(fill)(batch(), generator())

    assert caught.value.expected == "an integer from 0 to 255"
    assert make(fill)(batch(dtype="float32"), generator()).dtype == np.float32


@pytest.mark.parametrize(
    ("make", "arguments", "reason"),
    [
        (RandomCrop, (0,), "RandomCrop: size"),
        (RandomCrop, ((3, 0),), "RandomCrop: size"),
        (RandomCrop, (3, -1), "RandomCrop: padding"),
        (RandomHorizontalFlip, (1.1,), "RandomHorizontalFlip: p"),
        (RandomHorizontalFlip, (float("nan"),), "RandomHorizontalFlip: p"),
        (Cutout, (0,), "Cutout: size"),
    ],
)
def test_refuses_arguments(make: Callable[..., Transform], arguments: tuple[Any, ...], reason: str) -> None:
    with pytest.raises(DataError, match=f"{reason} is out of its range") as caught:
        make(*arguments)

    assert "make(*arguments)" in caught.value.where
