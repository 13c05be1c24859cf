import errno
import os
import stat
import time
from pathlib import Path
from typing import NoReturn

import pytest

from graphnn.compiler.targets.c.store import Store, open_store

KEY, OTHER = "ab" * 32, "cd" * 32
LONG_AGO = time.time() - 10_000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "cache" / "graphnn")


def names(store: Store) -> list[str]:
    return sorted(path.name for path in store.folder.iterdir())


def test_what_was_put_is_found(store: Store) -> None:
    assert store.find(KEY) is None

    path = store.put(KEY, b"library")

    assert store.find(KEY) == path == store.path(KEY)
    assert path.read_bytes().startswith(b"library")
    assert store.find(OTHER) is None
    assert names(store) == [f"{KEY}.so"]


def test_only_the_owner_has_rights(store: Store) -> None:
    path = store.put(KEY, b"library")

    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_put_replaces(store: Store) -> None:
    store.put(KEY, b"one")
    before = store.path(KEY).stat().st_ino
    store.put(KEY, b"two")

    assert store.path(KEY).read_bytes().startswith(b"two")
    assert store.path(KEY).stat().st_ino != before  # whoever has loaded the first one still has it
    assert store.find(KEY)


def test_truncated_at_any_length_is_not_found(store: Store) -> None:
    whole = store.put(KEY, b"library").read_bytes()
    for length in range(len(whole)):
        store.path(KEY).write_bytes(whole[:length])
        assert store.find(KEY) is None, length


def test_any_changed_byte_is_noticed(store: Store) -> None:
    whole = store.put(KEY, b"library").read_bytes()
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1
        store.path(KEY).write_bytes(changed)
        assert store.find(KEY) is None, position


def test_appended_bytes_are_noticed(store: Store) -> None:
    path = store.put(KEY, b"library")
    path.write_bytes(path.read_bytes() + b"\0")

    assert store.find(KEY) is None


def test_library_of_another_key_is_not_found(store: Store) -> None:
    store.put(OTHER, b"library").rename(store.path(KEY))

    assert store.find(KEY) is None


def test_link_is_not_followed(store: Store, tmp_path: Path) -> None:
    elsewhere = store.put(KEY, b"library").rename(tmp_path / "elsewhere")
    before = elsewhere.read_bytes()
    store.path(KEY).symlink_to(elsewhere)

    assert store.find(KEY) is None
    store.put(KEY, b"new")
    assert store.find(KEY)
    assert not store.path(KEY).is_symlink()
    assert elsewhere.read_bytes() == before


def test_pipe_or_folder_in_place_of_a_library(store: Store) -> None:
    os.mkfifo(store.path(KEY))
    assert store.find(KEY) is None  # without waiting for a writer
    store.put(KEY, b"library")
    assert store.find(KEY)

    store.path(OTHER).mkdir()
    assert store.find(OTHER) is None
    with pytest.raises(IsADirectoryError):
        store.put(OTHER, b"library")
    assert names(store) == [f"{KEY}.so", f"{OTHER}.so"]


def test_library_that_others_can_write_is_not_found(store: Store) -> None:
    store.put(KEY, b"library").chmod(0o620)

    assert store.find(KEY) is None


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_failed_put_leaves_what_was(number: int, function: str, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(KEY, b"one")

    def fail(*arguments: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(OSError, match=os.strerror(number)):
        store.put(KEY, b"two")

    assert names(store) == [f"{KEY}.so"]
    assert store.find(KEY)
    assert store.path(KEY).read_bytes().startswith(b"one")


def test_interrupted_put_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.put(KEY, b"library")

    assert names(store) == []


def test_remove(store: Store) -> None:
    store.put(KEY, b"library")
    store.remove(KEY)
    store.remove(KEY)

    assert store.find(KEY) is None


def test_least_recently_used_go_first(store: Store) -> None:
    keys = [f"{number:064x}" for number in range(5)]
    for number, key in enumerate(keys):
        store.put(key, bytes(1000))
        os.utime(store.path(key), (LONG_AGO + number, LONG_AGO + number))
    size = store.path(KEY).parent.joinpath(f"{keys[0]}.so").stat().st_size
    assert store.find(keys[0])  # used now, so the next oldest have to go

    Store(store.folder, size_limit=3 * size).put(KEY, bytes(1000))

    assert names(store) == sorted(f"{key}.so" for key in (keys[0], keys[4], KEY))


def test_what_is_in_use_stays_beyond_the_limit(store: Store) -> None:
    small = Store(store.folder, size_limit=10)
    small.put(KEY, bytes(1000))
    small.put(OTHER, bytes(1000))

    assert small.find(KEY)
    assert small.find(OTHER)


def test_leftovers_of_killed_processes_go_and_other_files_stay(store: Store) -> None:
    for name in ("old.part", "new.part", "readme.txt"):
        (store.folder / name).write_bytes(b"x")
    for name in ("old.part", "readme.txt"):
        os.utime(store.folder / name, (LONG_AGO, LONG_AGO))

    Store(store.folder, size_limit=0).put(KEY, b"library")

    assert names(store) == [f"{KEY}.so", "new.part", "readme.txt"]


def test_folder_that_is_there_is_used(store: Store) -> None:
    store.put(KEY, b"library")
    store.folder.chmod(0o755)  # others may read

    assert open_store(store.folder).find(KEY)


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o720, 0o702])
def test_folder_that_others_can_write(mode: int, store: Store) -> None:
    store.folder.chmod(mode)

    with pytest.raises(PermissionError, match=f"others can write to it; run `chmod 700 {store.folder}`"):
        open_store(store.folder)


def test_folder_of_another_user(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)

    with pytest.raises(PermissionError, match=rf"belongs to another user \(number {owner}\)"):
        open_store(store.folder)


def test_library_of_another_user_is_not_found(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(KEY, b"library")
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)

    assert store.find(KEY) is None


def test_folder_that_anybody_could_exchange(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(PermissionError, match=f"anybody can write to {shared}"):
        open_store(shared / "graphnn")

    shared.chmod(0o1777)  # as /tmp: nobody can rename what belongs to others
    assert open_store(shared / "graphnn").folder == shared / "graphnn"


def test_link_in_place_of_the_folder(store: Store, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(store.folder)

    with pytest.raises(NotADirectoryError, match="a link or a file"):
        open_store(link)


def test_file_in_place_of_the_folder_or_above_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(NotADirectoryError):
        open_store(tmp_path / "file")
    with pytest.raises(OSError, match="file"):
        open_store(tmp_path / "file" / "graphnn")


def test_user_without_a_home() -> None:
    with pytest.raises(FileNotFoundError, match="no home folder; set XDG_CACHE_HOME"):
        open_store(Path("~/.cache/graphnn"))

    assert not Path("~").exists()
