from __future__ import annotations

import hashlib
import io
import os
import re
import socket
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from graphnn.data import DataError
from graphnn.data.download import RemoteFile, cache_folder, fetch
from local_server import Server

CONTENT = bytes(range(256)) * 4096  # four chunks


def remote(url: str, content: bytes = CONTENT) -> RemoteFile:
    return RemoteFile(url, hashlib.md5(content, usedforsecurity=False).hexdigest())


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_fetches_once(server: Server, tmp_path: Path) -> None:
    file = remote(server.url("some/data.bin", CONTENT))

    path = fetch(file, tmp_path)

    assert path == tmp_path / "data.bin"
    assert path.read_bytes() == CONTENT
    assert fetch(file, tmp_path) == path
    assert server.requests == ["/some/data.bin"]
    assert files_in(tmp_path) == ["data.bin"]


def test_fetches_from_a_disk(tmp_path: Path) -> None:
    source = tmp_path / "there" / "data.bin"
    source.parent.mkdir()
    source.write_bytes(CONTENT)
    here = tmp_path / "here"
    here.mkdir()

    assert fetch(remote(source.as_uri()), here).read_bytes() == CONTENT


@pytest.mark.parametrize("spoilt", [CONTENT[:-1], b"", CONTENT[:-1] + b"!"])
def test_file_that_is_not_as_it_should_be_is_replaced(spoilt: bytes, server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(spoilt)

    path = fetch(remote(server.url("data.bin", CONTENT)), tmp_path)

    assert path.read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_file_put_there_by_hand_is_used(tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(CONTENT)

    assert fetch(remote("http://127.0.0.1:9/data.bin"), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("present", [None, b"an older one"])
def test_wrong_checksum(present: bytes | None, server: Server, tmp_path: Path) -> None:
    file = remote(server.url("data.bin", CONTENT[:-1] + b"!"))
    if present is not None:
        (tmp_path / "data.bin").write_bytes(present)

    with pytest.raises(DataError, match="not the file it should be") as caught:
        fetch(file, tmp_path)

    assert file.md5 in caught.value.expected
    assert hashlib.md5(CONTENT[:-1] + b"!", usedforsecurity=False).hexdigest() in caught.value.actual
    assert "fetch(file, tmp_path)" in caught.value.where
    assert all(text in caught.value.hint for text in (file.url, file.md5, str(tmp_path / "data.bin")))
    assert files_in(tmp_path) == ([] if present is None else ["data.bin"])


@pytest.mark.parametrize("stated", [len(CONTENT) + 10, None])
def test_connection_that_ends_early(stated: int | None, server: Server, tmp_path: Path) -> None:
    file = remote(server.url("data.bin", CONTENT[:-100]))
    server.stated_lengths["/data.bin"] = stated

    # Newer versions of Python's own client notice it first.
    with pytest.raises(DataError, match="not the file it should be" if stated is None else "cut short|IncompleteRead"):
        fetch(file, tmp_path)

    assert files_in(tmp_path) == []


def test_offline(tmp_path: Path) -> None:
    with socket.socket() as closed_again:
        closed_again.bind(("127.0.0.1", 0))
        port = closed_again.getsockname()[1]
    file = remote(f"http://127.0.0.1:{port}/some/data.bin")

    with pytest.raises(DataError, match=re.escape(f"{file.url}: can't be fetched: ")) as caught:
        fetch(file, tmp_path)

    assert "refused" in caught.value.message
    assert all(text in caught.value.hint for text in (file.url, file.md5, str(tmp_path / "data.bin")))
    assert caught.value.actual == "no file there"
    assert files_in(tmp_path) == []


def test_offline_with_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "absent").write_bytes(b"damaged")

    with pytest.raises(DataError, match="can't be fetched") as caught:
        fetch(remote((tmp_path / "elsewhere" / "absent").as_uri()), tmp_path)

    assert caught.value.actual == "the file there has another"


def test_refusal_of_the_server(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="can't be fetched: 404 Not Found"):
        fetch(remote(f"{server.address}/data.bin"), tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
@pytest.mark.parametrize("content", [CONTENT, b"so short that it is written when the file is closed"])
def test_full_disk(content: bytes, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = remote(server.url("data.bin", content), content)
    open_path = Path.open

    def open_on_full_disk(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if mode == "xb":
            return open_path(Path("/dev/full"), "wb")
        return open_path(path, mode, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_on_full_disk)
        with pytest.raises(DataError, match=r"data\.bin' can't be written: No space left") as caught:
            fetch(file, tmp_path)

    assert "make room" in caught.value.hint
    assert files_in(tmp_path) == []
    assert fetch(file, tmp_path).read_bytes() == content


def test_interrupt_leaves_nothing(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Impatient(io.BytesIO):
        headers: dict[str, str] = {}  # noqa: RUF012  # never written to

        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell():
                raise KeyboardInterrupt
            return super().read(size)

    monkeypatch.setattr("graphnn.data.download.urlopen", lambda *_, **__: Impatient(CONTENT))
    with pytest.raises(KeyboardInterrupt):
        fetch(remote(server.url("data.bin", CONTENT)), tmp_path)

    assert files_in(tmp_path) == []


def test_parts_of_killed_processes_are_removed(server: Server, tmp_path: Path) -> None:
    abandoned, in_use = tmp_path / ".data.bin.0123abcd.part", tmp_path / ".data.bin.4567cdef.part"
    for part in (abandoned, in_use):
        part.write_bytes(CONTENT[:1000])
    long_ago = time.time() - 2 * 3600
    os.utime(abandoned, (long_ago, long_ago))

    fetch(remote(server.url("data.bin", CONTENT)), tmp_path)

    assert files_in(tmp_path) == [in_use.name, "data.bin"]


def test_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    old = os.umask(0)  # the widest: nothing but the mode that is asked for counts
    try:
        folder = cache_folder("things")
    finally:
        os.umask(old)

    assert folder == tmp_path / "cache" / "graphnn" / "data" / "things"
    assert folder.is_dir()
    assert stat.S_IMODE((tmp_path / "cache" / "graphnn").stat().st_mode) == 0o700
    assert cache_folder("things") == folder


def test_cache_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))

    with pytest.raises(DataError, match=r"data/things: can't be made: (File exists|Not a directory)") as caught:
        cache_folder("things")

    assert "XDG_CACHE_HOME" in caught.value.hint


def test_cache_folder_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: Path("~/.cache/graphnn"))

    with pytest.raises(DataError, match="no home folder"):
        cache_folder("things")
