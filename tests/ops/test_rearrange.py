from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from error_form import refused
from graphnn.ops import Dim, Graph, Node, flip, placeholder, repeat_interleave, roll, tile
from graphnn.ops.errors import ShapeError
from graphnn.ops.slicing import Slice
from op_checks import compute

N = Dim(1)


def given(*shape: int | None, dtype: str = "float32") -> Node:
    with Graph():
        return placeholder("x", shape, dtype)


def test_flip_is_a_view() -> None:
    node = flip(given(None, 3, 4), (1, -1))
    assert isinstance(node.op, Slice)
    assert node.op.is_view


@pytest.mark.parametrize("axes", [None, 0, (1, 0)])
def test_a_batch_is_not_flipped(axes: Any) -> None:
    x = given(None, 3)
    with refused(ShapeError, "flip: the batch axis of size N can't be sliced", at="flip(x, axes)", hint="ops.take"):
        flip(x, axes)


def test_axes_of_flip_are_different() -> None:
    with pytest.raises(ShapeError, match="flip: an axis occurs twice"):
        flip(given(2, 3), (1, -1))


def test_what_changes_nothing_adds_no_node() -> None:
    x = given(None, 3)
    assert flip(x, ()) is x
    assert roll(x, 3, 1) is x
    assert tile(x, 1) is x
    assert tile(x, ()) is x
    assert repeat_interleave(x, 1, 0) is x
    assert roll(given(0, 3), 1, 0).shape == (0, 3)


def test_a_batch_is_not_rolled() -> None:
    x = given(None, 3)
    with refused(ShapeError, "roll: the batch axis of size N can't be rolled", at="roll(x, 1, 0)", hint="ops.take"):
        roll(x, 1, 0)


@pytest.mark.parametrize(("shifts", "axes"), [((1, 2), 1), (1, (1, 2)), (1.5, 1), ((True,), 1)])
def test_shifts_fit_the_axes(shifts: Any, axes: Any) -> None:
    with pytest.raises(
        ShapeError, match=r"roll: the shifts are .* for the axes .*\n  expected: an integer for each axis"
    ):
        roll(given(None, 3, 2), shifts, axes)


def test_axes_of_roll_are_different() -> None:
    with pytest.raises(ShapeError, match="roll: an axis occurs twice"):
        roll(given(2, 3), (1, 1), (1, -1))


@pytest.mark.parametrize("repeats", [(2,), (2, 1), (1, 3), (3, 1, 2), (2, 1, 1, 2)])
def test_tile_is_that_of_numpy(repeats: tuple[int, ...]) -> None:
    x = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(compute(lambda node: tile(node, repeats), x), np.tile(x, repeats))


def test_repeats_of_a_batch_are_multiples() -> None:
    x = given(None, 3)
    assert tile(x, (4, 2)).shape == (4 * N, 6)
    assert repeat_interleave(x, 4, 0).shape == (4 * N, 3)


@pytest.mark.parametrize("repeats", [0, -1, 1.5, True])
def test_repeats_are_positive_integers(repeats: Any) -> None:
    x = given(None, 3)
    with refused(ShapeError, f"tile: repeats is {repeats}", at="tile(x, repeats)", expected="integers of 1 or more"):
        tile(x, repeats)
    with refused(ShapeError, "tile: repeats is (2, ", at="tile(x, (2, repeats))"):
        tile(x, (2, repeats))
    with refused(ShapeError, f"repeat_interleave: repeats is {repeats}", at="repeat_interleave(x, repeats, 1)"):
        repeat_interleave(x, repeats, 1)
