"""Destinations: results that are computed where they are wanted, in a variable or as a part of a concatenation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from compiler_checks import check_plan, steps_of
from graphnn import ops
from graphnn.compiler.plan.form import Plan
from graphnn.ops import Graph, Node, placeholder, variable

Array = np.ndarray


def feed(node: Node, batch: int = 3) -> dict[Node, Array]:
    shape = node.spec.bind(batch).static_shape
    return {node: np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)}


def copies(plan: Plan) -> list[str]:
    return [step for step in steps_of(plan) if step.startswith(("copy", "concat", "identity"))]


# Variables.


def test_new_value_is_computed_into_its_variable() -> None:
    with Graph():
        x, w = placeholder("x", (4,)), variable("w", np.ones(4, np.float32))
        update = ops.assign(w, ops.exp(x))
    plan = check_plan([], feed(x), [update])
    assert steps_of(plan) == ["exp exp"]
    assert plan.arena_bytes == 0


def test_element_by_element_update_overwrites_what_it_reads() -> None:
    with Graph():
        x, w = placeholder("x", (4,)), variable("w", np.ones(4, np.float32))
        update = ops.assign(w, w - x)
    plan = check_plan([update], feed(x), [update])
    assert steps_of(plan) == ["subtract subtract"]
    assert plan.arena_bytes == 0


def test_value_that_mixes_elements_of_the_variable_is_copied() -> None:
    with Graph():
        w = variable("w", np.arange(4, dtype=np.float32).reshape(2, 2))
        updates = [ops.assign(w, w @ w)]
    plan = check_plan([w], {}, updates)
    assert "copy assign" in steps_of(plan)


@pytest.mark.parametrize("view", [lambda w: w.T, lambda w: w[::-1], lambda w: w[:1].broadcast_to((2, 2))])
def test_value_that_reads_another_order_of_the_variable_is_copied(view: Callable[[Node], Node]) -> None:
    with Graph():
        w = variable("w", np.arange(4, dtype=np.float32).reshape(2, 2))
        updates = [ops.assign(w, w * 2 + view(w))]
    check_plan([], {}, updates)


def test_softmax_of_a_variable_into_itself() -> None:
    with Graph():
        w = variable("w", np.arange(4, dtype=np.float32).reshape(2, 2))
        updates = [ops.assign(w, ops.softmax(w))]
    check_plan([], {}, updates)


def test_variable_that_is_read_later_is_not_overwritten_early() -> None:
    with Graph():
        x, w = placeholder("x", (4,)), variable("w", np.ones(4, np.float32))
        value = ops.exp(x)
        update = ops.assign(w, value)
        late = ops.softmax(ops.tanh(value) + w)
    check_plan([late], feed(x), [update])


def test_value_for_two_variables_is_computed_into_the_first() -> None:
    with Graph():
        x = placeholder("x", (4,))
        v, w = variable("v", np.ones(4, np.float32)), variable("w", np.ones(4, np.float32))
        value = ops.exp(x)
        updates = [ops.assign(v, value), ops.assign(w, value)]
    plan = check_plan([value], feed(x), updates)
    assert steps_of(plan) == ["exp exp", "copy assign_1"]


def test_fetched_value_is_found_in_its_variable() -> None:
    with Graph():
        x, w = placeholder("x", (4,)), variable("w", np.ones(4, np.float32))
        value = w * x
        update = ops.assign(w, value)
    plan = check_plan([value, update, w, value * 2], feed(x), [update])
    assert plan.fetches[0] == plan.views[w]


def test_value_of_a_variable_is_read_by_others_after_the_write() -> None:
    with Graph():
        x, w = placeholder("x", (4,)), variable("w", np.ones(4, np.float32))
        value = w * x
        others = [ops.exp(value), ops.softmax(value), value.sum()]
    check_plan(others, feed(x), [ops.assign(w, value)])


def test_writes_last_computes_elsewhere_and_copies_at_the_end() -> None:
    with Graph():
        x = placeholder("x", (4,))
        v, w = variable("v", np.ones(4, np.float32)), variable("w", np.ones(4, np.float32))
        updates = [ops.assign(v, w * x), ops.assign(w, v - x)]
    plan = check_plan([], feed(x), updates, writes_last=True)
    assert steps_of(plan)[-2:] == ["copy assign", "copy assign_1"]
    assert all(plan.storages[step.writes[0].storage].kind == "arena" for step in plan.steps[:-2])


def test_swap_needs_one_copy_besides_the_two_writes() -> None:
    with Graph():
        v, w = variable("v", np.zeros(4, np.float32)), variable("w", np.ones(4, np.float32))
        updates = [ops.assign(v, w), ops.assign(w, v)]
    assert len(check_plan([], {}, updates).steps) == 3


def test_value_with_an_input_that_dies_prefers_the_variable() -> None:
    with Graph():
        x, w = placeholder("x", (4,)), variable("w", np.ones(4, np.float32))
        update = ops.assign(w, ops.tanh(ops.exp(x)))
    plan = check_plan([], feed(x), [update])
    assert not copies(plan)


# Concatenations.


def joined(axis: int, shape: tuple[int | None, ...] = (None, 2, 3)) -> tuple[Node, list[Node]]:
    """Return a placeholder and computed parts to join along an axis."""
    x = placeholder("x", shape)
    return x, [ops.exp(x), ops.tanh(x), x * 2]


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_parts_are_computed_in_place(axis: int, batch: int) -> None:
    with Graph():
        x, parts = joined(axis)
        y = ops.concat(parts, axis)
    plan = check_plan([y, y * 2], feed(x, batch), max_batch=3)
    assert not copies(plan)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_parts_of_different_sizes(axis: int) -> None:
    with Graph():
        x = placeholder("x", (4, 5, 6))
        y = ops.exp(x)
        cuts = [y[1:], y[:, 2:], y[:, :, :2]]
        parts = [ops.tanh(x), ops.relu(cuts[axis] * 2), ops.sqrt(cuts[axis])]
    plan = check_plan([ops.concat(parts, axis)], feed(x))
    assert not copies(plan)


@pytest.mark.parametrize("axis", [0, 1])
def test_part_that_is_also_read_elsewhere(axis: int) -> None:
    with Graph():
        x, parts = joined(axis, (None, 4))
        y = ops.concat(parts, axis)
        others = [parts[0] @ np.ones((4, 2), np.float32), ops.softmax(parts[1]), parts[2].T, parts[0], parts[1].sum(0)]
    check_plan([y.sum(), *others], feed(x), max_batch=4)


@pytest.mark.parametrize("axis", [0, 1])
def test_fetched_part_whose_whole_is_not_fetched(axis: int) -> None:
    with Graph():
        x, parts = joined(axis, (None, 4))
        total = ops.concat(parts, axis).sum()
        late = ops.exp(total)
    check_plan([late, parts[1]], feed(x), max_batch=4)


@pytest.mark.parametrize("axis", [0, 1])
def test_part_given_twice(axis: int) -> None:
    with Graph():
        x = placeholder("x", (None, 4))
        part = ops.exp(x)
        roots = [ops.concat([part, part], axis), ops.concat([part, ops.tanh(x), part], axis)]
    check_plan(roots, feed(x), max_batch=4)


@pytest.mark.parametrize(
    "view", [lambda y: y[:, ::-1], lambda y: y[:, 1:], lambda y: y.reshape((-1, 4))[:, :2], lambda y: y * 1]
)
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("axis", [0, 1])
def test_part_beside_a_view_of_itself(axis: int, first: bool, view: Callable[[Node], Node]) -> None:
    with Graph():
        x = placeholder("x", (None, 4))
        part = ops.exp(x)
        other = view(part)
        if axis == 0 and other.shape != part.shape:
            other = other.broadcast_to(other.shape)[:, :1].broadcast_to((*other.shape[:1], 4))
        y = ops.concat([part, other] if first else [other, part], axis)
    check_plan([y], feed(x), max_batch=4)


@pytest.mark.parametrize("axis", [0, 1])
def test_sources_and_views_are_copied(axis: int) -> None:
    with Graph():
        x, w = placeholder("x", (4, 4)), variable("w", np.eye(4, dtype=np.float32))
        y = ops.concat([x, ops.exp(x), w, ops.tanh(x).T, np.ones((4, 4), np.float32)], axis)
    plan = check_plan([y, y + 1], feed(x))
    assert copies(plan) == ["concat concat"]


@pytest.mark.parametrize("outer", [0, 1])
@pytest.mark.parametrize("inner", [0, 1])
def test_concatenation_of_concatenations(inner: int, outer: int) -> None:
    with Graph():
        x, parts = joined(inner, (3, 4))
        middle = ops.concat(parts, inner)
        y = ops.concat([middle, ops.exp(middle), middle], outer)
        z = ops.concat([y, y * 2], 0)
    check_plan([y, z, middle], feed(x))


def test_part_of_two_concatenations() -> None:
    with Graph():
        x, parts = joined(1, (None, 4))
        first, second = ops.concat(parts, 1), ops.concat(parts[::-1], 1)
    plan = check_plan([first * 2, second * 3], feed(x), max_batch=4)
    assert copies(plan) == ["concat concat_1"]


def test_part_that_is_stored_in_a_variable() -> None:
    with Graph():
        x, w = placeholder("x", (2, 4)), variable("w", np.ones((2, 4), np.float32))
        part = ops.exp(x) * w
        y = ops.concat([part, x * 2], 1)
    check_plan([y], feed(x), [ops.assign(w, part)])
    check_plan([y], feed(x), [ops.assign(w, part)], writes_last=True)


def test_concatenation_that_is_stored_in_a_variable() -> None:
    with Graph():
        x, w = placeholder("x", (2, 2)), variable("w", np.ones((2, 4), np.float32))
        y = ops.concat([ops.exp(x), x * 2], 1)
        update = ops.assign(w, y)
    check_plan([update, w], feed(x), [update])


@pytest.mark.parametrize("axis", [0, 1])
def test_empty_parts(axis: int) -> None:
    with Graph():
        x = placeholder("x", (2, 3))
        empty = ops.exp(x)[2:] if axis == 0 else ops.exp(x)[:, 3:]
        y = ops.concat([ops.tanh(empty), ops.tanh(x), empty], axis)
        late = ops.exp(y) + y
    check_plan([late, y], feed(x))


def test_element_types_that_kernels_do_not_know() -> None:
    with Graph():
        x = placeholder("x", (None, 2), "float16")
        y = ops.concat([x * 2, ops.tanh(x)], 1)
    check_plan([y], {x: np.ones((3, 2), np.float16)}, max_batch=3)


def test_products_do_not_write_between_other_parts() -> None:
    with Graph():
        x = placeholder("x", (None, 3))
        w = np.arange(6, dtype=np.float32).reshape(3, 2)
        beside = ops.concat([x @ w, ops.exp(x)], 1)
        below = ops.concat([x @ np.ones((3, 3), np.float32), ops.tanh(x)], 0)
    plan = check_plan([beside, below], feed(x), max_batch=4)
    assert copies(plan) == ["concat concat"]


@pytest.mark.parametrize("count", [2, 3, 7])
def test_many_parts(count: int) -> None:
    with Graph():
        x = placeholder("x", (2, 1))
        parts = [ops.exp(x * np.full((2, size), size, np.float32)) for size in range(1, count + 1)]
        y = ops.concat(parts, 1)
    plan = check_plan([y], feed(x))
    assert not copies(plan)
    assert len(plan.storages) < 4 * count + 2
