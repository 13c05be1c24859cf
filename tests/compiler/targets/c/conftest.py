"""A C compiler that works, and programs that pretend to be one."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from graphnn.compiler.targets.c import cache, toolchain
from graphnn.compiler.targets.c.build import Compiler
from graphnn.ops.errors import CompileError

FakeCompiler = Callable[[str], tuple[str, ...]]


@pytest.fixture(scope="session")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Compiler:
    folder = tmp_path_factory.mktemp("probe")
    reasons = []
    for command in toolchain.candidates():
        try:
            return toolchain.examine(command, folder=folder)
        except CompileError as error:
            reasons.append(str(error))
    pytest.skip(f"no C compiler works on this machine: {reasons or 'none is installed'}")


@pytest.fixture
def fake(compiler: Compiler, tmp_path: Path) -> FakeCompiler:
    """Return a function that makes a program from the body of a shell script; `$REAL` is the real compiler."""
    folder = tmp_path / "programs"
    folder.mkdir()
    numbers = itertools.count()

    def make(body: str) -> tuple[str, ...]:
        path = folder / f"cc{next(numbers)}"
        path.write_text(f"#!/bin/sh\nREAL={shlex.quote(shlex.join(compiler.command))}\n{body}\n")
        path.chmod(0o755)
        return (str(path),)

    return make


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A file for fake compilers to write a line into at each call."""
    path = tmp_path / "calls"
    path.touch()
    return path


@pytest.fixture(autouse=True)
def fresh_process_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget what was found and said before, and keep the user's own cache out of it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    for memory in (toolchain._search, cache._warn):
        memory.cache_clear()
    yield
    for memory in (toolchain._search, cache._warn):
        memory.cache_clear()
