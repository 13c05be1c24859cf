from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from error_form import refused
from graphnn.compiler.reference import evaluate
from graphnn.ops import Dim, Graph, Node, chunk, concat, placeholder, split, stack, unstack
from graphnn.ops.errors import ShapeError

N = Dim(1)


def given(*shape: int | None, dtype: str = "float32") -> Node:
    with Graph():
        return placeholder("x", shape, dtype)


@pytest.mark.parametrize(
    ("size", "expected"),
    [(3, [3, 3, 1]), (7, [7]), (9, [7]), (1, [1] * 7), ((2, 5), [2, 5]), ([0, 7, 0], [0, 7, 0]), (np.int64(4), [4, 3])],
)
def test_sizes_of_parts(size: Any, expected: list[int]) -> None:
    assert [part.shape for part in split(given(None, 7), size, axis=1)] == [(N, count) for count in expected]


def test_an_empty_axis_is_one_part() -> None:
    assert [part.shape for part in split(given(0, 2), 3)] == [(0, 2)]


def test_a_batch_is_cut_into_multiples_of_its_size() -> None:
    rows = concat([given(None, 2)]).reshape((-1, 1))
    x = concat([rows, rows, rows])
    assert x.shape == (6 * N, 1)
    assert [part.shape[0] for part in split(x, 4 * N)] == [4 * N, 2 * N]
    assert [part.shape[0] for part in split(x, [N, 5 * N])] == [N, 5 * N]
    assert [part.shape[0] for part in chunk(x, 3)] == [2 * N] * 3


def test_the_whole_is_the_node_itself() -> None:
    x = given(None, 4)
    assert split(x, 4, axis=1) == (x,)
    assert split(x, N) == (x,)
    assert chunk(x, 1) == (x,)


@pytest.mark.parametrize(
    ("size", "message", "expected"),
    [
        (0, "the size of a part is 0", "1 or more"),
        (-1, "the size of a part is -1", "1 or more"),
        ((2, 3), "add up to 5", "7, the size of axis 1 of (N, 7)"),
        ((8, -1), "add up to 7", "7, the size of axis 1"),
        (1.5, "1.5 is no size of a part of 7", "integers"),
        (N, "N is no size of a part of 7", "integers"),
        ((True, 6), "True is no size", "integers"),
    ],
)
def test_sizes_that_do_not_fit(size: Any, message: str, expected: str) -> None:
    x = given(None, 7)
    with refused(ShapeError, message, at="split(x, size", expected=expected, actual="x float32 (N, 7) ('x')"):
        split(x, size, axis=1)


def test_a_batch_is_not_cut_by_numbers() -> None:
    x = given(None, 7)
    with refused(ShapeError, "split: 2 is no size of a part of N", at="split(x, 2)", hint="ops.take"):
        split(x, 2)


@pytest.mark.parametrize("chunks", [0, 2, -1, 1.0])
def test_parts_of_a_chunk_are_equal(chunks: Any) -> None:
    x = given(None, 7)
    with refused(ShapeError, f"can't be cut into {chunks} equal parts", at="chunk(x, chunks", hint="ops.split"):
        chunk(x, chunks, axis=1)
    with refused(ShapeError, "an axis of size N can't be cut", at="chunk(x, 5)"):
        chunk(x, 5)


def test_unstack_gives_a_node_for_each_entry() -> None:
    parts = unstack(given(None, 3, 0), axis=1)
    assert [part.shape for part in parts] == [(N, 0)] * 3
    assert unstack(given(0, 3)) == ()


def test_a_batch_is_not_unstacked() -> None:
    x = given(None, 3)
    with refused(ShapeError, "unstack: the batch axis of size N can't be unstacked", at="unstack(x)", hint="ops.take"):
        unstack(x)


def test_stack_undoes_unstack() -> None:
    x = given(None, 3, 2)
    values = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    (actual,) = evaluate([stack(unstack(x, 1), axis=1)], {x: values})
    np.testing.assert_array_equal(actual, values)


def test_stacked_nodes_have_one_shape() -> None:
    x = given(None, 3)
    with refused(ShapeError, "stack: the inputs differ in shape", at="stack([x, x[:, :1]])", hint="ops.concat"):
        stack([x, x[:, :1]])
    with pytest.raises(ShapeError, match="stack: there is no axis 3"):
        stack([x, x], axis=3)


@pytest.mark.parametrize("cut", [split, chunk])
def test_an_axis_has_to_exist(cut: Any) -> None:
    with pytest.raises(ShapeError, match=rf"{cut.__name__}: there is no axis 2"):
        cut(given(None, 3), 1, axis=2)
