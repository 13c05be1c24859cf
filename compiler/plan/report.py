"""A plan in words: its steps, its storages and what makes its peak, for `print(executor.plan)`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from graphnn.ops.node import Node
from graphnn.ops.state import Variable

if TYPE_CHECKING:
    from graphnn.compiler.plan.form import KernelCall, Plan, Storage

PEAK_ROWS = 8
"""How many of the storages that make the peak are listed."""


LISTED = 8
"""Storages of a step that the report names."""


def describe(plan: Plan) -> str:
    """Return the whole report."""
    parts = [
        f"plan for {plan.target}: {len(plan.steps)} steps, {plan.flops:,} FLOP a run at batch {plan.max_batch}",
        "",
        "steps",
        *_table(_step_rows(plan)),
        "",
        "storages",
        *_table(_storage_rows(plan)),
        "",
        *memory_lines(plan),
    ]
    return "\n".join(parts)


def _step_rows(plan: Plan) -> Iterable[Sequence[str]]:
    yield ("step", "group", "kernel", "node", "result", "reads", "writes", "at")
    for number, step in enumerate(plan.steps):
        yield (
            str(number),
            str(step.group),
            step.kernel,
            step.node.name,
            str(step.node.spec),
            _listed(view.storage for view in step.reads),
            _listed(view.storage for view in step.writes),
            f"{step.node.source.file}:{step.node.source.line}",
        )
        for place, inner in enumerate(step.inner):
            node = inner.node
            at = f"{node.source.file}:{node.source.line}"
            yield (f"{number}.{place}", "", inner.kernel, node.name, str(node.spec), "", inner.place, at)


def _listed(storages: Iterable[int]) -> str:
    """Return storages as text, each once; of many the first ones."""
    different = list(dict.fromkeys(storages))
    left = len(different) - LISTED
    names = ", ".join(f"#{storage}" for storage in different[:LISTED])
    return f"{names} and {left} more" if left > 0 else names


def _storage_rows(plan: Plan) -> Iterable[Sequence[str]]:
    yield ("storage", "kind", "offset", "bytes", "steps", "holds")
    holds = _contents(plan)
    for storage in plan.storages:
        in_arena = storage.kind == "arena"
        yield (
            f"#{storage.index}",
            storage.kind,
            f"{storage.offset:,}" if in_arena else "",
            f"{storage.nbytes:,}",
            f"{storage.first}-{storage.last}" if in_arena else "",
            f"workspace of {storage.node.name}" if storage.is_workspace else ", ".join(holds[storage.index]),
        )


def _contents(plan: Plan) -> dict[int, list[str]]:
    """Return the names of the values that each storage holds in the course of a run."""
    holds: dict[int, list[str]] = {storage.index: [storage.node.name] for storage in plan.storages}
    for step in plan.steps:
        for view in step.writes:
            if step.node.name not in holds[view.storage]:
                holds[view.storage].append(step.node.name)
    return holds


def memory_lines(plan: Plan) -> list[str]:
    """Return the memory a run needs, by purpose, and the values that make the peak."""
    bound = plan.lower_bound_bytes
    ratio = f", {plan.arena_bytes / bound:.3f} times" if bound else ""
    rows = [("purpose", "bytes")] + [(label, f"{nbytes:,}") for label, nbytes in memory_by_purpose(plan).items()]
    lines = [f"arena: {plan.arena_bytes:,} bytes (lower bound {bound:,}{ratio})", "", *_table(rows)]
    step, alive = peak(plan)
    if alive:
        lines += ["", f"the peak is at step {step} ({plan.steps[step].node.name}); its largest values:"]
        largest = sorted(alive, key=lambda storage: (-storage.nbytes, storage.index))[:PEAK_ROWS]
        lines += _table([("bytes", "value", "at"), *(_peak_row(storage) for storage in largest)])
    return lines


def _peak_row(storage: Storage) -> tuple[str, str, str]:
    what = f"workspace of {storage.node.name}" if storage.is_workspace else storage.node.name
    return f"{storage.nbytes:,}", what, str(storage.node.source)


def memory_by_purpose(plan: Plan) -> dict[str, int]:
    """Return bytes by purpose: variables and inputs as a whole, values of the arena as they are at the peak."""
    sizes = dict.fromkeys(
        ("weights", "optimiser state", "constants", "feeds", "activations", "gradients", "workspace"), 0
    )
    for storage in plan.storages:
        if storage.kind != "arena":
            sizes[_purpose_outside(storage)] += storage.nbytes
    for storage in peak(plan)[1]:
        sizes[_purpose_inside(storage)] += storage.nbytes
    return sizes


def _purpose_outside(storage: Storage) -> str:
    if isinstance(storage.node.op, Variable):
        return "weights" if storage.node.op.trainable else "optimiser state"
    return "feeds" if storage.kind == "feed" else "constants"


def _purpose_inside(storage: Storage) -> str:
    if storage.is_workspace:
        return "workspace"
    return "gradients" if is_gradient(storage.node) else "activations"


def is_gradient(node: Node) -> bool:
    """Whether a node belongs to the backward pass, or to arithmetic on its results."""
    return node.grad_of is not None or any(given.grad_of is not None for given in node.inputs)


def peak(plan: Plan) -> tuple[int, list[Storage]]:
    """Return the first step with the most bytes alive in the arena, and the storages alive then."""
    changes = [0] * (len(plan.steps) + 2)
    members = [storage for storage in plan.storages if storage.kind == "arena"]
    for storage in members:
        changes[storage.first] += storage.nbytes
        changes[storage.last + 1] -= storage.nbytes
    best, best_bytes, alive = 0, 0, 0
    for step, change in enumerate(changes):
        alive += change
        if alive > best_bytes:
            best, best_bytes = step, alive
    return best, [storage for storage in members if storage.first <= best <= storage.last]


def as_json(plan: Plan) -> dict[str, object]:
    """Return the plan as plain data, for viewing in other tools; it can't be loaded back."""

    def step(call: KernelCall) -> dict[str, object]:
        return {
            "kernel": call.kernel,
            "node": call.node.name,
            "origin": [node.name for node in call.node.users_nodes],
            "group": call.group,
            "result": str(call.node.spec),
            "reads": [view.storage for view in call.reads],
            "writes": [view.storage for view in call.writes],
            "workspaces": list(call.workspaces),
            "at": f"{call.node.source.file}:{call.node.source.line}",
            "inner": [
                {
                    "kernel": inner.kernel,
                    "nodes": [node.name for node in inner.nodes],
                    "result": str(inner.node.spec),
                    "place": inner.place,
                    "at": f"{inner.node.source.file}:{inner.node.source.line}",
                }
                for inner in call.inner
            ],
        }

    def storage(entry: Storage) -> dict[str, object]:
        data: dict[str, object] = {"kind": entry.kind, "bytes": entry.nbytes, "node": entry.node.name}
        if entry.kind == "arena":
            data |= {"offset": entry.offset, "first": entry.first, "last": entry.last}
        return data

    return {
        "target": plan.target,
        "max_batch": plan.max_batch,
        "flops": plan.flops,
        "arena_bytes": plan.arena_bytes,
        "lower_bound_bytes": plan.lower_bound_bytes,
        "memory": memory_by_purpose(plan),
        "steps": [step(call) for call in plan.steps],
        "storages": [storage(entry) for entry in plan.storages],
    }


def _table(rows: Iterable[Sequence[str]]) -> list[str]:
    """Return rows as lines, their columns aligned: numbers to the right, all else to the left."""
    cells = [list(row) for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    numeric = [all(_is_number(row[column]) for row in cells[1:]) for column in range(len(widths))]
    return [
        "  "
        + "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in cells
    ]


def _is_number(text: str) -> bool:
    return text.replace(",", "").isdigit() or not text
