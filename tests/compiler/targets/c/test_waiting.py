"""Threads that wait: what libraries read from the environment while they are loaded."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

from graphnn.compiler.targets.c.build import Compiler
from graphnn.compiler.targets.c.cache import load_library

# Reads its environment when it is loaded, as OpenMP's libraries do.
READER = """
#include <stdlib.h>
static int count;
__attribute__((constructor)) static void read_settings(void)
{
    const char *text = getenv("GOMP_SPINCOUNT");
    count = text ? atoi(text) : -1;
}
__attribute__((visibility("default"))) int spin_count_NUMBER(void) { return count; }
"""


def loaded(compiler: Compiler, folder: Path, number: int) -> int:
    """Return what a new library saw."""
    library: ctypes.CDLL = load_library(
        {"reader.c": READER.replace("NUMBER", str(number))}, {}, compiler, folder=folder
    )
    return int(library[f"spin_count_{number}"]())


def test_libraries_are_told_to_spin_briefly(
    compiler: Compiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    before = dict(os.environ)
    assert 0 < loaded(compiler, tmp_path, 1) < 100_000
    assert dict(os.environ) == before  # child processes and other libraries are not concerned


@pytest.mark.parametrize(("name", "value", "seen"), [("GOMP_SPINCOUNT", "77", 77), ("OMP_WAIT_POLICY", "active", -1)])
def test_the_users_own_settings_count(
    compiler: Compiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, seen: int
) -> None:
    for other in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, value)
    assert loaded(compiler, tmp_path, seen + 10) == seen
    assert os.environ[name] == value
