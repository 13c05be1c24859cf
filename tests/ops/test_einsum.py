from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from error_form import refused
from graphnn.ops import Dim, Graph, Node, einsum, placeholder
from graphnn.ops.errors import DTypeError, GraphError, ShapeError
from graphnn.ops.matmul import MatMul
from op_checks import compute

N = Dim(1)


def given(*shape: int | None, dtype: str = "float32") -> Node:
    with Graph():
        return placeholder("x", shape, dtype)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij,jk", [(2, 3), (3, 4)]),
        ("ba", [(2, 3)]),
        ("Ba", [(2, 3)]),
        ("ii", [(3, 3)]),
        ("i,i", [(3,), (3,)]),
        ("...ij,...jk", [(5, 2, 3), (1, 3, 4)]),
        ("...,...", [(2, 1), (3,)]),
        ("...i->...", [(2, 3, 4)]),
        ("...ii->i...", [(2, 3, 3)]),
        ("i...->...i", [(2, 3, 4)]),
        ("a...b,b...->a...", [(2, 3, 4), (4, 3)]),
        ("abc,cd,be->ade", [(2, 3, 4), (4, 5), (3, 2)]),
        (",,->", [(), (), ()]),
        ("i,j,k->kji", [(2,), (3,), (4,)]),
        ("ij,ik,il->jkl", [(2, 3), (2, 4), (2, 2)]),
        ("iij,jkk->ik", [(3, 3, 2), (2, 4, 4)]),
        ("ij,jk->k", [(0, 3), (3, 2)]),
        ("ij,jk->ik", [(2, 0), (0, 3)]),
    ],
)
def test_it_is_that_of_numpy(equation: str, shapes: list[tuple[int, ...]]) -> None:
    generator = np.random.default_rng(0)
    arrays = [generator.integers(-5, 6, shape) for shape in shapes]
    actual = compute(lambda *nodes: einsum(equation, *nodes), *arrays)
    np.testing.assert_array_equal(actual, np.einsum(equation, *arrays))


@pytest.mark.parametrize(
    ("equation", "shapes", "expected"),
    [
        ("bi,bj->bij", [(None, 2), (None, 3)], (N, 2, 3)),
        ("nd,md->nm", [(None, 2), (None, 2)], (N, N)),
        ("...d,de->...e", [(None, 7, 2), (2, 3)], (N, 7, 3)),
        ("bqhd,bkhd->bhqk", [(None, 5, 4, 8), (None, 6, 4, 8)], (N, 4, 5, 6)),
        ("btd->td", [(None, 5, 4)], (5, 4)),
    ],
)
def test_any_axis_may_be_the_batch(equation: str, shapes: list[Any], expected: tuple[Any, ...]) -> None:
    with Graph():
        assert einsum(equation, *(placeholder(f"x{i}", shape) for i, shape in enumerate(shapes))).shape == expected


def test_a_product_of_matrices_is_one_node() -> None:
    with Graph() as graph:
        einsum("ij,jk->ik", placeholder("a", (None, 3)), placeholder("b", (3, 4)))
    assert [type(node.op) for node in graph.nodes[2:]] == [MatMul]


def test_a_view_of_the_whole_is_the_node_itself() -> None:
    x = given(None, 3)
    assert einsum("bi->bi", x) is x
    assert einsum("...", x) is x


def test_element_types_are_promoted_and_kept() -> None:
    with Graph():
        a, b = placeholder("a", (2, 3), "int32"), placeholder("b", (3,), "float16")
        assert str(einsum("ij,j->i", a, b).dtype) == "float16"
        assert str(einsum("ij->i", a).dtype) == "int32"
        assert str(einsum("ij,->ij", a, 2).dtype) == "int32"


@pytest.mark.parametrize(
    ("equation", "message", "expected"),
    [
        ("ij,jk->ik", "'ij,jk->ik' is about 2 operands, 1 are given", "a part for each operand"),
        ("i1->i", "'i1' can't be read", "letters"),
        ("i.j->ij", "'i.j' can't be read", "letters"),
        ("...i...->i", "'...i...' can't be read", "at most one '...'"),
        ("ij->i->j", "'i->j' can't be read", "letters"),
        ("ij->ik", "'k' in the result of 'ij->ik'", "letters of the operands"),
        ("ij->ii", "'i' in the result of 'ij->ii'", "each at most once"),
        ("i...->i", "the result of 'i...->i' lacks the axes of the ellipsis", "'...' in the result"),
        (3, "the equation is 3", "a text"),
    ],
)
def test_equations_that_cannot_be_read(equation: Any, message: str, expected: str) -> None:
    x = given(None, 3)
    with refused(GraphError, f"einsum: {message}", at="einsum(equation, x)", expected=expected, hint="ops.einsum("):
        einsum(equation, x)


@pytest.mark.parametrize(("equation", "count"), [("i->i", 1), ("ijk->i", 3), ("...ijk->i...", 3), ("->", 0)])
def test_there_is_a_letter_for_each_axis(equation: str, count: int) -> None:
    x = given(None, 3)
    with refused(ShapeError, f"names {count} axes, the operand has 2", at="einsum(equation, x)", hint="'...'"):
        einsum(equation, x)


@pytest.mark.parametrize(
    ("equation", "sizes"), [("ij,ik->jk", "N and 4"), ("ji,ki->jk", "3 and 5"), ("ii,jk->jk", "N and 3")]
)
def test_one_size_for_each_letter(equation: str, sizes: str) -> None:
    x = given(None, 3)
    with x.graph:
        y = placeholder("y", (4, 5))
    with refused(ShapeError, f"'i' have the sizes {sizes}", at="einsum(equation, x, y)", actual="y"):
        einsum(equation, x, y)


def test_only_the_axes_of_an_ellipsis_broadcast() -> None:
    with Graph():
        a, b = placeholder("a", (1, 3)), placeholder("b", (2, 3))
        assert einsum("...j,...j->...", a, b).shape == (2,)
        with pytest.raises(ShapeError, match="axes 'i' have the sizes 1 and 2"):
            einsum("ij,ij->i", a, b)
        with pytest.raises(ShapeError, match="einsum: the shapes do not broadcast"):
            einsum("...j,...j->...", a.reshape((3, 1)), b.reshape((2, 3)))


def test_bool_is_refused() -> None:
    x = given(2, 3, dtype="bool")
    with refused(DTypeError, "einsum: bool values can't be summed", at='einsum("ij->i", x)'):
        einsum("ij->i", x)


def test_a_batch_has_no_diagonal() -> None:
    with Graph():
        x = placeholder("x", (None, 2))
        similarities = einsum("nd,md->nm", x, x)
        with pytest.raises(ShapeError, match="of size N by N"):
            einsum("nn->n", similarities)
