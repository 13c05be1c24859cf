"""Where the time of a run goes, step by step."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from graphnn.compiler.plan.form import KernelCall, Plan
from graphnn.compiler.target import StepTime
from graphnn.ops.node import Node


@dataclass(frozen=True)
class ProfileRow:
    """One step's share of a run.

    Attributes
    ----------
    kernel, node : str
        The kernel's name, and the node whose value it makes or moves.
    seconds : float
        The median of its time.
    flops : int
        Arithmetic operations of the nodes that it computes.
    nbytes : int
        Bytes of the values that it reads and of those that it writes, each counted once.
    source : str
        The user's line that made the node.
    inner : tuple of ProfileRow
        What a step did that is a compiled program: a row for each kernel in it; ``combine sums``, in which threads
        add up their sums over the batch; and ``wait``, for other threads and for being started. Their seconds add
        up to the step's. They are those of one thread, the last: where blocks of examples do not divide evenly, it
        has the most. FLOPs and bytes are those of all threads, so that their rates are rates of all threads.
    """

    kernel: str
    node: str
    seconds: float
    flops: int
    nbytes: int
    source: str
    inner: tuple[ProfileRow, ...] = ()


@dataclass(frozen=True)
class Profile:
    """The steps of a run with their times; printing it lists the slowest first."""

    rows: tuple[ProfileRow, ...]
    batch: int

    @classmethod
    def of(cls, plan: Plan, batch: int, runs: Sequence[Sequence[StepTime]]) -> Profile:
        """Join a plan's steps with their times in several runs."""
        rows = (_row(step, batch, [run[number] for run in runs]) for number, step in enumerate(plan.steps))
        return cls(tuple(rows), batch)

    @property
    def seconds(self) -> float:
        """Time of all steps together."""
        return sum(row.seconds for row in self.rows)

    def __str__(self) -> str:
        lines = [f"{len(self.rows)} steps at batch {self.batch}: {self.seconds * 1e3:.3f} ms"]
        lines.append(f"{'ms':>9} {'share':>6} {'GFLOP/s':>8} {'GB/s':>7}  kernel and node")
        for row in _slowest_first(self.rows):
            lines.append(self._line(row))
            lines += [self._line(inner, "  ") for inner in _slowest_first(row.inner)]
        return "\n".join(lines)

    def _line(self, row: ProfileRow, indent: str = "") -> str:
        share = row.seconds / self.seconds if self.seconds else 0.0
        flops, nbytes = (amount / row.seconds / 1e9 if row.seconds else 0.0 for amount in (row.flops, row.nbytes))
        name = f"{indent}{row.kernel} {row.node}".rstrip()
        return f"{row.seconds * 1e3:9.3f} {share:6.1%} {flops:8.2f} {nbytes:7.2f}  {name}"


def _slowest_first(rows: Iterable[ProfileRow]) -> list[ProfileRow]:
    return sorted(rows, key=lambda row: -row.seconds)


def _row(step: KernelCall, batch: int, times: Sequence[StepTime]) -> ProfileRow:
    inner = tuple(_inner_rows(step, batch, times))
    if inner:  # sums of medians, so that what is printed adds up
        seconds, nbytes = sum(row.seconds for row in inner), sum(row.nbytes for row in inner)
    else:
        seconds = statistics.median(time.seconds for time in times)
        nbytes = sum(view.spec.nbytes(batch) for view in (*step.reads, *step.writes))
    flops, source = _flops(step.nodes, batch), str(step.node.source)
    return ProfileRow(step.kernel, step.node.name, seconds, flops, nbytes, source, inner)


def _inner_rows(step: KernelCall, batch: int, times: Sequence[StepTime]) -> Iterator[ProfileRow]:
    for number, inner in enumerate(step.inner):
        seconds = statistics.median(time.inner[number] for time in times)
        nbytes = sum(node.spec.nbytes(batch) for node in (*inner.reads, *inner.writes))
        flops, source = _flops(inner.nodes, batch), str(inner.node.source)
        yield ProfileRow(inner.kernel, inner.node.name, seconds, flops, nbytes, source)
    for what in times[0].between:
        seconds = statistics.median(time.between[what] for time in times)
        yield ProfileRow(what, "", seconds, 0, 0, str(step.node.source))


def _flops(nodes: Iterable[Node], batch: int) -> int:
    """Return the arithmetic of nodes in a run over `batch` examples."""
    return sum(
        node.op.flops(node.spec.bind(batch), *(given.spec.bind(batch) for given in node.inputs)) for node in nodes
    )
