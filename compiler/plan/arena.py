"""Check that what is alive at the same time lies in different places."""

from __future__ import annotations

from graphnn.compiler.plan.form import Plan
from graphnn.ops.errors import CompileError


def verify_arena(plan: Plan) -> None:
    """Check that storages of the arena that are alive together do not overlap.

    Raises
    ------
    CompileError
        Naming the first two that do.
    """
    members = sorted((entry for entry in plan.storages if entry.kind == "arena"), key=lambda entry: entry.offset)
    for place, lower in enumerate(members):
        for upper in members[place + 1 :]:
            if upper.offset >= lower.offset + lower.nbytes:
                break
            if lower.first <= upper.last and upper.first <= lower.last:
                raise CompileError(f"plan: the memory of {lower.node.name!r} and of {upper.node.name!r} overlaps")
