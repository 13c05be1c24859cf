from __future__ import annotations

import dataclasses
import gzip
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import graphnn as gn
from data_files import cifar_archive, cifar_files, idx_files, write_files
from graphnn.data import DATASETS, DataError, Dataset, cifar10, datasets, fashion_mnist, load_dataset, mnist
from graphnn.data.download import RemoteFile
from local_server import Server

ARCHIVE = "cifar-10-binary.tar.gz"


def forget() -> None:
    datasets._fetched_fashion_mnist.cache_clear()
    datasets._fetched_cifar10.cache_clear()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return where data sets are kept, an empty place that no other test sees."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    forget()
    yield tmp_path / "cache" / "graphnn" / "data"
    forget()


@pytest.fixture
def published(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Publish small data sets under the names of the real ones."""

    def publish(name: str, content: bytes) -> RemoteFile:
        return RemoteFile(server.url(name, content), hashlib.md5(content, usedforsecurity=False).hexdigest())

    files = tuple(publish(f"{name}.gz", gzip.compress(content)) for name, content in idx_files().items())
    monkeypatch.setattr(datasets, "FASHION_FILES", files)
    monkeypatch.setattr(datasets, "CIFAR_FILE", publish(ARCHIVE, cifar_archive(cifar_files())))
    return server


def check_fashion(data: Dataset) -> None:
    assert data.train_images.shape == (3, 1, 28, 28)
    assert data.test_images.shape == (2, 1, 28, 28)
    assert data.train_labels.tolist() == data.train_images[:, 0, 5, 5].tolist() == [0, 1, 2]
    assert data.test_labels.tolist() == [0, 1]
    assert data.class_names[9] == "Ankle boot"


def check_cifar(data: Dataset) -> None:
    assert data.train_images.shape == (15, 3, 32, 32)
    assert data.test_labels.tolist() == [5, 4, 3, 2, 1, 0]
    assert data.class_names[0] == "airplane"
    assert data.class_names[9] == "truck"


def test_where_the_real_ones_are() -> None:
    # MD5s as their authors publish them; the network is not asked.
    assert {file.name: file.md5 for file in (*datasets.FASHION_FILES, datasets.CIFAR_FILE)} == {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        "cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530",
    }
    assert all(file.url.startswith("https://") for file in (*datasets.FASHION_FILES, datasets.CIFAR_FILE))


def test_fashion_mnist_is_fetched_once(cache: Path, published: Server) -> None:
    data = fashion_mnist()

    check_fashion(data)
    assert fashion_mnist() is data
    forget()
    check_fashion(fashion_mnist())
    assert len(published.requests) == 4
    assert sorted(path.name for path in (cache / "fashion_mnist").iterdir()) == sorted(f"{n}.gz" for n in idx_files())


def test_cifar10_is_fetched_once(cache: Path, published: Server) -> None:
    data = cifar10()

    check_cifar(data)
    assert cifar10() is data
    forget()
    check_cifar(cifar10())
    assert published.requests == [f"/{ARCHIVE}"]
    assert [path.name for path in (cache / "cifar10").iterdir()] == [ARCHIVE]


def test_damaged_cache_is_mended(cache: Path, published: Server) -> None:
    write_files(cache / "cifar10", {ARCHIVE: cifar_archive(cifar_files())[:-1]})
    # Neither compressed nor checked: not a file that is looked at here.
    write_files(cache / "fashion_mnist", {"train-images-idx3-ubyte": b"spoilt"})

    check_cifar(cifar10())
    check_fashion(fashion_mnist())

    assert len(published.requests) == 5


@pytest.mark.parametrize("name", ["fashion_mnist", "cifar10"])
def test_offline(name: str, cache: Path, published: Server) -> None:
    published.contents.clear()

    with pytest.raises(DataError, match="can't be fetched: 404") as caught:
        load_dataset(name)

    first = {"fashion_mnist": "train-images-idx3-ubyte.gz", "cifar10": ARCHIVE}[name]
    assert f"put it at {cache / name / first}" in caught.value.hint
    assert "load_dataset(name)" in caught.value.where


def test_failure_is_not_remembered(cache: Path, published: Server) -> None:
    kept = dict(published.contents)
    published.contents.clear()
    with pytest.raises(DataError):
        cifar10()
    published.contents.update(kept)

    check_cifar(cifar10())


def test_folders_are_read_as_they_are(tmp_path: Path, cache: Path, published: Server) -> None:
    clothes = write_files(tmp_path / "clothes", {f"{n}.gz": gzip.compress(c) for n, c in idx_files().items()})
    things = write_files(tmp_path / "things", cifar_files())

    check_fashion(fashion_mnist(clothes))
    check_cifar(cifar10(str(things)))

    assert published.requests == []
    assert not cache.exists()


@pytest.mark.parametrize("load", [mnist, fashion_mnist, cifar10])
def test_arrays_cannot_be_changed(load: Callable[..., Dataset], tmp_path: Path) -> None:
    data = load(write_files(tmp_path, {**idx_files(), **cifar_files()}))

    for array in (data.train_images, data.train_labels, data.test_images, data.test_labels):
        assert array.flags.c_contiguous
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.class_names = ()  # type: ignore[misc]  # refused is what is tested
    assert len(data.class_names) == len(set(data.class_names)) == 10


@pytest.mark.parametrize("name", DATASETS)
def test_entries(name: str, cache: Path, published: Server) -> None:
    entry = DATASETS[name]

    data = entry.load()

    assert data.train_images.shape[1:] == data.test_images.shape[1:] == entry.image_shape
    assert entry.load is getattr(gn.data, name)
    assert load_dataset(name) is data


def test_folders_are_recognised_by_the_names_of_their_files(tmp_path: Path) -> None:
    digits = load_dataset(write_files(tmp_path / "mnist", idx_files()))
    check_cifar(load_dataset(write_files(tmp_path / "archive", {ARCHIVE: cifar_archive(cifar_files())})))
    check_cifar(load_dataset(str(write_files(tmp_path / "files", cifar_files()))))

    np.testing.assert_array_equal(digits.train_labels, [0, 1, 2])
    assert digits.class_names == tuple("0123456789")


def test_incomplete_folders_say_what_is_missing(tmp_path: Path) -> None:
    (write_files(tmp_path / "mnist", idx_files()) / "t10k-images-idx3-ubyte").unlink()
    (write_files(tmp_path / "cifar", cifar_files()) / "data_batch_1.bin").unlink()

    with pytest.raises(DataError, match="has neither t10k-images-idx3-ubyte nor"):
        load_dataset(tmp_path / "mnist")
    with pytest.raises(DataError, match=r"data_batch_1\.bin: cannot be read"):
        load_dataset(tmp_path / "cifar")


@pytest.mark.parametrize(("source", "reason"), [("cifar-10", "no data set and no folder"), (".", "none of the files")])
def test_refuses_other_sources(source: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(DataError, match=rf"'{source}' is .*{reason}") as caught:
        load_dataset(source)

    assert all(text in caught.value.expected for text in (*DATASETS, "train-images-idx3-ubyte", ARCHIVE))
    assert "load_dataset(source)" in caught.value.where
