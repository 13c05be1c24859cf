"""The report: steps in order, storages with their places, memory by purpose, and the same as plain data."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from compiler_checks import compiled
from graphnn import ops
from graphnn.compiler.gradients import gradients
from graphnn.compiler.plan.form import Plan
from graphnn.compiler.plan.report import PEAK_ROWS, as_json, memory_by_purpose, memory_lines, peak
from graphnn.ops import Graph, constant, placeholder, variable
from networks import lenet


@pytest.fixture(scope="module")
def plan() -> Plan:
    network = lenet(size=12)
    return compiled([network.loss], network.updates, max_batch=10).plan


@pytest.fixture(scope="module")
def lines(plan: Plan) -> list[str]:
    return str(plan).splitlines()


def section(lines: list[str], title: str) -> list[list[str]]:
    """Return the cells of the table below a title."""
    start = lines.index(title) + 1
    stop = lines.index("", start) if "" in lines[start:] else len(lines)
    return [re.split(r"\s{2,}", line.strip()) for line in lines[start:stop]]


def number(text: str) -> int:
    return int(text.replace(",", ""))


def test_first_line_tells_the_cost(plan: Plan, lines: list[str]) -> None:
    assert lines[0] == f"plan for numpy: {len(plan.steps)} steps, {plan.flops:,} FLOP a run at batch 10"


def test_steps_are_listed_in_order(plan: Plan, lines: list[str]) -> None:
    header, *rows = section(lines, "steps")
    assert header[:4] == ["step", "group", "kernel", "node"]
    assert [int(row[0]) for row in rows] == list(range(len(plan.steps)))
    for row, step in zip(rows, plan.steps, strict=True):
        assert row[2:4] == [step.kernel, step.node.name]
        assert str(step.node.spec) in row
        assert row[-1] == f"{step.node.source.file}:{step.node.source.line}"
        for view in step.reads:
            assert f"#{view.storage}" in " ".join(row)


def test_storages_are_listed_with_place_and_life(plan: Plan, lines: list[str]) -> None:
    header, *rows = section(lines, "storages")
    assert header == ["storage", "kind", "offset", "bytes", "steps", "holds"]
    assert len(rows) == len(plan.storages)
    for row, storage in zip(rows, plan.storages, strict=True):
        assert row[:2] == [f"#{storage.index}", storage.kind]
        if storage.kind == "arena":
            assert (number(row[2]), number(row[3])) == (storage.offset, storage.nbytes)
            assert row[4] == f"{storage.first}-{storage.last}"
        else:
            assert number(row[2]) == storage.nbytes
        assert storage.node.name in row[-1]
        assert storage.is_workspace == row[-1].startswith("workspace of ")


def test_storage_names_all_values_that_it_holds() -> None:
    with Graph():
        x = placeholder("x", (2,))
        y = ops.tanh(ops.exp(x) * 2)
        text = str(compiled([y]).plan)
    assert "exp, multiply, tanh" in text


def test_arena_stands_beside_its_lower_bound(plan: Plan, lines: list[str]) -> None:
    ratio = plan.arena_bytes / plan.lower_bound_bytes
    assert f"arena: {plan.arena_bytes:,} bytes (lower bound {plan.lower_bound_bytes:,}, {ratio:.3f} times)" in lines


def test_peak_is_where_most_bytes_live(plan: Plan) -> None:
    step, alive = peak(plan)
    members = [storage for storage in plan.storages if storage.kind == "arena"]
    sums = [sum(s.nbytes for s in members if s.first <= n <= s.last) for n in range(len(plan.steps))]
    assert sums[step] == max(sums)
    assert step == sums.index(max(sums))
    assert sum(storage.nbytes for storage in alive) == max(sums)


def test_peak_names_its_largest_values_and_their_lines(plan: Plan) -> None:
    text = memory_lines(plan)
    step, alive = peak(plan)
    assert f"the peak is at step {step} ({plan.steps[step].node.name}); its largest values:" in text
    rows = text[text.index(next(line for line in text if "the peak is" in line)) + 2 :]
    assert len(rows) == min(PEAK_ROWS, len(alive))
    sizes = [number(row.split()[0]) for row in rows]
    assert sizes == sorted((storage.nbytes for storage in alive), reverse=True)[:PEAK_ROWS]
    assert all("networks.py:" in row for row in rows)


def test_memory_by_purpose_adds_up(plan: Plan) -> None:
    sizes = memory_by_purpose(plan)
    outside = sum(storage.nbytes for storage in plan.storages if storage.kind != "arena")
    assert sum(sizes.values()) == outside + sum(storage.nbytes for storage in peak(plan)[1])
    weights = [storage for storage in plan.storages if storage.kind == "variable"]
    trainable = sum(s.nbytes for s in weights if not s.node.name.endswith("momentum"))
    assert sizes["weights"] == trainable
    assert sizes["optimiser state"] == trainable
    assert sizes["feeds"] == 10 * 12 * 12 + 10 * 4
    assert sizes["workspace"] > 0


def test_purposes() -> None:
    with Graph():
        x = placeholder("x", (None, 8))
        w = variable("w", np.ones((8, 16), np.float32))
        table = constant(np.ones((16, 4), np.float32))
        y = ops.tanh(x @ w)
        loss = (y @ table).sum()
        (slope,) = gradients(loss, [w])
        plan = compiled([loss, y, slope], max_batch=4).plan
    sizes = memory_by_purpose(plan)
    assert sizes["weights"] == 8 * 16 * 4
    assert sizes["optimiser state"] == 0
    assert sizes["feeds"] == 4 * 8 * 4
    assert sizes["constants"] >= 16 * 4 * 4
    assert sizes["activations"] >= 4 * 16 * 4 + 4
    assert sizes["gradients"] >= 8 * 16 * 4


def test_every_purpose_is_printed(plan: Plan, lines: list[str]) -> None:
    for purpose, nbytes in memory_by_purpose(plan).items():
        row = next(line for line in lines if line.strip().startswith(purpose))
        assert row.split()[-1] == f"{nbytes:,}"


def test_plain_data_can_be_written_as_json(plan: Plan) -> None:
    data = json.loads(json.dumps(as_json(plan)))
    assert data["target"] == "numpy"
    assert data["arena_bytes"] == plan.arena_bytes
    assert data["lower_bound_bytes"] == plan.lower_bound_bytes
    assert data["flops"] == plan.flops
    assert data["memory"] == memory_by_purpose(plan)
    assert [step["node"] for step in data["steps"]] == [step.node.name for step in plan.steps]
    assert [storage["bytes"] for storage in data["storages"]] == [storage.nbytes for storage in plan.storages]
    for entry, storage in zip(data["storages"], plan.storages, strict=True):
        assert ("offset" in entry) == (storage.kind == "arena")
    for entry, step in zip(data["steps"], plan.steps, strict=True):
        assert entry["reads"] == [view.storage for view in step.reads]
        assert entry["workspaces"] == list(step.workspaces)


def test_steps_that_passes_made_name_the_users_nodes() -> None:
    with Graph():
        x = placeholder("x", (2,))
        w = variable("w", [1.0, 2.0])
        y = x**2
        data = as_json(compiled([y, w], [ops.assign(w, x)]).plan)
    steps = data["steps"]
    assert isinstance(steps, list)
    assert [step["origin"] for step in steps] == [["w"], ["power"], ["assign"]] or [
        step["origin"] for step in steps
    ] == [["power"], ["w"], ["assign"]]


def test_plan_without_steps_has_a_report() -> None:
    with Graph():
        x = placeholder("x", (2,))
        plan = compiled([x]).plan
    assert "plan for numpy: 0 steps, 0 FLOP a run at batch 1" in str(plan)
    assert "arena: 0 bytes (lower bound 0)" in str(plan)
    assert peak(plan) == (0, [])
    json.dumps(as_json(plan))


def test_report_depends_on_the_graph_alone() -> None:
    texts = set()
    for _ in range(2):
        network = lenet(size=12)
        texts.add(str(compiled([network.loss], network.updates, max_batch=10).plan))
    assert len(texts) == 1
