import dataclasses
import gzip
import hashlib
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import graphnn.data
from graphnn.data import DataError, mnist

FOLDER = Path(graphnn.data.__file__).parent / "mnist"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Return a folder of plain files: three images to train on, two to test on."""
    for split, count in (("train", 3), ("t10k", 2)):
        images = bytes([0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 28, 0, 0, 0, 28]) + bytes(count * 784)
        (tmp_path / f"{split}-images-idx3-ubyte").write_bytes(images)
        (tmp_path / f"{split}-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, count, *range(count)]))
    return tmp_path


def test_embedded_digits() -> None:
    digits = mnist()

    assert digits.train_images.shape == (60_000, 1, 28, 28)
    assert digits.test_images.shape == (10_000, 1, 28, 28)
    assert digits.train_images.dtype == digits.test_images.dtype == np.uint8
    assert digits.train_labels.dtype == digits.test_labels.dtype == np.int32
    assert digits.class_names == tuple("0123456789")
    # The counts and moments that are known of MNIST.
    counts = np.bincount(digits.train_labels)
    np.testing.assert_array_equal(counts, [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949])
    assert digits.test_labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert digits.train_images.mean() / 255 == pytest.approx(0.1307, abs=1e-4)
    assert digits.train_images.std() / 255 == pytest.approx(0.3081, abs=1e-4)


def test_embedded_digits_are_shared_and_cannot_be_changed() -> None:
    digits = mnist()

    assert mnist() is digits
    with pytest.raises(dataclasses.FrozenInstanceError):
        digits.class_names = ()  # type: ignore[misc]  # refused is what is tested
    for array in (digits.train_images, digits.train_labels, digits.test_images, digits.test_labels):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_readme_states_the_digests() -> None:
    stated = dict(re.findall(r"`([\w-]+\.gz)`.*`([0-9a-f]{64})`", (FOLDER / "README.md").read_text(encoding="utf-8")))

    assert stated == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in FOLDER.glob("*.gz")}
    assert len(stated) == 4


@pytest.mark.parametrize("compress", [False, True])
def test_reads_another_folder(small: Path, compress: bool) -> None:
    if compress:
        for path in list(small.iterdir()):
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()

    digits = mnist(str(small))

    assert digits.train_images.shape == (3, 1, 28, 28)
    assert digits.train_labels.tolist() == [0, 1, 2]
    assert digits.test_labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("spoilt", "content", "reason"),
    [
        (
            "t10k-images-idx3-ubyte",
            bytes([0, 0, 8, 1, 0, 0, 0, 1, 5]),
            r"not MNIST images\n.*\n.*uint8 of shape \(1,\)",
        ),
        ("train-labels-idx1-ubyte", bytes([0, 0, 8, 1, 0, 0, 0, 1, 5]), r"not the labels of train-images-idx3-ubyte"),
        ("t10k-labels-idx1-ubyte", bytes([0, 0, 9, 1, 0, 0, 0, 2, 0, 1]), r"not the labels of t10k-images-idx3-ubyte"),
        ("t10k-labels-idx1-ubyte", bytes([0, 0, 8, 1, 0, 0, 0, 2, 0, 10]), r"a label that is no digit\n.*\n.*10"),
        ("t10k-labels-idx1-ubyte", b"", "cut short"),
    ],
)
def test_refuses_files_that_do_not_fit(small: Path, spoilt: str, content: bytes, reason: str) -> None:
    (small / spoilt).write_bytes(content)

    with pytest.raises(DataError, match=f"{spoilt}: {reason}"):
        mnist(small)


def test_refuses_folder_without_the_files(small: Path) -> None:
    (small / "t10k-labels-idx1-ubyte").unlink()

    with pytest.raises(DataError, match=r"has neither t10k-labels-idx1-ubyte nor t10k-labels-idx1-ubyte\.gz"):
        mnist(small)


def test_refuses_damaged_file(tmp_path: Path) -> None:
    for path in FOLDER.glob("*.gz"):
        shutil.copy(path, tmp_path)
    labels = tmp_path / "t10k-labels-idx1-ubyte.gz"
    labels.write_bytes(labels.read_bytes()[:-20])

    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.gz: damaged gzip data"):
        mnist(tmp_path)
