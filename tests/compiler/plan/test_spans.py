"""Spans: which bytes a view's elements take, whether they take any twice, and where parts of a whole are."""

from __future__ import annotations

import numpy as np
import pytest

from graphnn.compiler.plan.form import View
from graphnn.compiler.plan.spans import Span, places_of_parts
from graphnn.ops import Dim, Graph, TensorSpec, concat, placeholder

Strides = tuple[int, ...]


def span(shape: tuple[int, ...], strides: Strides, start: int = 0) -> Span:
    return Span.of(View(0, TensorSpec(shape, "float32"), start, strides), batch=1)


def places(of: Span) -> list[int]:
    """Return the first byte of each element."""
    return [of.start + sum(i * s for i, s in zip(index, of.strides, strict=True)) for index in np.ndindex(of.shape)]


LAYOUTS: list[tuple[tuple[int, ...], Strides, int]] = [
    ((2, 3), (3, 1), 0),
    ((2, 3), (1, 2), 5),
    ((2, 3), (-3, 1), 3),
    ((2, 3), (-3, -1), 5),
    ((2, 3), (0, 1), 0),
    ((2, 3), (1, 1), 0),
    ((2, 3), (2, 1), 0),
    ((4, 3), (2, 3), 0),
    ((1, 3), (0, 1), 0),
    ((1, 1), (0, 0), 7),
    ((3, 1, 2), (8, 0, 2), 1),
    ((0, 3), (0, 0), 2),
    ((), (), 4),
]


@pytest.mark.parametrize(("shape", "strides", "start"), LAYOUTS)
def test_reach(shape: tuple[int, ...], strides: Strides, start: int) -> None:
    layout = span(shape, strides, start)
    taken = places(layout)
    assert layout.is_empty is (not taken)
    assert layout.reach == ((min(taken), max(taken) + 4) if taken else (4 * start, 4 * start))


@pytest.mark.parametrize(("shape", "strides", "start"), LAYOUTS)
def test_overlap_with_itself(shape: tuple[int, ...], strides: Strides, start: int) -> None:
    layout = span(shape, strides, start)
    twice = len(set(places(layout))) < len(places(layout))
    if strides == (2, 3):  # elements that interlace without meeting are no layout that plans use
        assert layout.overlaps_itself
    else:
        assert layout.overlaps_itself is twice


def test_strides_of_single_elements_do_not_count() -> None:
    assert span((1, 3), (99, 1)) == span((1, 3), (0, 1))
    assert span((2, 3), (4, 1)) != span((2, 3), (3, 1))


def test_gaps_or_not_the_same_elements_are_equal() -> None:
    spec = TensorSpec((None, 3), "int64")
    assert Span.of(View(1, spec), 4) == Span.of(View(1, spec, 0, (3, 1)), 4)
    assert Span.of(View(1, spec), 4) != Span.of(View(2, spec), 4)
    assert Span.of(View(1, spec), 4) != Span.of(View(1, spec.with_dtype("int32")), 4)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_parts_lie_side_by_side(axis: int, batch: int) -> None:
    with Graph():
        x, y = placeholder("x", (None, 2, 3)), placeholder("y", (None, 2, 3))
        whole = concat([x, y, x], axis)
    layout = Span.of(View(0, whole.spec), batch)
    elements = np.arange(whole.spec.elements(batch)).reshape(whole.spec.bind(batch).static_shape) * 4
    expected = np.split(elements, 3, axis)
    found = list(places_of_parts(whole, layout, batch))
    assert [part for part, _ in found] == [x, y, x]
    for (_, place), wanted in zip(found, expected, strict=True):
        assert places(place) == wanted.reshape(-1).tolist()


def test_offsets_grow_with_the_batch() -> None:
    view = View(0, TensorSpec((2, Dim(1)), "float32"), Dim(3), (Dim(1), 1))
    assert Span.of(view, 5).start == 60
    assert Span.of(view, 5).strides == (20, 4)
