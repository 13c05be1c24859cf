from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphnn.data import Batches, DataError

pytestmark = pytest.mark.usefixtures("no_thread_is_left")


def noisy(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return images + random.random(images.shape)


def everything(batches: Batches) -> list[list[Any]]:
    return [[array.tolist() for array in batch] for batch in batches]


@pytest.mark.parametrize(("prefetch", "threads"), [(0, 1), (1, 1), (5, 3), (2, 8)])
def test_what_is_drawn_depends_on_seed_epoch_and_batch_alone(prefetch: int, threads: int) -> None:
    numbers = np.zeros(20)
    options: dict[str, Any] = {"batch_size": 3, "seed": 4, "transform": noisy}
    batches = Batches(numbers, np.arange(20), **options, prefetch=prefetch, threads=threads)

    epochs = [everything(batches) for _ in range(3)]

    plain = Batches(numbers, np.arange(20), **options, prefetch=0)
    assert epochs == [everything(plain) for _ in range(3)]
    drawn = {value for epoch in epochs for values, _ in epoch for value in values}
    assert len(drawn) == 60  # nothing is drawn twice
    (other, _), *_ = Batches(numbers, np.arange(20), **{**options, "seed": 5})
    assert drawn.isdisjoint(other)


@pytest.mark.parametrize(("prefetch", "threads"), [(0, 1), (4, 3)])
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
def test_start_goes_on_where_an_epoch_was_broken_off(
    shuffle: bool, drop_last: bool, prefetch: int, threads: int
) -> None:
    options: dict[str, Any] = {"prefetch": prefetch, "threads": threads, "shuffle": shuffle, "drop_last": drop_last}
    batches = Batches(np.zeros(20), np.arange(20), batch_size=3, seed=4, transform=noisy, **options)
    batches.set_epoch(2)
    whole, following = everything(batches), everything(batches)

    for start in range(len(batches) + 1):
        batches.set_epoch(2, start=start)
        assert batches.epoch == 2
        assert everything(batches) == whole[start:]
        assert batches.epoch == 3
        assert everything(batches) == following


def test_transform_changes_the_first_array_alone() -> None:
    images, labels = np.arange(10), np.arange(10)

    got = list(Batches(images, labels, batch_size=4, shuffle=False, transform=lambda batch, _: -batch))

    np.testing.assert_array_equal(np.concatenate([batch for batch, _ in got]), -images)
    np.testing.assert_array_equal(np.concatenate([batch for _, batch in got]), labels)
    np.testing.assert_array_equal(images, labels)


def test_transformed_batches_are_contiguous() -> None:
    for (batch,) in Batches(np.zeros((6, 2, 3)), batch_size=3, transform=lambda batch, _: batch.transpose(0, 2, 1)):
        assert batch.shape == (3, 3, 2)
        assert batch.flags.c_contiguous


@pytest.mark.parametrize("prefetch", [0, 3])
def test_error_in_a_transform_says_which_batch(prefetch: int) -> None:
    def fail(batch: np.ndarray, _: np.random.Generator) -> np.ndarray:
        if 5 in batch:
            raise ZeroDivisionError("that batch")
        return batch

    batches = Batches(np.arange(10), batch_size=2, shuffle=False, transform=fail, prefetch=prefetch, threads=2)
    batches.set_epoch(7)
    got: list[Any] = []

    with pytest.raises(ZeroDivisionError, match="that batch") as caught:
        got.extend(batches)

    assert caught.value.__notes__ == ["in the transform of batch 2 of epoch 7, both counted from 0"]


@pytest.mark.parametrize("change", [lambda batch, _: batch[1:], lambda batch, _: batch.sum()])
def test_transform_that_changes_the_number_of_rows(change: Any) -> None:
    with pytest.raises(DataError, match="how many rows a batch has") as caught:
        next(iter(Batches(np.arange(10), batch_size=2, transform=change)))

    assert caught.value.expected == "2 rows"
