"""Which units become one kernel, which stay apart, and that the values are right either way."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphnn as gn
from cuda_devices import check
from cuda_kernels import needs_emulator
from graphnn import ops, optim
from graphnn.compiler.targets.cuda import merge

pytestmark = needs_emulator

Nodes = tuple[list[gn.Node], list[gn.Node]]


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def steps_of(build: Callable[[], Nodes]) -> list[str]:
    """Check a graph's values; return the ops of each step, views left out."""
    steps = check(build, "cuda-emulator", (3, 1)).plan.steps
    return [" ".join(node.op.label for node in step.nodes) for step in steps]


def features(*shape: int) -> gn.Node:
    return gn.placeholder("x", (None, *(shape or (6,))))


# Pairs.


def test_a_pool_and_its_positions_are_one_kernel() -> None:
    def build() -> Nodes:
        x = features(2, 6, 6)
        return [*gn.gradients(ops.tanh(ops.max_pool2d(x, 2)).sum(), [x])], []

    assert "max_pool2d_indices max_pool2d" in steps_of(build)[0]


def test_pools_of_different_windows_are_two_kernels() -> None:
    def build() -> Nodes:
        x = features(2, 6, 6)
        (slope,) = gn.gradients(ops.max_pool2d(x, 2).sum(), [x])
        return [slope, ops.max_pool2d(x, 3)], []

    assert not [step for step in steps_of(build) if "max_pool2d_indices max_pool2d" in step]


def test_a_loss_and_the_softmax_of_its_gradient_are_one_kernel() -> None:
    def build() -> Nodes:
        x, labels = features(3), gn.placeholder("labels", (None,), "int32")
        loss = ops.cross_entropy(x, labels)
        return [loss, *gn.gradients(loss, [x])], []

    steps = steps_of(build)
    assert [step for step in steps if step.startswith("softmax cross_entropy")]
    assert not [step for step in steps if "one_hot" in step]  # told from the labels


def test_a_softmax_along_another_axis_is_a_kernel_of_its_own() -> None:
    def build() -> Nodes:
        x, labels = features(3), gn.placeholder("labels", (None,), "int32")
        return [ops.cross_entropy(x, labels), ops.softmax(x, 0)], []

    assert "softmax" in steps_of(build)


# Epilogues.

JOINED: dict[str, Callable[[gn.Node], gn.Node]] = {
    "element by element": lambda y: ops.tanh(y) * 2,
    "with another value": lambda y: y * gn.placeholder("z", (None, 6)),
    "with a row": lambda y: y + gn.variable("row", floats(6)),
    "reshaped": lambda y: ops.tanh(y.reshape((-1, 2, 3))),
    "reshaped twice": lambda y: ops.tanh(y.reshape((-1, 2, 3)).reshape((-1, 3, 2))),
}
APART: dict[str, Callable[[gn.Node], gn.Node]] = {
    "turned": lambda y: ops.tanh(y.T),
    "a part": lambda y: ops.tanh(y[:, :3]),
    "backwards": lambda y: ops.tanh(y[:, ::-1]),
    "spread": lambda y: ops.tanh(y.reshape((-1, 6, 1)) * gn.constant(floats(6, 2))),
    "in two orders": lambda y: y * y[:, ::-1],
    "by two": lambda y: ops.tanh(y) @ floats(6, 2) + ops.exp(y) @ floats(6, 2),
    "with what is made of it": lambda y: y * y.sum(1, keepdims=True),
}


@pytest.mark.parametrize("name", JOINED)
def test_what_is_joined_with_the_kernel_before(name: str) -> None:
    assert len(steps_of(lambda: ([JOINED[name](ops.softmax(features()))], []))) == 1


@pytest.mark.parametrize("name", APART)
def test_what_is_not(name: str) -> None:
    assert steps_of(lambda: ([APART[name](ops.softmax(features()))], []))[0] == "softmax"


def test_what_is_fetched_is_stored() -> None:
    def build() -> Nodes:
        y = ops.softmax(features())
        return [y.reshape((-1, 2, 3)), ops.tanh(y)], []

    assert steps_of(build) == ["softmax", "tanh"]


