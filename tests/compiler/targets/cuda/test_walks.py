"""Where a kernel finds the elements of its operands: the printed arithmetic, carried out by Python."""

from __future__ import annotations

import re

import numpy as np
import pytest

from graphnn.compiler.plan.form import View, row_major_strides
from graphnn.compiler.plan.views import view_of
from graphnn.compiler.targets.cuda.walks import Walk, view_strides
from graphnn.ops import Graph, Node, dtypes, placeholder
from graphnn.ops.shape import broadcast_to
from graphnn.ops.spec import Dim, Shape, TensorSpec

N = Dim(1)


def bound(shape: Shape, batch: int) -> tuple[int, ...]:
    return TensorSpec(shape, dtypes.float32).bind(batch).static_shape


def places(walk: Walk, operand: int, batch: int) -> list[int]:
    """Return how far each element that a walk comes to lies from an operand's first, in the order of the walk."""
    count = int(np.prod(bound(walk.shape, batch), dtype=np.int64))
    lines = [line.removeprefix("const INDEX ").rstrip(";") for line in walk.statements("i")]
    found = []
    for index in range(count):
        names = {"i": index, "n": batch}
        for line in (*lines, f"place = {walk.place(operand, 'i')}"):
            name, expression = line.split(" = ")
            assert name not in names, "declared twice"
            names[name] = eval(re.sub(r"\(INDEX\)", "", expression).replace("/", "//"), {}, names)
        found.append(names["place"])
    return found


def through(shape: Shape, *views: View) -> Walk:
    return Walk.through(shape, [view_strides(view, shape) for view in views])


def whole(shape: Shape, strides: Shape | None = None) -> View:
    return View(0, TensorSpec(shape, dtypes.float32), strides=strides)


def elements(view: View, shape: Shape, batch: int) -> list[int]:
    """Return where NumPy finds the elements of a view that is spread over a shape."""
    lengths = bound(view.spec.shape, batch)
    grid = np.indices(lengths).reshape(len(lengths), -1)
    steps = np.array(view.bound_strides(batch), np.int64).reshape(-1, 1)
    own = (grid * steps).sum(0).reshape(lengths)
    return [int(place) for place in np.broadcast_to(own, bound(shape, batch)).ravel()]


def test_neighbouring_axes_become_one_where_no_operand_has_gaps() -> None:
    shape = (N, 3, 4, 5)
    assert through(shape, whole(shape), whole(shape)).shape == (Dim(60),)
    assert through(shape, whole(shape), whole((5,))).shape == (Dim(12), 5)
    assert through(shape, whole(shape), whole((3, 4, 1))).shape == (N, 12, 5)
    assert through(shape, whole(shape), whole((N, 1, 1, 1))).shape == (N, 60)
    assert through(shape, whole(()), whole((1, 1))).shape == (Dim(60),)
    assert through(shape, whole(shape, (60, 20, 1, 4))).shape == (Dim(3), 4, 5)


def test_axes_of_length_1_are_left_out() -> None:
    assert through((1, 4, 1, 1), whole((1, 4, 1, 1))).shape == (4,)
    assert through((1, 1), whole((1, 1))) == Walk((), ((),))
    assert through((), whole(())) == Walk((), ((),))
    assert through((1, 1), whole((1, 1))).place(0, "i") == "0"


def test_the_batch_squared_is_no_axis() -> None:
    walk = through((N, N), whole((N, N)))
    assert walk.shape == (N, N)
    assert places(walk, 0, 5) == list(range(25))


def test_coordinates_are_as_wide_as_indices() -> None:
    """An int would not do where the batch times a row's length is more than 2**31."""
    walk = through((N, 7, 3), whole((N, 7, 3), (Dim(21), 1, 7)))
    text = "\n".join([*walk.statements("i"), walk.place(0, "i")])
    assert not re.search(r"(?<!\(INDEX\))\bn\b", through((7, N, 3), whole((7, N, 3), (1, 7, Dim(7)))).place(0, "i"))
    assert re.findall(r"const (\w+) ", text) == ["INDEX"] * text.count("const")


@pytest.mark.parametrize("seed", range(60))
def test_random_views(seed: int) -> None:
    """Slices, transposes, reshapes and broadcasts of several values, walked through together."""
    generator = np.random.default_rng(seed)
    with Graph():
        rank = int(generator.integers(1, 5))
        shape: Shape = tuple(N if axis == 0 else int(generator.integers(1, 5)) for axis in range(rank))
        views = [random_view(generator, shape) for _ in range(3)]
    walk = through(shape, *views)
    for batch in (1, 3):
        for number, view in enumerate(views):
            assert places(walk, number, batch) == elements(view, shape, batch)


def random_view(generator: np.random.Generator, shape: Shape) -> View:
    """Return a value of a shape, or one that broadcasts to it, lying in memory in one of many ways."""
    kept = [1 if generator.random() < 0.3 else extent for extent in shape][int(generator.integers(0, len(shape))) :]
    if generator.random() < 0.3:
        kept = [1 if isinstance(extent, Dim) else extent for extent in kept]
    order = [int(axis) for axis in generator.permutation(len(kept))]
    if any(isinstance(kept[axis], Dim) for axis in order[1:]):
        order = sorted(order)  # a batch axis is the first of a placeholder
    steps = [1 if isinstance(extent, Dim) else int(generator.choice([1, 1, 2, -1])) for extent in kept]
    stored = [kept[axis] if isinstance(kept[axis], Dim) else kept[axis] * abs(steps[axis]) for axis in order]
    node = placeholder(f"x{generator.integers(1 << 60)}", tuple(None if isinstance(e, Dim) else e for e in stored))
    view = View(0, node.spec)
    turned = node.transpose([order.index(axis) for axis in range(len(kept))])
    parts = turned[tuple(slice(None, None, step) for step in steps)]
    for each in chain(parts, node):
        shown = view_of(each, view)
        assert shown is not None
        view = shown
    return view


def chain(node: Node, start: Node) -> list[Node]:
    return [] if node is start else [*chain(node.inputs[0], start), node]


def test_a_broadcast_view_is_read_where_it_is_repeated() -> None:
    with Graph():
        x = placeholder("x", (4, 1))
        spread = broadcast_to(x, (2, 4, 3))
    view = view_of(spread, View(0, x.spec))
    assert view is not None
    assert view_strides(view, (2, 4, 3)) == (0, 1, 0)
    assert view_strides(view, (5, 2, 4, 3)) == (0, 0, 1, 0)
    assert row_major_strides((2, 4, 3)) == view_strides(whole((2, 4, 3)), (2, 4, 3))
