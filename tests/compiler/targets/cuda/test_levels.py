"""Independent kernels do not wait for each other's memory, as long as that memory is small."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pytest

import graphnn as gn
from cuda_devices import NO_MACHINE, check
from cuda_kernels import needs_emulator
from graphnn import ops
from graphnn.compiler.pipeline import Options, compile_graph
from graphnn.compiler.plan.form import KernelCall, Plan, View
from graphnn.compiler.targets.cuda import levels
from graphnn.compiler.targets.cuda.concurrency import Access, waits
from graphnn.compiler.targets.cuda.levels import spans
from graphnn.compiler.targets.cuda.target import CudaTarget
from networks import lenet


def plan_of(fetches: Sequence[gn.Node], updates: Sequence[gn.Node] = (), max_batch: int = 8) -> Plan:
    return compile_graph(fetches, updates, Options(CudaTarget(NO_MACHINE), max_batch, bool(updates))).plan


def longest_way(plan: Plan, behind: Iterable[Sequence[int]]) -> int:
    """Return the number of kernels on the longest way through a step, given what each one waits for."""
    lengths: list[int] = []
    for earlier in behind:
        lengths.append(1 + max((lengths[number] for number in earlier), default=0))
    assert len(lengths) == len(plan.steps)
    return max(lengths)


def through_memory(plan: Plan) -> list[tuple[int, ...]]:
    """Return what each step waits for in a recorded run."""

    def span(view: View) -> tuple[int, int]:
        storage = plan.storages[view.storage]
        low, high = view.byte_range(plan.max_batch)
        start = storage.offset if storage.kind == "arena" else (storage.index + 1) << 40
        return start + low, start + high

    def access(step: KernelCall) -> Access:
        rooms = [plan.storages[index] for index in step.workspaces]
        works = [(room.offset, room.offset + room.nbytes) for room in rooms]
        return Access(tuple(map(span, step.reads)), (*map(span, step.writes), *works))

    return waits([access(step) for step in plan.steps])


def through_data(plan: Plan) -> list[tuple[int, ...]]:
    """Return what each step waits for because of the values that it reads, or of the variables that it writes."""
    makers: dict[int, int] = {}
    found: list[tuple[int, ...]] = []
    for number, step in enumerate(plan.steps):
        variables = {view.storage for view in step.writes if plan.storages[view.storage].kind == "variable"}
        readers = (k for k in range(number) if variables & {view.storage for view in plan.steps[k].reads})
        found.append((*(makers[view.storage] for view in step.reads if view.storage in makers), *readers))
        makers |= {view.storage: number for view in step.writes}
    return found


@pytest.mark.parametrize("batch", [4, 100])
def test_no_way_through_a_training_step_is_longer_than_its_data_make_it(batch: int) -> None:
    network = lenet()
    plan = plan_of([network.loss], network.updates, batch)
    longest = longest_way(plan, through_data(plan))
    assert longest_way(plan, through_memory(plan)) == longest < len(plan.steps)


def test_one_after_the_other_ways_are_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the levels are for: without them the same step has a longer way, in less memory."""
    network = lenet()
    level_plan = plan_of([network.loss], network.updates, 100)
    monkeypatch.setattr(levels, "SMALL_BYTES", 0)
    monkeypatch.setattr(levels, "DEARER", 0)
    plan = plan_of([network.loss], network.updates, 100)
    assert longest_way(plan, through_memory(plan)) > longest_way(plan, through_data(plan))
    assert plan.arena_bytes < level_plan.arena_bytes


def sums_of_branches(size: int, branches: int = 8) -> Plan:
    """Return the plan of sums over values that are large, each of which can be made and given up before the next."""
    with gn.Graph():
        x = gn.placeholder("x", (size,))
        largest = [ops.softmax(x * float(k + 1), 0).max() for k in range(branches)]
        return plan_of([sum(largest, start=x.min())])


def test_small_branches_stand_side_by_side() -> None:
    plan = sums_of_branches(1000)
    assert longest_way(plan, through_memory(plan)) == longest_way(plan, through_data(plan)) < len(plan.steps) / 2
    assert plan.arena_bytes > 8 * 4000


def test_large_branches_share_their_memory() -> None:
    size = 8 << 20
    plan = sums_of_branches(size)
    assert plan.arena_bytes < 3 * 4 * size


@needs_emulator
def test_values_are_right_in_levels() -> None:
    def build() -> tuple[list[gn.Node], list[gn.Node]]:
        x, w = gn.placeholder("x", (None, 6)), gn.variable("w", np.eye(6, dtype=np.float32))
        values = [ops.softmax((x @ w) * float(k + 1)) for k in range(4)]
        return [sum((value.max(1) for value in values), start=x.min(1))], [ops.assign(w, w + (x.T @ values[0]) * 0.1)]

    check(build, "cuda-emulator")


@pytest.mark.parametrize("slack", [0, 1, 2])
def test_a_step_may_run_beside_its_level_and_the_next_ones(slack: int) -> None:
    ends = [2, 2, 5, 6]
    found = spans(ends, slack)
    assert [span.start for span in found] == [0, 0, 2, 2, 2, 5]
    assert [span.stop for span in found] == [ends[min(level + slack, 3)] for level in (0, 0, 2, 2, 2, 3)]
