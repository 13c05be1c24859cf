from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from error_form import refused
from graphnn.ops import Dim, Graph, Node, diagonal, placeholder, trace, tril, triu
from graphnn.ops.errors import ShapeError
from op_checks import compute

N = Dim(1)


def given(*shape: int | None, dtype: str = "float32") -> Node:
    with Graph():
        return placeholder("x", shape, dtype)


@pytest.mark.parametrize("shape", [(3, 3), (2, 5), (5, 2), (1, 4), (0, 3), (3, 0)])
@pytest.mark.parametrize("offset", range(-6, 7))
def test_diagonals_are_those_of_numpy(shape: tuple[int, int], offset: int) -> None:
    x = np.arange(shape[0] * shape[1]).reshape(shape)
    np.testing.assert_array_equal(compute(lambda node: diagonal(node, offset), x), np.diagonal(x, offset))


def test_diagonals_of_matrices_that_need_no_transpose_are_views() -> None:
    node = diagonal(given(None, 4, 4), 0, 1, 2)
    while node.inputs:
        assert node.op.is_view
        (node,) = node.inputs


def test_the_rest_of_the_axes_comes_first() -> None:
    assert diagonal(given(None, 4, 3, 5), 0, 1, 3).shape == (N, 3, 4)
    assert trace(given(None, 4, 4), 0, -1, -2).shape == (N,)


def test_a_diagonal_has_two_axes() -> None:
    x = given(3, 3)
    with refused(ShapeError, "diagonal: axis1 and axis2 are both 1", at="diagonal(x, 0, 1, -1)"):
        diagonal(x, 0, 1, -1)
    with pytest.raises(ShapeError, match="diagonal: there is no axis 1"):
        diagonal(given(3))


def test_a_batch_has_no_diagonal() -> None:
    x = given(None, 3)
    with refused(ShapeError, "diagonal: the matrices are of size N by 3", at="diagonal(x)", hint="axis1=-2, axis2=-1"):
        diagonal(x)


@pytest.mark.parametrize(("triangle", "name"), [(tril, "tril"), (triu, "triu")])
def test_triangles_are_of_matrices_of_fixed_size(triangle: Callable[[Node], Node], name: str) -> None:
    x = given(None, 3)
    with refused(ShapeError, f"{name}: the matrices are of size N by 3", at="triangle(x)"):
        triangle(x)
    vector = given(3)
    with refused(ShapeError, f"{name}: x has 1 axes", at="triangle(vector)"):
        triangle(vector)


def test_what_is_outside_of_a_triangle_is_0_whatever_it_was() -> None:
    x = np.array([[1.0, np.nan], [np.inf, 2.0]])
    np.testing.assert_array_equal(compute(lambda node: tril(triu(node)), x), [[1, 0], [0, 2]])