def test_a_reader_that_waits_for_the_other_of_a_pair_is_not_joined() -> None:
    def build() -> Nodes:
        x, labels = features(3), gn.placeholder("labels", (None,), "int32")
        return [ops.softmax(x) * ops.cross_entropy(x, labels)], []

    assert steps_of(build)[-1] == "multiply"


def test_a_reader_that_waits_for_a_read_of_its_variable_is_not_joined() -> None:
    """Its write comes after a read of the old value, which itself waits for the product."""

    def build() -> Nodes:
        w, x = gn.variable("w", floats(6, 6)), gn.placeholder("x", (6, 6))
        y = x @ gn.constant(floats(6, 6))
        later = ops.softmax(w) @ ops.softmax(y)
        return [later], [ops.assign(w, w - y)]

    steps = steps_of(build)
    assert max(place for place, step in enumerate(steps) if step == "softmax") < steps.index("subtract assign")


def test_a_product_is_not_stored_over_its_own_factor() -> None:
    def build() -> Nodes:
        w, x = gn.variable("w", floats(6, 6)), gn.placeholder("x", (6, 6))
        return [], [ops.assign(w, w @ x - w)]

    assert steps_of(build) == ["matmul subtract", "assign"]


# Updates.


def momentum(*shapes: tuple[int, ...]) -> Nodes:
    updates: list[gn.Node] = []
    for number, shape in enumerate(shapes):
        weight, velocity = (gn.variable(f"{name}{number}", floats(*shape)) for name in ("w", "v"))
        moved = 0.9 * velocity + gn.placeholder(f"slope{number}", shape)
        updates += [ops.assign(velocity, moved), ops.assign(weight, weight - 0.1 * moved)]
    return [], updates


def test_updates_of_all_shapes_are_one_kernel() -> None:
    steps = steps_of(lambda: momentum((300, 2), (2,), (), (7, 1, 5)))
    assert len(steps) == 1
    assert steps[0].count("assign") == 8


def test_a_kernel_takes_so_many_pointers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "MOST_POINTERS", 10)  # those of two parts
    assert [step.count("assign") for step in steps_of(lambda: momentum(*[(3, k) for k in range(1, 6)]))] == [4, 4, 2]


def test_a_part_takes_so_many_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "LARGEST_PART", 5)
    steps = steps_of(lambda: momentum((4, 4), (5,)))
    assert len(steps) == 3  # the velocities alone, then both weights in one
    assert sum(step.count("assign") for step in steps) == 4


def test_a_new_value_that_is_fetched_or_read_again_is_stored() -> None:
    def build() -> Nodes:
        fetches, updates = momentum((4, 4), (5,))
        return [*fetches, updates[0].inputs[1], updates[2].inputs[1].sum()], updates

    assert sum(step.count("assign") for step in steps_of(build)) == 4


def test_a_new_value_read_in_another_order_is_stored_before() -> None:
    def build() -> Nodes:
        weight, velocity = gn.variable("w", floats(40, 40)), gn.variable("v", floats(40, 40))
        moved = 0.9 * velocity + gn.placeholder("slope", (40, 40))
        return [], [ops.assign(velocity, moved), ops.assign(weight, weight - moved - moved.T)]

    assert steps_of(build) == ["multiply add assign", "subtract subtract assign"]


def test_an_update_with_a_batch_is_no_part() -> None:
    def build() -> Nodes:
        x, total = features(), gn.variable("total", floats(6))
        _, updates = momentum((4, 4), (5,))
        return [], [*updates, ops.assign(total, total + ops.exp(x).sum(0))]

    steps = steps_of(build)
    assert len(steps) == 2
    assert "exp sum add assign" in steps


@pytest.mark.parametrize("optimizer", [optim.SGD(0.1, momentum=0.9), optim.Adam(0.01), optim.RMSprop(0.01)])
def test_optimizers_take_two_kernels_at_most(optimizer: optim.Optimizer) -> None:
    def build() -> Nodes:
        x = features()
        hidden = ops.tanh(gn.nn.Linear(6, 5)(x))
        return [], optimizer.minimize(ops.cumsum(gn.nn.Linear(5, 3)(hidden), 1).mean())

    updates = [step for step in steps_of(build) if "assign" in step]
    assert len(updates) <= 2
