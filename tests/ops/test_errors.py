"""The one form of every error."""

from __future__ import annotations

import pytest

from graphnn.ops import errors
from graphnn.ops.errors import DTypeError, GraphError, ShapeError


def test_full_form() -> None:
    error = ShapeError("it does not fit", expected="(2,)", actual="(3,)", where="net.py:7: y = f(x)", hint="reshape it")
    assert str(error) == (
        "it does not fit\n  expected: (2,)\n  actual:   (3,)\n  at:       net.py:7: y = f(x)\n  try:      reshape it"
    )


def test_lines_that_nothing_is_known_for_are_left_out() -> None:
    assert str(GraphError("it is wrong")) == "it is wrong"
    assert str(GraphError("it is wrong", hint="mend it")) == "it is wrong\n  try:      mend it"


def test_locate_adds_what_is_missing() -> None:
    error = ShapeError("it does not fit", expected="(2,)")
    located = error.locate(subject="add 'sum'", actual="a (3,)", where="net.py:7")
    assert located is error
    assert str(error) == "add 'sum': it does not fit\n  expected: (2,)\n  actual:   a (3,)\n  at:       net.py:7"


def test_locate_keeps_what_is_known() -> None:
    error = DTypeError("it does not fit", actual="int32", where="net.py:3")
    error.locate(subject="add 'sum'", actual="everything", where="net.py:7")
    error.locate(subject="add 'sum'", actual="everything", where="net.py:8")
    assert (error.message, error.actual, error.where) == ("add 'sum': it does not fit", "int32", "net.py:3")


@pytest.mark.parametrize(
    "name", ["ShapeError", "DTypeError", "FeedError", "CompileError", "NumericsError", "CheckpointError"]
)
def test_one_class_catches_all(name: str) -> None:
    kind = getattr(errors, name)
    assert kind.__bases__ == (GraphError,)
    assert issubclass(GraphError, Exception)
    with pytest.raises(GraphError, match="wrong"):
        raise kind("wrong")
