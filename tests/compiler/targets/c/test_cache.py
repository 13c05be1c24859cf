import ctypes
import errno
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from graphnn.compiler.targets.c import cache
from graphnn.compiler.targets.c.build import BASE_FLAGS, BuildError, BuildTimeoutError, Compiler, compile_library
from graphnn.compiler.targets.c.cache import cache_folder, library_key, load_library
from graphnn.compiler.targets.c.store import Store, open_store
from module_names import ROOT

FakeCompiler = Callable[[str], tuple[str, ...]]

ADD = '__attribute__((visibility("default"))) int add(int x) { return x + STEP; }\n'
UNITS = {"add.c": f'#include "step.h"\n{ADD}'}
HEADERS = {"step.h": "#define STEP 1\n"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary builds."""
    path = tmp_path / "temporary"
    path.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    return path


@pytest.fixture
def counting(compiler: Compiler, fake: FakeCompiler, log: Path) -> Compiler:
    """A compiler that writes a line at each call."""
    return replace(compiler, command=fake(f'echo "$@" >> {log}; exec $REAL "$@"'))


def calls(log: Path) -> int:
    return len(log.read_text().splitlines())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def loading_script(compiler: Compiler, folder: Path) -> str:
    """Return a program that loads the library and prints 41 + 1."""
    return f"""
from pathlib import Path
from graphnn.compiler.targets.c.build import Compiler
from graphnn.compiler.targets.c.cache import load_library
compiler = Compiler({compiler.command!r}, {compiler.version!r}, {compiler.cpu!r}, {compiler.flags!r})
folder = Path({str(folder)!r})
print(load_library({UNITS!r}, {HEADERS!r}, compiler, folder=folder).add(41))
"""


def in_new_processes(script: str, count: int = 1) -> list[tuple[str, str]]:
    """Run a program in several processes at once; return what each wrote on its output and on its error output."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    return [process.communicate(timeout=60) for process in processes]


def test_cold_compiles_and_warm_does_not(counting: Compiler, folder: Path, log: Path) -> None:
    assert load_library(UNITS, HEADERS, counting, folder=folder).add(41) == 42
    assert calls(log) == 2  # one unit, one link
    assert names(folder) == [f"{library_key(UNITS, HEADERS, counting)}.so"]

    assert load_library(UNITS, HEADERS, counting, folder=folder).add(1) == 2
    assert in_new_processes(loading_script(counting, folder)) == [("42\n", "")]
    assert calls(log) == 2


def test_nothing_is_left_of_the_build(compiler: Compiler, folder: Path, workplace: Path) -> None:
    load_library(UNITS, HEADERS, compiler, folder=folder)

    assert names(workplace) == []


def test_loaders_accept_the_seal(compiler: Compiler, folder: Path) -> None:
    load_library(UNITS, HEADERS, compiler, folder=folder)
    (kept,) = folder.iterdir()

    script = f"import ctypes; print(ctypes.CDLL({str(kept)!r}).add(41))"

    assert in_new_processes(script) == [("42\n", "")]


def test_default_folder(compiler: Compiler, tmp_path: Path) -> None:
    load_library(UNITS, HEADERS, compiler)

    if sys.platform == "linux":
        assert cache_folder() == tmp_path / "home" / "graphnn"
    assert names(cache_folder()) == [f"{library_key(UNITS, HEADERS, compiler)}.so"]


@pytest.mark.parametrize(
    "change",
    [
        lambda c: library_key({**UNITS, "add.c": "int x;"}, HEADERS, c),
        lambda c: library_key({"sub.c": UNITS["add.c"]}, HEADERS, c),
        lambda c: library_key({**UNITS, "sub.c": ""}, HEADERS, c),
        lambda c: library_key(UNITS, {"step.h": "#define STEP 2\n"}, c),
        lambda c: library_key(UNITS, {"other.h": HEADERS["step.h"]}, c),
        lambda c: library_key(UNITS | HEADERS, {}, c),
        lambda c: library_key(UNITS, HEADERS, replace(c, command=("/usr/local/bin/cc",))),
        lambda c: library_key(UNITS, HEADERS, replace(c, version="13.1")),
        lambda c: library_key(UNITS, HEADERS, replace(c, cpu="a CPU\nflags: sse avx")),
        lambda c: library_key(UNITS, HEADERS, replace(c, flags=(*BASE_FLAGS, "-g"))),
        lambda c: library_key(UNITS, HEADERS, c, ("-lblas",)),
        lambda c: library_key(
            UNITS, HEADERS, replace(c, command=("/usr/bin/cc", *BASE_FLAGS[:1]), flags=BASE_FLAGS[1:])
        ),
    ],
)
def test_key_depends_on_everything(change: Callable[[Compiler], str]) -> None:
    compiler = Compiler(("/usr/bin/cc",), "12.2", "a CPU\nflags: sse")
    key = library_key(UNITS, HEADERS, compiler)

    assert len(bytes.fromhex(key)) == 32
    assert key == library_key(dict(UNITS), dict(HEADERS), replace(compiler), [])
    assert change(compiler) != key


def test_key_depends_on_the_format(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    key = library_key(UNITS, HEADERS, compiler)
    monkeypatch.setattr(cache, "_FORMAT", cache._FORMAT + 1)

    assert library_key(UNITS, HEADERS, compiler) != key


def test_key_does_not_depend_on_the_order_of_names() -> None:
    compiler = Compiler(("cc",), "1", "cpu")

    assert library_key({"a.c": "1", "b.c": "2"}, {}, compiler) == library_key({"b.c": "2", "a.c": "1"}, {}, compiler)


@pytest.mark.parametrize("damage", ["empty", "half", "no seal", "one byte", "text", "gone", "other processor"])
def test_damaged_file_is_built_again(damage: str, counting: Compiler, folder: Path, log: Path, tmp_path: Path) -> None:
    # Not loaded yet: this process would go on with what it has.
    built = compile_library(UNITS, HEADERS, counting, (), tmp_path, 60)
    path = open_store(folder).put(library_key(UNITS, HEADERS, counting), built.read_bytes())
    whole = path.read_bytes()
    path.unlink()
    if damage == "other processor":
        other = replace(counting, cpu="another processor")
        units = {"add.c": ADD.replace("STEP", "100")}
        load_library(units, {}, other, folder=folder)
        (folder / f"{library_key(units, {}, other)}.so").rename(path)
    elif damage != "gone":
        contents = {
            "empty": b"",
            "half": whole[: len(whole) // 2],
            "no seal": whole[:-72],
            "one byte": whole[:3000] + bytes([whole[3000] ^ 1]) + whole[3001:],
            "text": b"not a library",
        }
        path.write_bytes(contents[damage])
    before = calls(log)

    assert load_library(UNITS, HEADERS, counting, folder=folder).add(41) == 42

    assert calls(log) == before + 2
    assert path.read_bytes()[-72:-64] == whole[-72:-64]
    assert Store(folder).find(path.stem)


def test_four_processes_at_once(counting: Compiler, folder: Path, log: Path) -> None:
    assert in_new_processes(loading_script(counting, folder), 4) == [("42\n", "")] * 4
    assert names(folder) == [f"{library_key(UNITS, HEADERS, counting)}.so"]
    assert 2 <= calls(log) <= 8


def test_threads_at_once(compiler: Compiler, folder: Path, workplace: Path) -> None:
    barrier = threading.Barrier(6)
    results = {}

    def load(number: int) -> None:
        units = {"add.c": ADD.replace("STEP", str(number % 3))}  # each library by two threads
        barrier.wait()
        results[number] = load_library(units, {}, compiler, folder=folder).add(10)

    threads = [threading.Thread(target=load, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert results == {number: 10 + number % 3 for number in range(6)}
    assert len(names(folder)) == 3
    assert names(workplace) == []


def test_failed_compile_leaves_no_file(compiler: Compiler, folder: Path, workplace: Path) -> None:
    with pytest.raises(BuildError, match=r"failed on bad\.c, kernel relu"):
        load_library({**UNITS, "bad.c": "/* kernel: relu */\nnonsense here;\n"}, HEADERS, compiler, folder=folder)

    assert names(folder) == []
    assert names(workplace) == []


def test_hanging_compiler_leaves_no_file(fake: FakeCompiler, folder: Path, workplace: Path) -> None:
    hanging = Compiler(fake("touch half.o; sleep 60"), "fake 1", "cpu")

    with pytest.raises(BuildTimeoutError, match="was stopped"):
        load_library(UNITS, HEADERS, hanging, folder=folder, timeout=0.2)

    assert names(folder) == []
    assert names(workplace) == []


def test_missing_function_leaves_no_file(compiler: Compiler, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    units = {"a.c": "int absent(void);\n" + ADD.replace("STEP", "absent()")}

    with pytest.raises(BuildError, match="can't be made or loaded") as caught:
        load_library(units, {}, compiler, folder=folder, link_flags=_undefined_allowed())

    assert "absent" in caught.value.actual
    assert names(folder) == []
    assert not caplog.records


def _undefined_allowed() -> tuple[str, ...]:
    return ("-Wl,-undefined,dynamic_lookup",) if sys.platform == "darwin" else ()


def test_compiler_that_writes_no_library(fake: FakeCompiler, folder: Path) -> None:
    for body in ("exit 0", "echo text > library.so"):
        with pytest.raises(BuildError, match="can't be made or loaded"):
            load_library(UNITS, HEADERS, Compiler(fake(body), "fake 1", "cpu"), folder=folder)

    assert names(folder) == []


class TestTemporaryBuild:
    """Where nothing can be kept, the library still loads, one line says why, and nothing stays."""

    @pytest.fixture(autouse=True)
    def surroundings(self, compiler: Compiler, folder: Path, workplace: Path, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.WARNING, "graphnn")
        self.compiler, self.folder, self.workplace, self.log = compiler, folder, workplace, caplog

    def check(self, reason: str) -> None:
        for _ in range(2):
            assert load_library(UNITS, HEADERS, self.compiler, folder=self.folder).add(41) == 42
        (record,) = self.log.records
        line = record.getMessage()
        assert line.startswith(f"compiled kernels can't be kept in {self.folder}, so each process compiles its own: ")
        assert reason in line
        assert "\n" not in line
        assert names(self.workplace) == []

    def test_folder_that_others_can_write(self) -> None:
        self.folder.mkdir()
        self.folder.chmod(0o777)
        trap = self.folder / f"{library_key(UNITS, HEADERS, self.compiler)}.so"
        trap.write_bytes(b"planted")

        self.check("others can write to it; run `chmod 700 ")

        assert trap.read_bytes() == b"planted"
        assert len(names(self.folder)) == 1

    def test_folder_of_another_user(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder.mkdir(0o700)
        owner = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)

        self.check("it belongs to another user")

    def test_link_in_place_of_the_folder(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir(0o700)
        self.folder.symlink_to(tmp_path / "real")

        self.check("it is a link")

        assert names(tmp_path / "real") == []

    def test_folder_that_cannot_be_made(self) -> None:
        self.folder.touch()
        self.folder /= "graphnn"

        self.check("File exists")

    @pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root gets as far as Linux's own no")
    def test_folder_in_a_file_system_that_takes_no_files(self) -> None:
        self.folder = Path("/proc/graphnn")

        self.check("No such file or directory")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_folder_without_the_right_to_write(self) -> None:
        self.folder.mkdir()
        self.folder.chmod(0o500)

        self.check("Permission denied")

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
    def test_folder_that_takes_no_more(self, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(descriptor: int) -> NoReturn:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", fail)
        self.check(os.strerror(number))

        assert names(self.folder) == []

    def test_folder_whose_files_may_not_be_executed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = ctypes.CDLL

        def load(path: str) -> Any:
            if path.startswith(str(self.folder)):
                raise OSError(f"{path}: failed to map segment from shared object")
            return real(path)

        monkeypatch.setattr(ctypes, "CDLL", load)
        self.check("failed to map segment")

        assert names(self.folder) == []


def mounted(folder: Path, options: str, command: str) -> str:
    """Run a shell command with a small file system of its own at `folder`; skip the test where that isn't permitted."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("no program `unshare`, which mounts a small file system")
    folder.mkdir()
    mount = f"mount -t tmpfs -o mode=700,{options} tmpfs {folder}"
    run = [unshare, "--user", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*run, mount], capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a small file system")
    result = subprocess.run([*run, f"{mount} && {command}"], capture_output=True, text=True, check=False, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    return result.stdout + result.stderr


@pytest.mark.parametrize(
    ("options", "before", "reason"),
    [
        ("size=12k", "true", "No space left on device"),
        ("size=1m", "mount -o remount,ro {0}", "Read-only file system"),
        ("size=1m,noexec", "true", "failed to map segment from shared object"),
    ],
)
def test_real_file_systems(
    options: str, before: str, reason: str, compiler: Compiler, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "script.py").write_text(loading_script(compiler, folder) + "print(len(list(folder.iterdir())))")
    python = f"env PYTHONPATH={ROOT} {sys.executable} {tmp_path / 'script.py'}"

    said = mounted(folder, options, f"{before.format(folder)} && {python}").splitlines()

    assert said[:2] == ["42", "0"]
    assert len(said) == 3
    assert reason in said[2]


def test_no_room_for_a_temporary_build(compiler: Compiler, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "absent"))

    with pytest.raises(BuildError, match="set TMPDIR to a folder with free space"):
        load_library(UNITS, HEADERS, compiler, folder=folder)

    assert names(folder) == []
