from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from data_files import cifar_archive, cifar_files, idx_files, write_files
from graphnn.data import datasets

Command = Callable[..., Result]
TRAIN = ("train", "pure_linear", "--epochs", 1, "--device", "numpy")
ARCHIVE = "cifar-10-binary.tar.gz"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let every download fail, and every cache be empty."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError("there is no network here")

    monkeypatch.setattr("graphnn.data.download.urlopen", refuse)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_folder_like_mnist(run: Command, tmp_path: Path) -> None:
    files = {f"{name}.gz": gzip.compress(content) for name, content in idx_files().items()}

    result = run(*TRAIN, "--data", write_files(tmp_path / "data", files))

    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1].split()[0] == "1"


def test_name_of_a_data_set(run: Command, digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "_fetched_fashion_mnist", lambda: datasets.mnist(digits))

    by_name = run(*TRAIN, "--data", "fashion_mnist")
    by_folder = run(*TRAIN, "--data", digits)

    assert by_name.exit_code == 0, by_name.output
    seconds = re.compile(r" +\S+$")
    last = [seconds.sub("", result.stdout.splitlines()[-1]) for result in (by_name, by_folder)]
    assert last[0] == last[1]


def test_download_that_fails(run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(*TRAIN, "--data", "fashion_mnist")

    assert result.exit_code == 1
    assert result.stdout == ""
    assert re.match(r"error: https://\S+/train-images-idx3-ubyte\.gz: can't be fetched: there is no", result.stderr)
    assert "MD5 with 8d4fb7e6c68d591d4c3dfef9ec88bf0d, and put it at" in result.stderr
    assert str(tmp_path / "cache") in result.stderr
    assert "  at:" not in result.stderr  # the command line is no line of the user's


@pytest.mark.parametrize("source", ["cifar10", "folder", "archive"])
def test_images_of_another_shape(source: str, run: Command, tmp_path: Path) -> None:
    write_files(tmp_path / "folder", cifar_files())
    write_files(tmp_path / "archive", {ARCHIVE: cifar_archive(cifar_files())})

    result = run("train", "lenet", "--data", source if source == "cifar10" else tmp_path / source)

    assert result.exit_code == 1
    assert result.stdout == ""
    assert re.match(r"error: lenet can't be trained on \S+: its images have another shape\n", result.stderr)
    assert "expected: (1, 28, 28) (channels, height, width)\n  actual:   (3, 32, 32)\n" in result.stderr
    assert "--data mnist or fashion_mnist" in result.stderr


def test_folder_without_data(run: Command, tmp_path: Path) -> None:
    result = run(*TRAIN, "--data", tmp_path)

    assert result.exit_code == 1
    assert "is no data set: it has none of the files" in result.stderr


def test_misspelt_name(run: Command) -> None:
    result = run(*TRAIN, "--data", "fashion-mnist")

    assert result.exit_code == 2
    assert "there is no data set or folder 'fashion-mnist'. Did you mean fashion_mnist?" in " ".join(
        result.stderr.split()
    )


def test_a_name_comes_before_a_folder_of_that_name(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path / "cifar10", idx_files())
    monkeypatch.chdir(tmp_path)

    assert run(*TRAIN, "--data", "cifar10").exit_code == 1
    assert run(*TRAIN, "--data", "./cifar10").exit_code == 0
