"""The form that DESIGN.md promises of every error, as a context manager around the mistake."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

from graphnn.ops.errors import GraphError


@contextmanager
def refused(
    kind: type[GraphError], message: str, *, at: str, expected: str = "", actual: str = "", hint: str = ""
) -> Iterator[None]:
    """Require that the block raises an error of exactly this class, in full form.

    The parts must contain the given texts. `at` is a text of the user's own line, which must be in the file that
    calls this; what was expected and one thing to do must always be there.
    """
    file = _calling_file(sys._getframe())
    with pytest.raises(GraphError) as caught:
        yield
    error = caught.value
    assert type(error) is kind, repr(error)
    assert message in error.message, error.message
    assert expected in error.expected, error.expected
    assert actual in error.actual, error.actual
    assert hint in error.hint, error.hint
    assert error.expected, f"says not what was expected: {error}"
    assert error.hint, f"says not what to do: {error}"
    place, _, text = error.where.partition(": ")
    assert place.rpartition(":")[0] == file, error.where
    assert at in text, error.where
    lines = str(error).splitlines()
    assert lines[0] == error.message.splitlines()[0]
    assert sum(line.startswith("  at:") for line in lines) == 1


def _calling_file(frame: FrameType) -> str:
    while frame.f_back is not None and frame.f_code.co_filename in (__file__, contextmanager.__code__.co_filename):
        frame = frame.f_back
    return frame.f_code.co_filename
