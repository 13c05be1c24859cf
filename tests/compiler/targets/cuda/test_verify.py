"""The verifier of CUDA plans: sound plans pass, and each planted fault is found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from compiler_checks import arena, replaced_view, with_step, with_storage, without_step
from cuda_devices import NO_MACHINE
from graphnn import ops
from graphnn.compiler.pipeline import Options, compile_graph
from graphnn.compiler.plan.form import Plan
from graphnn.compiler.targets.cuda.lowering import Lowered
from graphnn.compiler.targets.cuda.target import CudaTarget
from graphnn.compiler.targets.cuda.verify import verify_cuda_plan
from graphnn.ops import Graph, Node, placeholder, variable
from graphnn.ops.errors import CompileError
from networks import lenet
from random_graphs import random_graph


class Built:
    """A plan and the kernels of its steps."""

    def __init__(self, fetches: list[Node], updates: list[Node] = [], max_batch: int = 4) -> None:  # noqa: B006  # read
        target = CudaTarget(NO_MACHINE)
        self.plan = compile_graph(fetches, updates, Options(target, max_batch, bool(updates))).plan
        self.kernels: Mapping[str, Lowered] = target._kernels

    def verify(self, plan: Plan | None = None) -> None:
        verify_cuda_plan(plan or self.plan, self.kernels)

    def refuse(self, plan: Plan, message: str = "", node: Node | None = None) -> None:
        with pytest.raises(CompileError) as caught:
            self.verify(plan)
        assert message in f"{caught.value.message} {caught.value.actual}"
        if node is not None:
            assert repr(node.name) in caught.value.message
            assert caught.value.where == str(node.source)

    def number_of(self, part: str) -> int:
        """Return the number of the first step with a part in its name."""
        return next(number for number, step in enumerate(self.plan.steps) if part in step.kernel)


@pytest.fixture(scope="module")
def training() -> Built:
    network = lenet(size=12)
    return Built([network.loss, network.logits], network.updates, max_batch=3)


@pytest.fixture
def simple() -> Built:
    """Return a plan with values of equal size: a = softmax(x), b = softmax(a) and b - a, in that order."""
    with Graph():
        first = ops.softmax(placeholder("x", (None, 4)))
        second = ops.softmax(first)
        return Built([ops.softmax(second - first)])


def test_sound_plans_pass(training: Built, simple: Built) -> None:
    training.verify()
    simple.verify()
    assert len(training.plan.steps) > 20
    assert len(simple.plan.steps) == 3


@pytest.mark.parametrize("seed", range(20))
def test_random_plans_pass(seed: int) -> None:
    found = random_graph(seed)
    Built(found.fetches, found.updates, 5).verify()


# Storages.


def test_live_storages_that_overlap_are_found(training: Built) -> None:
    pairs = [
        (one, other)
        for one in arena(training.plan)
        for other in arena(training.plan)
        if one.index != other.index and one.first <= other.first <= one.last
    ]
    assert len(pairs) > 50
    for one, other in pairs:
        training.refuse(with_storage(training.plan, other.index, offset=one.offset), "overlap")


def test_storages_whose_lifetimes_are_stated_too_short_are_found(simple: Built) -> None:
    """What the plan says of lifetimes is not believed: the bytes themselves are followed."""
    first, second, *_ = arena(simple.plan)
    moved = with_storage(simple.plan, second.index, offset=first.offset, first=9, last=9)
    simple.refuse(moved, "softmax")


# Steps.


def test_each_dropped_step_is_found(training: Built, simple: Built) -> None:
    for built in (training, simple):
        for number in range(len(built.plan.steps)):
            built.refuse(without_step(built.plan, number), "is not where")


def test_error_names_the_missing_value(simple: Built) -> None:
    first, *_, last = simple.plan.steps
    simple.refuse(without_step(simple.plan, 0), "is not where step 0 looks for it those bytes hold nothing", first.node)
    simple.refuse(without_step(simple.plan, 2), "is not where the end of the run looks for it", last.node)


def test_swapped_steps_that_depend_on_each_other_are_found(training: Built) -> None:
    steps = training.plan.steps
    swapped = 0
    for number, (one, other) in enumerate(pairwise(steps)):
        if {view.storage for view in one.writes} & {view.storage for view in other.reads}:
            swapped += 1
            order = (*steps[:number], other, one, *steps[number + 2 :])
            training.refuse(replace(training.plan, steps=order), "is not where step")
    assert swapped > 10


def test_write_before_a_read_of_the_variable_is_found() -> None:
    with Graph():
        x, w = placeholder("x", (4,)), variable("w", np.ones(4, np.float32))
        built = Built([ops.softmax(w)], [ops.assign(w, ops.exp(x))])
    assert "assign" in built.plan.steps[1].kernel
    built.refuse(replace(built.plan, steps=built.plan.steps[::-1]), "those bytes hold exp", w)


def test_exchanged_reads_are_found() -> None:
    with Graph():
        first = ops.softmax(placeholder("x", (None, 4)))
        built = Built([ops.softmax(first) @ ops.log_softmax(first).T @ first])
    number = built.number_of("matmul")
    reads = built.plan.steps[number].reads
    built.refuse(with_step(built.plan, number, reads=reads[::-1]), "is not where step")


# Views.


def test_each_view_of_a_wrong_storage_is_found(training: Built) -> None:
    refused = 0
    for number, step in enumerate(training.plan.steps):
        for place, view in enumerate(step.reads):
            other = next(
                each.index for each in training.plan.storages if each.index != view.storage and each.nbytes >= 4
            )
            reads = [*step.reads]
            reads[place] = replace(view, storage=other)
            training.refuse(with_step(training.plan, number, reads=tuple(reads)))
            refused += 1
    assert refused > 50


def test_fetch_from_elsewhere_is_found() -> None:
    with Graph():
        x = placeholder("x", (None, 4))
        a, b = ops.softmax(x), ops.log_softmax(x)
        built = Built([a, b])
    built.refuse(replace(built.plan, fetches=built.plan.fetches[::-1]), "the end of the run looks for it", a)
    built.refuse(replace(built.plan, fetches=(built.plan.fetches[0], built.plan.views[x])), "those bytes hold x", b)


def test_variable_without_its_new_value_is_found(training: Built) -> None:
    built = training
    number = len(built.plan.steps) - 1
    step = built.plan.steps[number]
    kept, *others = step.writes
    room = arena(built.plan)[0].index
    wrong = with_step(built.plan, number, writes=(replace(kept, storage=room), *others))
    built.refuse(wrong, "the end of the run looks for it")


# What a kernel may write over.


def test_result_over_what_is_read_in_any_order_is_found(simple: Built) -> None:
    middle = simple.plan.steps[1]
    wrong = replaced_view(simple.plan, middle.writes[0], middle.reads[0])
    simple.refuse(wrong, "writes over its input", middle.node)


def test_result_over_another_order_of_an_input_is_found() -> None:
    with Graph():
        y = ops.softmax(placeholder("x", (4, 4)))
        built = Built([y + y.T])
    number = built.number_of("add")
    step = built.plan.steps[number]
    assert len({view.storage for view in (*step.reads, *step.writes)}) == 2
    whole = next(view for view in step.reads if view.strides is None)
    built.refuse(replaced_view(built.plan, step.writes[0], whole), "writes over its input 'transpose'", step.node)


def test_result_over_an_input_that_is_read_element_by_element_passes() -> None:
    with Graph():
        y = ops.softmax(placeholder("x", (4, 4)))
        built = Built([y + y.sum(0)])
    step = built.plan.steps[built.number_of("add")]
    assert step.reads[0].storage == step.writes[0].storage
    built.verify()


def test_assign_to_a_variable_that_a_product_reads_is_found() -> None:
    with Graph():
        x, w = placeholder("x", (4, 4)), variable("w", np.ones((4, 4), np.float32))
        built = Built([], [ops.assign(w, w @ x)])
    number = built.number_of("matmul")
    assert not built.plan.steps[number].kernel.endswith("assign")  # there is a copy
    wrong = with_step(built.plan, number, writes=(built.plan.views[w],))
    built.refuse(without_step(wrong, number + 1), "writes over its input 'w'", built.plan.steps[number].node)


def test_workspace_over_an_input_or_a_result_is_found() -> None:
    with Graph():
        x = placeholder("x", (None, 30_000))
        built = Built([ops.softmax(x).sum()], max_batch=2)
    number = built.number_of("sum")
    step = built.plan.steps[number]
    (room,) = step.workspaces
    for view in (*step.reads, *step.writes):
        offset = built.plan.storages[view.storage].offset
        wrong = with_storage(built.plan, room, offset=offset, first=99, last=99)
        built.refuse(wrong, "workspace" if view in step.writes else "writes over its input", step.node)


def test_two_results_in_one_place_are_found(training: Built) -> None:
    number = next(number for number, step in enumerate(training.plan.steps) if len(step.writes) > 1)
    step = training.plan.steps[number]
    wrong = replaced_view(training.plan, step.writes[0], replace(step.writes[0], storage=step.writes[1].storage))
    training.refuse(wrong, "has two results", step.node)
