"""The second form: a verifier that finds planted faults in order, borders, writes and regions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from compiler_checks import compiled, finds
from graphnn import ops
from graphnn.compiler.gradients import gradients
from graphnn.compiler.schedule.form import (
    Combine,
    Group,
    Region,
    Schedule,
    groups_of,
    is_source,
    verify_schedule,
    write_edges,
)
from graphnn.compiler.subgraph import Subgraph
from graphnn.ops import Graph, Node, constant, placeholder, variable
from graphnn.ops.errors import CompileError

Body = tuple[Group | Region, ...]


@pytest.fixture
def sound() -> Schedule:
    """Return the schedule of a training step of two layers."""
    with Graph():
        x = placeholder("x", (None, 4))
        first, second = variable("first", np.ones((4, 3), np.float32)), variable("second", np.ones((3, 2), np.float32))
        loss = (ops.tanh(x @ first) @ second).mean()
        slopes = gradients(loss, [first, second])
        updates = [ops.assign(w, w - slope * 0.1) for w, slope in zip((first, second), slopes, strict=True)]
    return compiled([loss], updates, max_batch=4).schedule


def refuse(schedule: Schedule, message: str, node: Node | None = None) -> None:
    with finds(message, node):
        verify_schedule(schedule)


def groups(schedule: Schedule) -> list[Group]:
    return list(schedule.groups)


def single(*nodes: Node, outputs: tuple[Node, ...] | None = None) -> Group:
    inside = set(nodes)
    inputs = tuple(dict.fromkeys(given for node in nodes for given in node.inputs if given not in inside))
    return Group(nodes, inputs, nodes[-1:] if outputs is None else outputs)


def test_sound_schedule_passes(sound: Schedule) -> None:
    verify_schedule(sound)
    assert len(groups(sound)) > 5


def test_sources_are_no_part_of_it(sound: Schedule) -> None:
    assert not any(is_source(node) for node in sound.nodes)
    assert {node for node in sound.subgraph.nodes if is_source(node)} | set(sound.nodes) == set(sound.subgraph.nodes)


# Order.


def test_every_swap_of_dependent_groups_is_found(sound: Schedule) -> None:
    body = groups(sound)
    for place in range(len(body) - 1):
        one, other = body[place : place + 2]
        swapped = replace(sound, body=(*body[:place], other, one, *body[place + 2 :]))
        edges = dict(write_edges(sound.subgraph))
        dependent = set(other.inputs) & set(one.nodes) or any(edges.get(node) in other.nodes for node in one.nodes)
        if dependent:
            with pytest.raises(CompileError):
                verify_schedule(swapped)
        else:
            verify_schedule(swapped)


def test_node_before_its_input_is_found() -> None:
    with Graph():
        x = placeholder("x", ())
        a = ops.exp(x)
        b = ops.tanh(a)
    refuse(Schedule(Subgraph((b,)), (single(b), single(a))), "'tanh' runs before its input 'exp'", b)


def test_wrong_order_within_a_group_is_found() -> None:
    with Graph():
        x = placeholder("x", ())
        a = ops.exp(x)
        b = ops.tanh(a)
    refuse(Schedule(Subgraph((b,)), (Group((b, a), (x,), (b,)),)), "'tanh' runs before its input 'exp'", b)


def test_missing_node_is_found(sound: Schedule) -> None:
    body = groups(sound)
    refuse(replace(sound, body=tuple(body[:-1])), "is missing from the schedule", body[-1].nodes[0])


def test_node_that_nothing_needs_is_found(sound: Schedule) -> None:
    with sound.nodes[0].graph:
        strange = ops.exp(constant(1.0))
    refuse(replace(sound, body=(single(strange), *sound.body)), "is not in the subgraph", strange)


def test_node_scheduled_twice_is_found(sound: Schedule) -> None:
    first = groups(sound)[0]
    refuse(replace(sound, body=(first, *sound.body)), "is scheduled twice", first.nodes[0])


def test_source_in_a_group_is_found(sound: Schedule) -> None:
    source = next(node for node in sound.subgraph.nodes if is_source(node))
    refuse(replace(sound, body=(single(source), *sound.body)), "is not in the subgraph", source)


def test_empty_group_is_found(sound: Schedule) -> None:
    refuse(replace(sound, body=(Group((), (), ()), *sound.body)), "a group of the schedule is empty")


# Borders of groups.


def test_each_wrong_border_is_found(sound: Schedule) -> None:
    body = groups(sound)
    other = body[0].nodes[0]
    for place, group in enumerate(body):
        wrong = [replace(group, inputs=group.inputs[1:]), replace(group, outputs=group.outputs[1:])]
        if other not in group.inputs and other not in group.nodes:
            wrong.append(replace(group, inputs=(*group.inputs, other)))
        wrong += [replace(group, outputs=(*group.outputs, node)) for node in group.nodes if node not in group.outputs]
        for each in wrong:
            what = "inputs" if each.outputs == group.outputs else "outputs"
            message = f"is in a group whose {what} are not the stated ones"
            refuse(replace(sound, body=(*body[:place], each, *body[place + 1 :])), message, group.root)


def test_fetched_inner_node_must_be_an_output() -> None:
    with Graph():
        x = placeholder("x", ())
        a = ops.exp(x)
        b = ops.tanh(a)
    subgraph = Subgraph((b, a))
    verify_schedule(Schedule(subgraph, (single(a, b, outputs=(a, b)),)))
    refuse(Schedule(subgraph, (single(a, b),)), "whose outputs are not the stated ones", b)


# Writes.


def writing(view: bool) -> tuple[Subgraph, list[Group], list[Group]]:
    """Return a subgraph in which a variable is read and written, with the groups of the reads and of the write."""
    with Graph():
        x, w = placeholder("x", (2, 2)), variable("w", np.ones((2, 2), np.float32))
        shown = w.T if view else w
        y = ops.exp(shown)
        update = ops.assign(w, x)
    reads = [single(shown), single(y)] if view else [single(y)]
    return Subgraph((y,), (update,)), reads, [single(update)]


@pytest.mark.parametrize("view", [False, True])
def test_write_before_read_is_found(view: bool) -> None:
    subgraph, reads, write = writing(view)
    verify_schedule(Schedule(subgraph, (*reads, *write)))
    refuse(Schedule(subgraph, (*write, *reads)), "reads variable 'w' after it was written", reads[0].root)
    if view:
        refuse(Schedule(subgraph, (reads[0], *write, reads[1])), "'exp' reads variable 'w' after", reads[1].root)


def test_edges_go_from_all_readers_to_the_write() -> None:
    with Graph():
        w, v = variable("w", np.ones((2, 2), np.float32)), variable("v", np.ones((2, 2), np.float32))
        view = w.T
        deep = view.reshape((4,))[1:]
        a, b, c = ops.exp(w), ops.exp(deep), ops.exp(v)
        value = w * 2
        update = ops.assign(w, value)
    subgraph = Subgraph((a, b, c), (update,))
    found = set(write_edges(subgraph))
    chain = {node for node in subgraph.nodes if node.op.is_view}
    assert found == {(reader, update) for reader in {a, b, value, *chain}}


# Regions.


@pytest.fixture
def looped() -> tuple[Schedule, dict[str, Node]]:
    """Return a schedule in which a region computes a loss and a gradient, block by block."""
    with Graph():
        x, w = placeholder("x", (None, 4)), variable("w", np.ones((4, 3), np.float32))
        y = x @ w
        z = ops.tanh(y)
        loss = z.sum()
        slope = x.T @ z
        update = ops.assign(w, w - slope)
    names = {"y": y, "z": z, "loss": loss, "slope": slope, "moved": update.inputs[1], "update": update}
    transposed = slope.inputs[0]
    inside = (single(y), single(z), single(loss), single(transposed), single(slope))
    combine = (Combine(loss, "sum"), Combine(slope, "sum"))
    region = Region("batch", 16, inside, private=(y, z, transposed), combine=combine)
    body: Body = (region, single(names["moved"]), single(update))
    return Schedule(Subgraph((loss,), (update,)), body), names


def changed(schedule: Schedule, **fields: object) -> Schedule:
    region, *rest = schedule.body
    assert isinstance(region, Region)
    return replace(schedule, body=(replace(region, **fields), *rest))  # type: ignore[arg-type]  # fields of Region


def region_of(schedule: Schedule) -> Region:
    region = schedule.body[0]
    assert isinstance(region, Region)
    return region


def test_sound_region_passes(looped: tuple[Schedule, dict[str, Node]]) -> None:
    schedule, names = looped
    verify_schedule(schedule)
    assert [group.root for group in groups_of(schedule.body)][-1] is names["update"]
    assert "for each 16 of batch:" in str(schedule)
    assert "    tanh" in str(schedule)


@pytest.mark.parametrize("block", [0, -1])
def test_block_without_size_is_found(looped: tuple[Schedule, dict[str, Node]], block: int) -> None:
    refuse(changed(looped[0], block=block), f"a region over batch has no work: block {block}")


def test_region_without_work_is_found(looped: tuple[Schedule, dict[str, Node]]) -> None:
    schedule, _ = looped
    empty = Region("batch", 16, ())
    refuse(replace(schedule, body=(*schedule.body, empty)), "has no work: block 16, 0 nodes")


@pytest.mark.parametrize("name", ["loss", "slope"])
def test_value_that_leaves_without_being_combined_is_found(looped: tuple[Schedule, dict[str, Node]], name: str) -> None:
    schedule, names = looped
    kept = tuple(each for each in region_of(schedule).combine if each.node is not names[name])
    refuse(changed(schedule, combine=kept), "leaves a region without being combined", names[name])


def test_private_value_that_leaks_is_found(looped: tuple[Schedule, dict[str, Node]]) -> None:
    schedule, names = looped
    private = (*region_of(schedule).private, names["slope"])
    refuse(changed(schedule, private=private), "is private to a region but not made there, or read", names["slope"])


def test_fetched_private_value_is_found(looped: tuple[Schedule, dict[str, Node]]) -> None:
    schedule, names = looped
    fetching = replace(schedule, subgraph=replace(schedule.subgraph, fetches=(names["loss"], names["z"])))
    region = region_of(fetching)
    body = tuple(replace(part, outputs=part.nodes) if isinstance(part, Group) else part for part in region.body)
    refuse(changed(fetching, body=body), "is private to a region", names["z"])


def test_private_value_from_elsewhere_is_found(looped: tuple[Schedule, dict[str, Node]]) -> None:
    schedule, names = looped
    private = (*region_of(schedule).private, names["moved"])
    refuse(changed(schedule, private=private), "is private to a region but not made there", names["moved"])


def test_combined_value_that_nobody_reads_is_found(looped: tuple[Schedule, dict[str, Node]]) -> None:
    schedule, names = looped
    combine = (*region_of(schedule).combine, Combine(names["y"], "concat"))
    refuse(changed(schedule, combine=combine), "is combined on leaving a region but nobody reads it", names["y"])


def test_order_within_a_region_is_checked(looped: tuple[Schedule, dict[str, Node]]) -> None:
    schedule, _ = looped
    refuse(changed(schedule, body=region_of(schedule).body[::-1]), "runs before its input")


def test_regions_within_regions_are_checked(looped: tuple[Schedule, dict[str, Node]]) -> None:
    schedule, names = looped
    outer = region_of(schedule)
    inner = Region("time", 1, outer.body[:2], private=(names["y"],), combine=(Combine(names["z"], "concat"),))
    verify_schedule(changed(schedule, body=(inner, *outer.body[2:])))
    leaking = replace(inner, combine=())
    refuse(changed(schedule, body=(leaking, *outer.body[2:])), "leaves a region without being combined", names["z"])
    refuse(changed(schedule, body=(replace(inner, block=0), *outer.body[2:])), "a region over time has no work")
