"""Find out from which step to which each storage of the arena is in use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from graphnn.compiler.plan.form import KernelCall, Storage, View


def with_lifetimes(
    storages: Sequence[Storage],
    steps: Sequence[KernelCall],
    fetches: Iterable[View],
    beside: Sequence[range] | None = None,
) -> list[Storage]:
    """Return the storages with their first and last step. What is fetched lives to the end of the run.

    Where steps need not run one after the other, `beside` says for each one beside which steps it may still run; in
    all of these lives what it touches.
    """
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for number, step in enumerate(steps):
        span = range(number, number + 1) if beside is None else beside[number]
        for storage in touched(step):
            first[storage] = min(first.get(storage, number), span.start)
            last[storage] = max(last.get(storage, number), span.stop - 1)
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
