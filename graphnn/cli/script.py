"""A user's own model: a function in a script that builds a graph, called as if it stood in the user's own program."""

from __future__ import annotations

import importlib.util
import linecache
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from graphnn.ops.errors import GraphError
from graphnn.ops.graph import Graph
from graphnn.ops.node import Node
from graphnn.ops.state import Placeholder, Variable
from graphnn.optim.ancestors import differentiable_ancestors

EXAMPLE = "def build(): …; return inputs, labels, loss, logits"


class Parts(NamedTuple):
    """What a build function returns, in this order or as a dict with these names."""

    inputs: Node
    labels: Node
    loss: Node
    logits: Node


def build_script(model: str, graph: Graph) -> Parts:
    """Call the function of ``SCRIPT.py:FUNCTION`` in a graph and return what it built.

    Raises
    ------
    GraphError
        If there is no such file or function, if it raises something, or returns something else. The places in the
        error are lines of the user's; what it raises as a GraphError itself passes.
    """
    file, _, name = model.rpartition(":")
    path = Path(file)
    if not file.endswith(".py") or not name:
        script = model.rstrip(":")
        raise GraphError(f"{model} names no function", expected="SCRIPT.py:FUNCTION", hint=f"{script}:build")
    if not path.is_file():
        raise GraphError(f"there is no file {file}", expected="a script in Python", hint="look for it with ls")
    build = _function(path, name)
    with _errors_of(model, path), graph:
        returned = build()
    return _checked(model, returned, graph, build)


def _function(path: Path, name: str) -> Callable[[], object]:
    module_name = f"_script_{path.stem}"  # nobody else's, whatever the script is called
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses look for the module of a class there
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # as Python does for a script that it runs
    with _errors_of(path.name, path):
        spec.loader.exec_module(module)
    build = getattr(module, name, None)
    if not callable(build):
        own = [
            known
            for known, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", None) == module_name
        ]
        raise GraphError(
            f"{path} has no function {name!r}",
            expected=f"one of {', '.join(own)}" if own else EXAMPLE,
            hint=f"{path}:{own[0]}" if own else "",
        )
    return build


@contextmanager
def _errors_of(what: str, path: Path) -> Iterator[None]:
    """Show what a script raises with the user's own lines, without those of graphnn or Python."""
    try:
        yield
    except GraphError:
        raise  # it has the user's line already
    except SyntaxError as error:
        if error.filename and error.lineno:
            place = f"{error.filename}:{error.lineno}: {(error.text or '').strip()}"
            raise GraphError(f"{what} is no Python: {error.msg}", where=place) from error
        _fail(what, path, error)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever it is, it is the script's
        _fail(what, path, error)


def _fail(what: str, path: Path, error: BaseException) -> NoReturn:
    text = str(error).strip()
    lines = _lines_of(error, path) or [str(path)]
    raise GraphError(
        f"{what} raised {type(error).__name__}" + (f": {text}" if text else ""),
        where=("\n" + " " * 12).join(lines),
        hint="--debug shows the whole traceback",
    ) from error


def _lines_of(error: BaseException, path: Path) -> list[str]:
    """Return the lines of the user's on the way to an error: those of the script and of what lies beside it."""
    folder = f"{path.resolve().parent}{os.sep}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_users(frame.filename, folder)]
    return [f"{frame.filename}:{frame.lineno}: {_text(frame.filename, frame.lineno or 0)}" for frame in own]


def _is_users(file: str, folder: str) -> bool:
    if file.startswith("<") or "site-packages" in file:  # what Python imports with; a virtual environment
        return False
    return str(Path(file).absolute()).startswith(folder)


def _text(file: str, line: int) -> str:
    return linecache.getline(file, line).strip()


def _checked(model: str, returned: object, graph: Graph, build: Callable[[], object]) -> Parts:
    try:
        values = _values(returned)
        for name, value in zip(Parts._fields, values, strict=True):
            if not isinstance(value, Node) or value.graph is not graph:
                raise _WrongReturnError(
                    f"{name} is {value!r}", "nodes, made in the graph in which the function is called"
                )
        return _in_their_roles(Parts(*values))
    except _WrongReturnError as error:
        code: Any = getattr(build, "__code__", None)
        file, line = (code.co_filename, code.co_firstlineno) if code else ("", 0)
        raise GraphError(
            f"{model} returned something else",
            expected=error.expected,
            actual=error.actual,
            where=f"{file}:{line}: {_text(file, line)}" if file else "",
            hint=EXAMPLE,
        ) from None


class _WrongReturnError(Exception):
    def __init__(self, actual: str, expected: str) -> None:
        super().__init__(actual)
        self.actual = actual
        self.expected = expected


def _values(returned: object) -> list[Any]:
    expected = f"{', '.join(Parts._fields)}, or a dict with these names"
    if isinstance(returned, Mapping):
        missing = [name for name in Parts._fields if name not in returned]
        if missing:
            raise _WrongReturnError(f"a dict without {', '.join(missing)}", expected)
        return [returned[name] for name in Parts._fields]
    if not isinstance(returned, tuple | list):
        raise _WrongReturnError(repr(returned), expected)
    if len(returned) != len(Parts._fields):
        raise _WrongReturnError(f"{len(returned)} values", expected)
    return list(returned)


def _in_their_roles(parts: Parts) -> Parts:
    for name, node in (("inputs", parts.inputs), ("labels", parts.labels)):
        if not isinstance(node.op, Placeholder) or not node.spec.has_batch:
            raise _WrongReturnError(f"{name} is {node!r}", "placeholders with None, the batch, first in their shapes")
    if parts.logits.rank < 2 or not parts.logits.dtype.is_floating:
        raise _WrongReturnError(f"logits is {parts.logits!r}", "logits of shape (N, classes), of a floating type")
    if parts.loss.shape != () or not parts.loss.dtype.is_floating:
        raise _WrongReturnError(f"loss is {parts.loss!r}", "a loss that is a single number of a floating type")
    if not any(isinstance(node.op, Variable) and node.op.trainable for node in differentiable_ancestors(parts.loss)):
        raise _WrongReturnError(
            f"loss is {parts.loss!r}, which depends on none", "a loss that depends on trainable variables"
        )
    return parts
