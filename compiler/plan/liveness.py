"""Find out from which step to which each storage of the arena is in use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from graphnn.compiler.plan.form import KernelCall, Storage, View


def with_lifetimes(storages: Sequence[Storage], steps: Sequence[KernelCall], fetches: Iterable[View]) -> list[Storage]:
    """Return the storages with their first and last step. What is fetched lives to the end of the run."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for number, step in enumerate(steps):
        for storage in touched(step):
            first.setdefault(storage, number)
            last[storage] = number
    for view in fetches:
        first.setdefault(view.storage, 0)
        last[view.storage] = max(0, len(steps) - 1)
    return [
        replace(storage, first=first.get(storage.index, 0), last=last.get(storage.index, 0)) for storage in storages
    ]


def touched(step: KernelCall) -> Iterable[int]:
    """Yield the storages that a step reads, writes or works in."""
    yield from (view.storage for view in step.reads)
    yield from (view.storage for view in step.writes)
    yield from step.workspaces
