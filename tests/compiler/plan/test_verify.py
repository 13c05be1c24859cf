"""The verifier of plans: sound plans pass, and each planted fault is found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from compiler_checks import arena, compiled, finds, replaced_view, verify, with_step, with_storage, without_step
from graphnn import ops
from graphnn.compiler.gradients import gradients
from graphnn.compiler.plan.form import Plan
from graphnn.compiler.plan.verify import verify_plan
from graphnn.ops import Graph, Node, constant, placeholder, variable
from graphnn.ops.errors import CompileError
from graphnn.ops.slicing import Concat
from graphnn.ops.state import Assign
from networks import lenet


def refuse(plan: Plan, message: str, node: Node | None = None) -> None:
    with finds(message, node):
        verify(plan)


def number_of(plan: Plan, kernel: str) -> int:
    """Return the number of the first step of a kernel."""
    return next(number for number, step in enumerate(plan.steps) if step.kernel == kernel)


@pytest.fixture(scope="module")
def training() -> Plan:
    network = lenet(size=12)
    return compiled([network.loss, network.logits], network.updates, max_batch=3).plan


@pytest.fixture
def simple() -> Plan:
    """Return a plan with values of equal size: a = exp(x), b = tanh(a), c = softmax(a) - b, in that order."""
    with Graph():
        x = placeholder("x", (None, 4))
        a = ops.exp(x)
        return compiled([ops.softmax(a) - ops.tanh(a)], max_batch=4).plan


@pytest.fixture
def joining() -> Plan:
    """Return a plan in which three computed parts make a whole that a step reads."""
    with Graph():
        x = placeholder("x", (None, 4))
        return compiled([ops.softmax(ops.concat([ops.exp(x), ops.tanh(x), ops.sqrt(x)], 1))], max_batch=4).plan


# Sound plans.


def test_sound_plans_pass(training: Plan, simple: Plan, joining: Plan) -> None:
    for plan in (training, simple, joining):
        verify_plan(plan)
        verify(plan)


def test_plan_for_one_example() -> None:
    network = lenet(size=12)
    verify(compiled([network.loss], network.updates, max_batch=1).plan)


def test_gradients_of_concatenations_pass() -> None:
    with Graph():
        x, w = placeholder("x", (None, 3)), variable("w", np.ones((3, 3), np.float32))
        joined = ops.concat([x @ w, ops.exp(x), ops.concat([x, x @ w.T], 0)[:, ::-1].reshape((-1, 6))[:, :3]], 0)
        slopes = gradients((joined * joined).mean(), [x, w])
        verify(compiled([joined, *slopes], [ops.assign(w, w - slopes[1])], max_batch=4).plan)


# Storages.


def test_live_storages_that_overlap_are_found(training: Plan) -> None:
    pairs = [
        (one, other)
        for one in arena(training)
        for other in arena(training)
        if one.index != other.index and one.first <= other.first < one.last
    ]
    assert len(pairs) > 100
    for one, other in pairs[:: len(pairs) // 40]:
        with pytest.raises(CompileError):
            verify(with_storage(training, other.index, offset=one.offset))


def test_storage_shifted_into_its_neighbour_is_found(simple: Plan) -> None:
    for storage in arena(simple):
        for other in arena(simple):
            if other.index > storage.index and storage.first <= other.last and other.first <= storage.last:
                shifted = storage.offset + storage.nbytes - 4
                refuse(
                    with_storage(replace(simple, arena_bytes=10_000), other.index, offset=shifted),
                    "",
                )


@pytest.mark.parametrize("offset", [-64, 10**9])
def test_storage_outside_of_the_arena_is_found(simple: Plan, offset: int) -> None:
    storage = arena(simple)[0]
    refuse(with_storage(simple, storage.index, offset=offset), f"storage #{storage.index} of 'exp' does not lie in")


def test_arena_that_is_too_small_is_found(simple: Plan) -> None:
    refuse(replace(simple, arena_bytes=simple.arena_bytes - 128), "does not lie in the arena")


def test_storage_that_is_too_small_is_found(simple: Plan) -> None:
    storage = arena(simple)[0]
    refuse(with_storage(simple, storage.index, nbytes=storage.nbytes - 4), "of storage #", storage.node)


# Steps.


def test_each_dropped_step_is_found(training: Plan, simple: Plan, joining: Plan) -> None:
    for plan, every in ((training, 3), (simple, 1), (joining, 1)):
        for number in range(0, len(plan.steps), every):
            with pytest.raises(CompileError):
                verify(without_step(plan, number))


def test_error_names_the_missing_value(simple: Plan) -> None:
    refuse(without_step(simple, 0), "is not where step 0 looks for it: those bytes hold", simple.steps[0].node)
    refuse(without_step(simple, len(simple.steps) - 1), "the end of the run looks for it", simple.steps[-1].node)


def test_swapped_steps_that_depend_on_each_other_are_found(training: Plan) -> None:
    steps = training.steps
    for number in range(0, len(steps) - 1, 3):
        one, other = steps[number : number + 2]
        if one.node in other.node.inputs and not isinstance(other.node.op, Assign):
            swapped = replace(training, steps=(*steps[:number], other, one, *steps[number + 2 :]))
            with pytest.raises(CompileError):
                verify(swapped)


def test_write_before_a_read_of_the_variable_is_found() -> None:
    with Graph():
        x, w = placeholder("x", (4,)), variable("w", np.ones(4, np.float32))
        reader = ops.softmax(w)
        plan = compiled([reader], [ops.assign(w, ops.exp(x))]).plan
    write = number_of(plan, "exp")
    assert write == 1
    refuse(replace(plan, steps=plan.steps[::-1]), "is not where step 1 looks for it: those bytes hold exp", w)


def test_wrong_number_of_reads_is_found(simple: Plan) -> None:
    last = simple.steps[-1]
    refuse(with_step(simple, len(simple.steps) - 1, reads=last.reads[:1]), "reads 1 and writes 1 views", last.node)
    refuse(with_step(simple, len(simple.steps) - 1, reads=last.reads * 2), "reads 4 and writes 1 views", last.node)
    refuse(with_step(simple, len(simple.steps) - 1, writes=()), "reads 2 and writes 0 views", last.node)


def test_exchanged_reads_are_found(simple: Plan) -> None:
    last = simple.steps[-1]
    refuse(with_step(simple, len(simple.steps) - 1, reads=last.reads[::-1]), "is not where step", last.node.inputs[0])


def test_result_over_a_value_that_is_still_needed_is_found(simple: Plan) -> None:
    first, second = simple.steps[:2]
    assert first.node in second.node.inputs
    refuse(with_step(simple, 1, writes=first.writes), "those bytes hold softmax")


def test_result_over_an_input_that_the_kernel_can_not_overwrite_is_found() -> None:
    with Graph():
        x, w = placeholder("x", (None, 4)), variable("w", np.ones((4, 4), np.float32))
        plan = compiled([ops.exp(x) @ w], max_batch=4).plan
    product = number_of(plan, "matmul")
    wrong = with_step(plan, product, writes=plan.steps[product].reads[:1])
    wrong = replace(wrong, fetches=wrong.steps[product].writes)
    refuse(wrong, "writes over its input 'exp', which its kernel can't", plan.steps[product].node)
    verify_plan(wrong)  # a kernel that could would be right


def test_result_that_partly_overlaps_a_dying_input_is_found() -> None:
    with Graph():
        x = placeholder("x", (None, 4))
        plan = compiled([ops.exp(x).sum(1)], max_batch=4).plan
    whole, part = arena(plan)
    assert (whole.nbytes, part.nbytes) == (64, 16)
    refuse(with_storage(plan, part.index, offset=whole.offset + 32), "writes its result over an input", part.node)


def test_result_over_another_order_of_an_input_is_found() -> None:
    with Graph():
        x = placeholder("x", (4, 4))
        y = ops.exp(x)
        plan = compiled([y + y.T]).plan
    last = len(plan.steps) - 1
    wrong = with_step(plan, last, writes=plan.steps[last].reads[:1])
    refuse(replace(wrong, fetches=wrong.steps[last].writes), "writes its result over an input", plan.steps[last].node)


@pytest.mark.parametrize("kind", ["feed", "constant", "variable"])
def test_write_to_what_a_run_must_not_change_is_found(kind: str) -> None:
    with Graph():
        sources = {"feed": placeholder("x", (4,)), "constant": constant(np.ones(4, np.float32))}
        sources["variable"] = variable("w", np.ones(4, np.float32))
        plan = compiled([ops.exp(sources["feed"] * sources["variable"] * sources["constant"])]).plan
    wrong = with_step(plan, len(plan.steps) - 1, writes=(plan.views[sources[kind]],))
    wrong = replace(wrong, fetches=wrong.steps[-1].writes)
    refuse(wrong, f"writes to the {kind} {sources[kind].name!r}", plan.steps[-1].node)


def test_result_of_another_shape_is_found(simple: Plan) -> None:
    (write,) = simple.steps[0].writes
    for spec in (write.spec.with_dtype("int32"), write.spec.with_shape((None, 2, 2))):
        wrong = with_step(simple, 0, writes=(replace(write, spec=spec),))
        refuse(wrong, "has a view of another shape or type", simple.steps[0].node)


def test_result_whose_elements_share_bytes_is_found(simple: Plan) -> None:
    first = simple.steps[0]
    squeezed = replace(first.writes[0], strides=(1, 1))
    wrong = replaced_view(simple, first.writes[0], squeezed)
    refuse(wrong, "writes several elements of its result to the same bytes", first.node)


# Workspaces.


def test_workspace_over_result_or_input_is_found(simple: Plan) -> None:
    number = number_of(simple, "softmax")
    step = simple.steps[number]
    (workspace,) = step.workspaces
    for view in (*step.reads, *step.writes):
        offset = simple.storages[view.storage].offset
        refuse(with_storage(simple, workspace, offset=offset), "has a workspace over its input or result", step.node)


def test_workspace_over_a_value_that_lives_is_found() -> None:
    with Graph():
        x = placeholder("x", (None, 4))
        kept = ops.exp(x)
        plan = compiled([ops.softmax(x * 2) + kept.sum(), kept], max_batch=4).plan
    (workspace,) = plan.steps[number_of(plan, "softmax")].workspaces
    place = plan.storages[plan.views[kept].storage].offset
    refuse(with_storage(plan, workspace, offset=place), "those bytes hold", kept)


def test_workspaces_over_each_other_are_found() -> None:
    with Graph():
        x = placeholder("x", (None, 4))
        plan = compiled([ops.log_softmax(x)], max_batch=4).plan
    first, second = plan.steps[0].workspaces
    wrong = with_storage(plan, second, offset=plan.storages[first].offset)
    refuse(wrong, "has a workspace over its input or result", plan.steps[0].node)


def test_missing_and_small_workspaces_are_found(simple: Plan) -> None:
    number = number_of(simple, "softmax")
    step = simple.steps[number]
    refuse(with_step(simple, number, workspaces=()), "has workspaces of [] bytes, which are not those", step.node)
    refuse(with_storage(simple, step.workspaces[0], nbytes=4), "has workspaces of [4] bytes", step.node)


# Views.


@pytest.mark.parametrize("offset", [-1, 1, 1000])
def test_view_outside_of_its_storage_is_found(simple: Plan, offset: int) -> None:
    read = simple.steps[1].reads[0]
    wrong = with_step(simple, 1, reads=(replace(read, offset=offset),))
    refuse(wrong, "of storage #", simple.steps[1].node.inputs[0])


@pytest.mark.parametrize("offset", [0, 2])
def test_slice_at_another_position_is_found(offset: int) -> None:
    with Graph():
        x = placeholder("x", (None, 4))
        part = ops.exp(x)[:, 1:3]
        plan = compiled([ops.tanh(part)], max_batch=4).plan
    number = number_of(plan, "tanh")
    (read,) = plan.steps[number].reads
    assert read.offset == 1
    refuse(with_step(plan, number, reads=(replace(read, offset=offset),)), "is not where step 1 looks for it", part)


@pytest.mark.parametrize("strides", [(4, 1), (1, 4), (-4, 1), (0, 1)])
def test_transpose_with_other_strides_is_found(strides: tuple[int, int]) -> None:
    with Graph():
        x = placeholder("x", (4, 4))
        turned = ops.exp(x).T
        plan = compiled([ops.tanh(turned)]).plan
    number = number_of(plan, "tanh")
    (read,) = plan.steps[number].reads
    assert read.strides == (1, 4)
    wrong = with_step(plan, number, reads=(replace(read, strides=strides, offset=12 if strides[0] < 0 else 0),))
    if strides == (1, 4):
        verify(wrong)
    else:
        refuse(wrong, "is not where step 1 looks for it", turned)


def test_strides_for_another_rank_are_found(simple: Plan) -> None:
    read = simple.steps[1].reads[0]
    refuse(with_step(simple, 1, reads=(replace(read, strides=(1,)),)), "has a view of another shape or type")


def test_strides_that_are_right_for_one_batch_size_alone_are_found() -> None:
    with Graph():
        x = placeholder("x", (None, 2))
        turned = ops.exp(x).T
        plan = compiled([ops.softmax(ops.tanh(turned))], max_batch=2).plan
    number = number_of(plan, "tanh")
    (write,) = plan.steps[number].writes
    assert write.strides is None
    right = replace(write, strides=(2, 1))  # at 2 examples; at 1 the rows are 1 apart
    views = {**plan.views, plan.steps[number].node: right}
    with pytest.raises(CompileError):
        verify(replace(with_step(plan, number, writes=(right,)), views=views))


def test_gaps_that_a_kernel_can_not_read_are_found() -> None:
    with Graph():
        x, w = placeholder("x", (None, 2, 4, 4)), variable("w", np.ones((3, 3, 2, 3), np.float32))
        weight = w.transpose(3, 2, 0, 1)
        plan = compiled([ops.conv2d(x, weight)], max_batch=2).plan
    number = number_of(plan, "conv2d")
    step = plan.steps[number]
    wrong = with_step(plan, number, reads=(step.reads[0], plan.views[weight]))
    refuse(wrong, "reads a view with gaps, which its kernel can't", step.node)


def test_gaps_that_a_kernel_can_not_write_are_found() -> None:
    with Graph():
        x = placeholder("x", (4, 4))
        y = ops.exp(x) @ np.ones((4, 4), np.float32)
        plan = compiled([y]).plan
    number = number_of(plan, "matmul")
    (write,) = plan.steps[number].writes
    wrong = with_step(plan, number, writes=(replace(write, strides=(1, 4)),))
    refuse(wrong, "writes a view with gaps, which its kernel can't", y)


def test_node_without_a_view_is_found(simple: Plan) -> None:
    node = simple.steps[0].node
    views = {other: view for other, view in simple.views.items() if other is not node}
    refuse(replace(simple, views=views), "has no place in memory", node)


# Fetches, feeds and variables.


def test_fetch_from_elsewhere_is_found(simple: Plan) -> None:
    with Graph():
        x = placeholder("x", (None, 4))
        a, b = ops.softmax(x), ops.log_softmax(x)
        plan = compiled([a, b], max_batch=4).plan
    refuse(replace(plan, fetches=plan.fetches[::-1]), "is not where the end of the run looks for it", a)
    refuse(replace(plan, fetches=(plan.fetches[0], plan.views[x])), "those bytes hold x", b)


def test_missing_fetch_is_found(simple: Plan) -> None:
    refuse(replace(simple, fetches=()), "its feeds or fetches are not those of the graph")


def test_exchanged_and_missing_feeds_are_found() -> None:
    with Graph():
        x, y = placeholder("x", (None, 4)), placeholder("y", (None, 4))
        plan = compiled([x - y], max_batch=4).plan
    refuse(replace(plan, feeds={x: plan.feeds[y], y: plan.feeds[x]}), "those bytes hold y", x)
    refuse(replace(plan, feeds={x: plan.feeds[x]}), "its feeds or fetches are not those of the graph")
    refuse(replace(plan, feeds={**plan.feeds, x: plan.fetches[0]}), "is fed into memory that is none of the feeds'", x)


def test_variable_without_its_new_value_is_found() -> None:
    with Graph():
        x, w = placeholder("x", (4,)), variable("w", np.ones(4, np.float32))
        plan = compiled([ops.exp(x)], [ops.assign(w, x)]).plan
    refuse(without_step(plan, number_of(plan, "copy")), "the end of the run looks for it: those bytes hold w", x)


# Concatenations.


@pytest.mark.parametrize("axis", [0, 1])
def test_each_missing_part_is_found(axis: int) -> None:
    with Graph():
        x = placeholder("x", (4, 4))
        parts = [ops.exp(x), ops.tanh(x), ops.sqrt(x)]
        plan = compiled([ops.concat(parts, axis)]).plan
    for number, step in enumerate(plan.steps):
        refuse(without_step(plan, number), "is not where the end of the run looks for it", plan.subgraph.fetches[0])
        assert step.node in parts


@pytest.mark.parametrize("axis", [0, 1])
def test_part_in_the_place_of_another_is_found(axis: int) -> None:
    with Graph():
        x = placeholder("x", (4, 4))
        plan = compiled([ops.concat([ops.exp(x), ops.tanh(x), ops.sqrt(x)], axis)]).plan
    first, second, third = plan.steps
    exchanged = (replace(first, writes=second.writes), replace(second, writes=first.writes), third)
    refuse(replace(plan, steps=exchanged), "is not where the end of the run looks for it")
    doubled = (first, replace(second, writes=first.writes), third)
    refuse(replace(plan, steps=doubled), "is not where the end of the run looks for it")


def test_part_that_reads_its_neighbour_is_no_fault() -> None:
    with Graph():
        x = placeholder("x", (None, 4))
        first = ops.exp(x)
        second = ops.tanh(first) + first[:, ::-1]
        plan = compiled([ops.concat([first, second], 1)], max_batch=4).plan
    assert not any(isinstance(step.node.op, Concat) for step in plan.steps)


def test_copied_parts_need_their_step(joining: Plan) -> None:
    with Graph():
        x = placeholder("x", (None, 4))
        part = ops.exp(x)
        plan = compiled([ops.concat([part, part[:, ::-1]], 1)], max_batch=4).plan
    refuse(without_step(plan, number_of(plan, "concat")), "is not where the end of the run looks for it")
