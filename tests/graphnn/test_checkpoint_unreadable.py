"""Files of weights that can't be read or written: one error each, with the path and one thing to do."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import graphnn as gn
from checkpoint_graphs import graph_of
from error_form import refused
from python_process import printed_by


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights.safetensors"


def make_zip(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04" + b"\0" * 100)


UNREADABLE: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "missing": (lambda path: None, "there is no such file", "check its name"),
    "folder": (Path.mkdir, "it is a folder", "latest_checkpoint"),
    "empty": (Path.touch, "it is empty", "another copy"),
    "text": (lambda path: path.write_text("conv1.weight: 1 2 3 4 5"), "no whole safetensors file", "another copy"),
    "short": (lambda path: path.write_bytes(b"\1\0"), "no whole safetensors file", "another copy"),
    "torch.save": (make_zip, "no whole safetensors file", "save_file(torch.load(path), new_path)"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_files_that_are_none(case: str, path: Path) -> None:
    make, message, hint = UNREADABLE[case]
    make(path)
    graph = graph_of(w=1.0)

    with pytest.raises(gn.CheckpointError) as caught:
        gn.load(graph, path)

    error = caught.value
    assert repr(str(path)) in error.message
    assert message in error.message
    assert hint in error.hint
    assert error.expected
    assert "gn.load(graph, path)" in error.where


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(path: Path) -> None:
    os.mkfifo(path)
    with refused(gn.CheckpointError, "it is no plain file", at="gn.load("):
        gn.load(graph_of(w=1.0), path)


def test_a_path_that_no_system_allows() -> None:
    with pytest.raises(gn.CheckpointError, match="can't be read: embedded null"):
        gn.load(graph_of(w=1.0), "a\0b")


def test_a_file_of_somebody_else(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    gn.save(graph_of(w=1.0), path)
    monkeypatch.setattr(Path, "read_bytes", denied)  # the tests may run as root, who may read everything
    with refused(gn.CheckpointError, "you have no right to", at="gn.load(", hint="chmod"):
        gn.load(graph_of(w=1.0), path)


def test_truncated_anywhere(path: Path) -> None:
    graph = graph_of(w=[1.0, 2.0], b=3.0)
    gn.save(graph, path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(gn.CheckpointError, match=r"can't be read|no whole safetensors file"):
            gn.load(graph, path)


def test_garbage_never_raises_anything_else(path: Path) -> None:
    graph = graph_of(w=[1.0, 2.0], b=3.0)
    gn.save(graph, path)
    whole, generator = path.read_bytes(), np.random.default_rng(0)
    for _ in range(150):
        broken = bytearray(whole)
        for place in generator.integers(0, len(whole), 3):
            broken[place] = generator.integers(256)
        path.write_bytes(broken)
        try:
            gn.load(graph, path, strict=False)
        except gn.CheckpointError as error:
            assert error.hint  # noqa: PT017 - it need not be raised


@pytest.mark.parametrize("function", [gn.save, gn.load])
def test_only_graphs(function: Callable[..., object], path: Path) -> None:
    with refused(gn.CheckpointError, "takes a graph, not 5", at="function(5, path)"):
        function(5, path)


def test_without_safetensors(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gn.save(graph_of(w=1.0), path)
    before = path.read_bytes()
    monkeypatch.setitem(sys.modules, "safetensors", None)

    with refused(gn.CheckpointError, "safetensors can't be imported", at="gn.save", hint='pip install "graphnn[check'):
        gn.save(graph_of(w=2.0), path)
    with refused(gn.CheckpointError, "safetensors can't be imported", at="gn.load", hint='pip install "graphnn[check'):
        gn.load(graph_of(w=2.0), path)

    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_import_does_not_need_safetensors() -> None:
    script = "import sys; sys.modules['safetensors'] = None; import graphnn.checkpoint"
    printed_by("-c", script)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with refused(gn.CheckpointError, "can't be written: No such file", at="gn.save", hint="a folder that can be"):
        gn.save(graph_of(w=1.0), tmp_path / "missing" / "w.safetensors")
    assert not list(tmp_path.iterdir())
