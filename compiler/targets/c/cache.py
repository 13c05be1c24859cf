"""Libraries from C text: loaded from disk if they have been compiled before, else compiled."""

from __future__ import annotations

import ctypes
import hashlib
import json
import logging
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from graphnn.compiler.targets.c.build import TIMEOUT, BuildError, Compiler, compile_library
from graphnn.compiler.targets.c.store import Store, open_store
from graphnn.compiler.targets.c.waiting import open_library

_FORMAT = 1  # of the libraries and of how they are built: a higher one leaves all earlier files unused


def load_library(
    units: Mapping[str, str],
    headers: Mapping[str, str],
    compiler: Compiler,
    *,
    link_flags: Sequence[str] = (),
    folder: Path | None = None,
    timeout: float = TIMEOUT,
) -> ctypes.CDLL:
    """Load the library of some C text into this process; compile it if that was not done before.

    The file on disk is verified and then loaded by its path. Between the two it can't become another one: nobody else
    can write to the folder, and the user's own processes only ever replace a whole file by a whole one with the same
    key.

    Where nothing can be kept on disk, the library is compiled in a temporary folder, which is removed once it is
    loaded, and one line on the logger "graphnn" says why.

    Parameters
    ----------
    units : mapping of str to str
        C text of each translation unit by file name; they are compiled side by side. A comment ``/* kernel: … */``
        in front of each kernel names it in errors.
    headers : mapping of str to str
        C text of what they include, by file name.
    compiler : Compiler
        See `find_compiler`.
    link_flags : sequence of str
        Further arguments for linking.
    folder : Path, optional
        Where libraries are kept; the user's cache folder if not given.
    timeout : float
        Seconds after which a compiler counts as hanging.

    Raises
    ------
    BuildError
        If the text can't be compiled, or the library can't be loaded.
    """
    key = library_key(units, headers, compiler, link_flags)
    store = _store(folder or cache_folder())
    if store and (found := store.find(key)):
        with suppress(OSError):  # made on a machine with another C library, say: the next lines make it anew
            return open_library(str(found))
    try:
        with tempfile.TemporaryDirectory(prefix="graphnn-", ignore_cleanup_errors=True) as name:
            built = compile_library(units, headers, compiler, link_flags, Path(name), timeout)
            return _keep_and_load(store, key, built) if store else open_library(str(built))
    except OSError as error:
        raise BuildError(
            "the compiled library can't be made or loaded",
            actual=str(error),
            hint="set TMPDIR to a folder with free space whose files may be executed",
        ) from error


def library_key(
    units: Mapping[str, str], headers: Mapping[str, str], compiler: Compiler, link_flags: Sequence[str] = ()
) -> str:
    """Return the digest of everything that makes a library what it is, as 64 hexadecimal digits."""
    described = json.dumps(
        [
            _FORMAT,
            sorted(units.items()),
            sorted(headers.items()),
            compiler.command,
            compiler.version,
            compiler.cpu,
            compiler.flags,
            list(link_flags),
        ]
    )
    return hashlib.sha256(described.encode()).hexdigest()


def cache_folder() -> Path:
    """Return the user's folder for what graphnn can make again: ``~/.cache/graphnn`` on Linux."""
    from platformdirs import user_cache_path

    return user_cache_path("graphnn", appauthor=False)


def _store(folder: Path) -> Store | None:
    try:
        return open_store(folder)
    except OSError as error:
        _say_once(folder, error)
        return None


def _keep_and_load(store: Store, key: str, built: Path) -> ctypes.CDLL:
    """Load a library from where it is kept, else from where it was built; raise an OSError if neither is possible."""
    try:
        kept = store.put(key, built.read_bytes())
    except OSError as error:
        _say_once(store.folder, error)
        return open_library(str(built))
    try:
        return open_library(str(kept))
    except OSError as error:
        store.remove(key)
        library = open_library(str(built))
        _say_once(store.folder, error)  # nothing in it may be executed
        return library


def _say_once(folder: Path, error: OSError) -> None:
    _warn(f"compiled kernels can't be kept in {folder}, so each process compiles its own: {error.strerror or error}")


@cache
def _warn(line: str) -> None:
    logging.getLogger("graphnn").warning(line)
