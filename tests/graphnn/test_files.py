"""`write_whole`: all of a file or nothing of it, on the disk before its name is."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

import graphnn as gn
from error_form import refused
from graphnn.files import sync_folder, target_of_part, write_whole


def write(path: Path, content: bytes = b"new") -> None:
    write_whole(path, lambda file: file.write(content), gn.CheckpointError)


def failing(code: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


def test_a_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"first", b"", b"second"):
        write(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
def test_permissions(tmp_path: Path) -> None:
    usual, new, private = tmp_path / "usual", tmp_path / "new", tmp_path / "private"
    usual.touch()
    private.touch(mode=0o600)

    write(new)
    write(private)

    assert new.stat().st_mode == usual.stat().st_mode
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert private.read_bytes() == b"new"


@pytest.mark.parametrize("where", ["os.fsync", "pathlib.Path.replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EFBIG, errno.EIO, errno.EROFS])
def test_a_disk_that_fails_loses_nothing(
    code: int, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(where, failing(code))

    hint = "make room" if code in (errno.ENOSPC, errno.EFBIG) else "a folder that can be written to"
    with refused(gn.CheckpointError, f"file' can't be written: {os.strerror(code)}", at="write_whole", hint=hint):
        write(path)

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_of_the_writer_is_left_as_it_is(tmp_path: Path) -> None:
    def broken(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "file", broken)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="Windows opens no folders")
def test_order_of_what_reaches_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    sync, replace = os.fsync, Path.replace

    def note_sync(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        size = os.fstat(descriptor).st_size
        done.append("folder" if is_folder else f"{size} bytes")
        sync(descriptor)

    def note_replace(path: Path, target: Path) -> Path:
        done.append("rename")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "replace", note_replace)
    write(tmp_path / "file")

    assert done == ["3 bytes", "rename", "folder"]


@pytest.mark.skipif(os.name != "posix", reason="Windows opens no folders")
def test_folders_that_a_file_system_does_not_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", failing(errno.EINVAL))
    sync_folder(tmp_path)
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        sync_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        (".w.safetensors.0123abcd.part", "w.safetensors"),
        (".a\nb.0123abcd.part", "a\nb"),
        (".w.safetensors.0123abc.part", None),
        ("w.safetensors.0123abcd.part", None),
        (".w.0123abcd.part.old", None),
        ("..0123abcd.part", None),
    ],
)
def test_names_of_unfinished_files(name: str, target: str | None) -> None:
    assert target_of_part(name) == target


def test_unfinished_files_have_such_names(tmp_path: Path) -> None:
    def look(_: object) -> None:
        (part,) = tmp_path.iterdir()
        assert target_of_part(part.name) == "step 7.bin"

    write_whole(tmp_path / "step 7.bin", look)
