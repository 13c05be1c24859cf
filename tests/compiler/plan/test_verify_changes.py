"""The verifier of plans against random changes: it finds each one, or the changed plan gives the same values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from compiler_checks import NUMPY, arena, compiled, replaced_view, verify, with_step, with_storage, without_step
from graphnn.compiler.plan.form import Plan, View
from graphnn.compiler.reference import batch_of
from graphnn.ops.dtypes import to_storage
from graphnn.ops.errors import CompileError
from random_graphs import RandomGraph, random_graph

Mutation = Callable[[Plan, np.random.Generator], Plan]


def any_index(generator: np.random.Generator, items: object) -> int:
    return int(generator.integers(len(items)))  # type: ignore[arg-type]  # a sequence


def move_storage(plan: Plan, generator: np.random.Generator) -> Plan:
    """Put a storage of the arena elsewhere."""
    members = arena(plan)
    if not members:
        return plan
    storage = members[any_index(generator, members)]
    other = members[any_index(generator, members)]
    near = storage.offset + 4 * int(generator.integers(-40, 40))
    offset = [other.offset, near, other.offset + other.nbytes][any_index(generator, range(3))]
    grown = replace(plan, arena_bytes=max(plan.arena_bytes, offset + storage.nbytes))
    return with_storage(grown, storage.index, offset=offset)


def drop_step(plan: Plan, generator: np.random.Generator) -> Plan:
    return without_step(plan, any_index(generator, plan.steps)) if plan.steps else plan


def move_step(plan: Plan, generator: np.random.Generator) -> Plan:
    """Let a step run at another time."""
    if not plan.steps:
        return plan
    number = any_index(generator, plan.steps)
    rest = without_step(plan, number).steps
    target = int(np.clip(number + generator.integers(-4, 5), 0, len(rest)))
    return replace(plan, steps=(*rest[:target], plan.steps[number], *rest[target:]))


def repeat_step(plan: Plan, generator: np.random.Generator) -> Plan:
    """Let a step run a second time, later."""
    if not plan.steps:
        return plan
    step = plan.steps[any_index(generator, plan.steps)]
    target = any_index(generator, plan.steps) + 1
    return replace(plan, steps=(*plan.steps[:target], step, *plan.steps[target:]))


def other_view(plan: Plan, view: View, generator: np.random.Generator) -> View:
    """Return a view of other bytes."""
    match any_index(generator, range(5)):
        case 0:
            return replace(view, storage=any_index(generator, plan.storages))
        case 1:
            candidates = [other for other in plan.views.values() if other.spec == view.spec]
            return candidates[any_index(generator, candidates)] if candidates else view
        case 2:
            return replace(view, offset=int(generator.integers(0, 8)))
        case 3 if view.spec.rank > 1:
            return replace(view, strides=tuple(reversed(view.bound_strides(plan.max_batch))))
        case _:
            return replace(view, strides=(0,) * view.spec.rank)


def change_read(plan: Plan, generator: np.random.Generator) -> Plan:
    numbers = [number for number, step in enumerate(plan.steps) if step.reads]
    if not numbers:
        return plan
    number = numbers[any_index(generator, numbers)]
    reads = list(plan.steps[number].reads)
    place = any_index(generator, reads)
    reads[place] = other_view(plan, reads[place], generator)
    return with_step(plan, number, reads=tuple(reads))


def change_write(plan: Plan, generator: np.random.Generator) -> Plan:
    if not plan.steps:
        return plan
    number = any_index(generator, plan.steps)
    return with_step(plan, number, writes=(other_view(plan, plan.steps[number].writes[0], generator),))


def change_workspace(plan: Plan, generator: np.random.Generator) -> Plan:
    numbers = [number for number, step in enumerate(plan.steps) if step.workspaces]
    if not numbers:
        return plan
    number = numbers[any_index(generator, numbers)]
    workspaces = list(plan.steps[number].workspaces)
    members = arena(plan)
    workspaces[any_index(generator, workspaces)] = members[any_index(generator, members)].index
    return with_step(plan, number, workspaces=tuple(workspaces))


def change_fetch(plan: Plan, generator: np.random.Generator) -> Plan:
    place = any_index(generator, plan.fetches)
    fetches = list(plan.fetches)
    fetches[place] = other_view(plan, fetches[place], generator)
    return replace(plan, fetches=tuple(fetches))


def change_value(plan: Plan, generator: np.random.Generator) -> Plan:
    """Put a computed value elsewhere, for its writer and all who know its view."""
    if not plan.steps:
        return plan
    number = any_index(generator, plan.steps)
    step = plan.steps[number]
    return replaced_view(plan, step.writes[0], other_view(plan, step.writes[0], generator))


MUTATIONS: list[Mutation] = [
    *(move_storage, move_storage, move_storage, drop_step, move_step, repeat_step),
    *(change_read, change_write, change_workspace, change_fetch, change_value),
]


def outcome(plan: Plan, found: RandomGraph) -> list[np.ndarray]:
    """Return what a run gives and writes, from memory that holds NaN; variables are restored."""
    store = found.graph.store
    before = {name: store.read(name) for name in found.graph.variables}
    stored = {node: to_storage(value, node.dtype) for node, value in found.feeds.items() if node in plan.feeds}
    loaded = NUMPY.load(plan)
    loaded._arena.fill(0xFF)  # type: ignore[attr-defined]  # stale values could be right by chance
    try:
        fetched = loaded.run(stored, batch_of(found.feeds))
        return [*fetched, *(store.read(name) for name in before)]
    finally:
        for name, value in before.items():
            store.write(name, value)


def mutants(found: RandomGraph, count: int, seed: int) -> Iterator[tuple[str, Plan, Plan]]:
    plan = compiled(found.fetches, found.updates, max_batch=batch_of(found.feeds) + 1).plan
    generator = np.random.default_rng(seed)
    for number in range(count):
        mutation = MUTATIONS[number % len(MUTATIONS)]
        yield mutation.__name__, plan, mutation(plan, generator)


def check_mutants(seed: int, count: int) -> tuple[int, int]:
    """Return how many changed plans were refused and accepted, after comparing what the accepted ones do."""
    found = random_graph(seed, nodes=40)
    refused = accepted = 0
    expected: list[np.ndarray] | None = None
    for name, plan, changed in mutants(found, count, seed):
        if changed == plan:
            continue
        try:
            verify(changed)
        except CompileError:
            refused += 1
            continue
        accepted += 1
        expected = outcome(plan, found) if expected is None else expected
        for wanted, actual in zip(expected, outcome(changed, found), strict=True):
            np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-5, err_msg=f"{name} of seed {seed}")
    return refused, accepted


def test_changes_are_found_or_harmless() -> None:
    figures = [check_mutants(seed, count=44) for seed in range(200, 206)]
    refused, accepted = (sum(column) for column in zip(*figures, strict=True))
    assert refused > 2 * accepted > 20, (refused, accepted)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(300, 500))
def test_many_changes_are_found_or_harmless(seed: int) -> None:
    check_mutants(seed, count=110)
