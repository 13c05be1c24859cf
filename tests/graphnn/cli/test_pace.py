from collections.abc import Iterator

from graphnn.cli.pace import Pace

PASSES = ["training", "test"]


def pace(*times: float) -> Pace:
    clock: Iterator[float] = iter(times)
    return Pace(PASSES, clock.__next__)


def go_through(measured: Pace, current: str, batches: int, total: int) -> None:
    for done in range(1, batches + 1):
        measured.advance(current, done, total)


def test_first_pass_counts_what_is_known() -> None:
    measured = pace(0, 1)
    measured.advance("training", 1, 10)

    assert measured.note(examples=50, epochs_left=2) == "50 images/s, 0:00:29 left"  # 9 s, and two epochs of 10 s


def test_later_passes_count_as_long_as_they_took() -> None:
    measured = pace(0, *range(1, 11), 10.5, 11, 11.5, 12, 100, 200, 300, 400, 3600)
    go_through(measured, "training", 10, 10)
    go_through(measured, "test", 4, 4)
    assert measured.note(examples=100, epochs_left=1) == "200 images/s, 0:00:12 left"

    go_through(measured, "training", 5, 10)
    assert measured.note(examples=100, epochs_left=0).endswith("images/s, 0:59:50 left")


def test_a_resumed_epoch_begins_in_its_middle() -> None:
    measured = pace(0, 1, 2)
    measured.advance("training", 9, 10)
    measured.advance("training", 10, 10)

    assert measured.note(examples=1000, epochs_left=1) == "1,000 images/s, 0:00:10 left"


def test_the_last_batch_leaves_nothing() -> None:
    measured = pace(0, 4, 5, 6)
    go_through(measured, "training", 2, 2)
    go_through(measured, "test", 1, 1)

    assert measured.note(examples=1, epochs_left=0) == "1 images/s, 0:00:00 left"


def test_long_trainings() -> None:
    measured = pace(0, 3600)
    measured.advance("training", 1, 1)

    assert measured.note(examples=1, epochs_left=30).endswith(", 30:00:00 left")
