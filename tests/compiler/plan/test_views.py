"""Views: which ops cost nothing, where their bytes are at any batch size, and when only a copy will do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from compiler_checks import NUMPY, check_plan, compiled
from graphnn import ops
from graphnn.compiler.plan.form import View, row_major_strides
from graphnn.compiler.plan.spans import Span
from graphnn.compiler.plan.views import view_of
from graphnn.ops import Dim, Graph, Node, placeholder
from graphnn.ops.errors import ShapeError
from graphnn.ops.evaluation import evaluate_op

Build = Callable[[Node], Node]
Shape = tuple[int | None, ...]

# Each builds view ops alone, so that the result is a view of the placeholder's storage.
FREE: dict[str, tuple[Shape, Build]] = {
    "reshape": ((None, 2, 6), lambda x: x.reshape((-1, 12))),
    "reshape of the batch": ((None, 2, 6), lambda x: x.reshape((-1, 4))),
    "reshape to a scalar": ((1, 1), lambda x: x.reshape(())),
    "transpose": ((None, 2, 3), lambda x: x.transpose(2, 0, 1)),
    "transpose of a transpose": ((None, 2, 3), lambda x: x.transpose(2, 0, 1).transpose(1, 0, 2)),
    "broadcast": ((None, 1, 3), lambda x: x.broadcast_to((4, Dim(1), 2, 3))),
    "broadcast of the batch": ((3,), lambda x: x.broadcast_to((None, 3))),
    "slice": ((None, 5, 6), lambda x: x[:, 1:4, ::2]),
    "slice backwards": ((None, 5, 6), lambda x: x[:, ::-1, 4:0:-2]),
    "slice of a slice": ((None, 5, 6), lambda x: x[:, 1:, 1:][:, ::2, ::-1]),
    "slice along the first axis": ((5, 3), lambda x: x[1:4]),
    "integer index": ((None, 5, 6), lambda x: x[:, 3]),
    "last index": ((None, 5, 6), lambda x: x[..., -1]),
    "new axes": ((None, 5), lambda x: x[:, None, :, None]),
    "new axis of a transpose": ((None, 2, 3), lambda x: x.transpose(2, 0, 1).expand_dims(1)),
    "squeezed transpose": ((None, 1, 3), lambda x: x.transpose(2, 1, 0).squeeze(1)),
    "slice of a broadcast": ((None, 1), lambda x: x.broadcast_to((None, 6))[:, 1:5:2]),
    "transposed slice": ((None, 4, 6), lambda x: x[:, 1:3, ::-1].transpose(2, 1, 0)),
    "slice behind a batch axis": ((2, 3), lambda x: x.expand_dims(1).broadcast_to((2, Dim(1), 3))[1, :, 1:]),
    "slice where the batch is inside": ((None, 2, 4), lambda x: x.transpose(1, 0, 2)[1, :, 1:3]),
    "slice of a static axis around the batch": ((None, 2, 4), lambda x: x.transpose(2, 0, 1)[1:3]),
    "nothing": ((None, 5), lambda x: x[:, 2:2]),
    "several batches": ((None, 6), lambda x: x.reshape((-1, 3)).transpose(1, 0)),
    "views of views of views": (
        (None, 4, 6),
        lambda x: x.transpose(0, 2, 1)[:, ::2].reshape((None, 3, 1, 4)).broadcast_to((None, 3, 5, 4))[..., 1:3],
    ),
}

COPIED: dict[str, tuple[Shape, Build]] = {
    "reshape of a transpose": ((None, 2, 3), lambda x: x.transpose(0, 2, 1).reshape((-1, 6))),
    "reshape of a slice": ((None, 4), lambda x: x[:, 1:].reshape((-1,))),
    "reshape of a broadcast": ((None, 1), lambda x: x.broadcast_to((None, 4)).reshape((-1,))),
}


def view_and_value(shape: Shape, build: Build, batch: int) -> tuple[View | None, np.ndarray, np.ndarray]:
    """Return the view that a chain of ops has of a storage, the storage's elements, and the chain's value."""
    with Graph():
        x = placeholder("x", shape, "int32")
        node = build(x)
    chain = []
    while node is not x:
        chain.append(node)
        (node,) = node.inputs
    elements = np.arange(x.spec.elements(batch), dtype=np.int32)
    view: View | None = View(0, x.spec)
    value = elements.reshape(x.spec.bind(batch).static_shape)
    for node in reversed(chain):
        value = evaluate_op(node.op, node.spec.bind(batch), [value], [node.inputs[0].spec])
        view = view_of(node, view) if view is not None else None
    return view, elements, value


def seen(view: View, elements: np.ndarray, batch: int) -> np.ndarray:
    """Return the elements that a view shows, picked one by one."""
    shape = view.spec.bind(batch).static_shape
    strides = view.bound_strides(batch)
    found = np.zeros(shape, elements.dtype)
    for index in np.ndindex(shape):
        found[index] = elements[view.bound_offset(batch) + sum(i * s for i, s in zip(index, strides, strict=True))]
    return found


@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("name", FREE)
def test_view_shows_the_value(name: str, batch: int) -> None:
    view, elements, value = view_and_value(*FREE[name], batch)
    assert view is not None
    np.testing.assert_array_equal(seen(view, elements, batch), value)


@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("name", FREE)
def test_byte_range_is_exact(name: str, batch: int) -> None:
    view, _, value = view_and_value(*FREE[name], batch)
    assert view is not None
    low, high = view.byte_range(batch)
    assert (low, high) == Span.of(view, batch).reach
    if value.size:
        assert (low, high) == (4 * value.min(), 4 * value.max() + 4)
    else:
        assert low == high


@pytest.mark.parametrize("name", COPIED)
def test_what_only_a_copy_gives_is_no_view(name: str) -> None:
    assert view_and_value(*COPIED[name], batch=2)[0] is None


def test_position_that_is_no_multiple_of_the_batch_is_no_view() -> None:
    with Graph():
        x = placeholder("x", (None, 2, 4))
        inner = x.transpose(1, 0, 2)
        whole = ops.exp(inner)  # row-major (2, N, 4): its rows begin at 0 and 4·N
        node = ops.slice(whole, [1, 1], [2, 3], axes=[0, 2])
    assert view_of(node, View(0, whole.spec)) is None
    x_value = np.arange(24, dtype=np.float32).reshape(3, 2, 4) / 10
    check_plan([node * 2], {x: x_value}, max_batch=4)


def test_batch_times_batch_is_no_view() -> None:
    with Graph():
        x = placeholder("x", (None, 2))
        square = (x @ x.T).expand_dims(0)
        many = square.broadcast_to((3, Dim(1), Dim(1)))
        row = many[1]
    assert view_of(many, View(0, square.spec)) is None
    with pytest.raises(ShapeError, match="batch size squared"):
        row_major_strides(many.shape)
    x_value = np.arange(8, dtype=np.float32).reshape(4, 2)
    check_plan([many, row, many * 2], {x: x_value}, max_batch=5)


@pytest.mark.parametrize("name", [*FREE, *COPIED])
def test_computing_with_each_view(name: str) -> None:
    shape, build = {**FREE, **COPIED}[name]
    with Graph():
        x = placeholder("x", shape)
        y = build(ops.exp(x))
        fetches = [y, y * 2, build(x)]
    batch = 3
    values = np.linspace(-1, 1, x.spec.elements(batch), dtype=np.float32).reshape(x.spec.bind(batch).static_shape)
    check_plan(fetches, {x: values}, max_batch=5)


def test_views_cost_no_step() -> None:
    for shape, build in FREE.values():
        with Graph():
            plan = compiled([build(placeholder("x", shape))], max_batch=4).plan
        assert (len(plan.steps), plan.arena_bytes) == (0, 0)


def test_views_of_ops_without_a_rule() -> None:
    with Graph():
        x = placeholder("x", (2,))
        y = ops.exp(x)
        stopped = ops.stop_gradient(x)
    assert view_of(y, View(0, x.spec)) is None
    assert view_of(stopped, View(0, x.spec)) is None  # prune removes them


def test_numpy_arrays_of_views_share_the_storage() -> None:
    with Graph():
        x = placeholder("x", (None, 2, 3))
        y = x.transpose(0, 2, 1)[:, ::-1]
    loaded = NUMPY.load(compiled([y], max_batch=4).plan)
    values = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    np.testing.assert_array_equal(loaded.run({x: values}, 2)[0], values.transpose(0, 2, 1)[:, ::-1])
