"""Where the time of a run goes, step by step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from graphnn.compiler.plan.form import Plan


@dataclass(frozen=True)
class ProfileRow:
    """One step's share of a run."""

    kernel: str
    node: str
    seconds: float
    flops: int
    source: str


@dataclass(frozen=True)
class Profile:
    """The steps of a run with their times; printing it lists the slowest first."""

    rows: tuple[ProfileRow, ...]
    batch: int

    @classmethod
    def of(cls, plan: Plan, batch: int, seconds: Iterable[float]) -> Profile:
        """Join a plan's steps with their times."""
        rows = []
        for step, time in zip(plan.steps, seconds, strict=True):
            node = step.node
            inputs = [given.spec.bind(batch) for given in node.inputs]
            flops = node.op.flops(node.spec.bind(batch), *inputs)
            rows.append(ProfileRow(step.kernel, node.name, float(time), flops, str(node.source)))
        return cls(tuple(rows), batch)

    @property
    def seconds(self) -> float:
        """Time of all steps together."""
        return sum(row.seconds for row in self.rows)

    def __str__(self) -> str:
        lines = [f"{len(self.rows)} steps at batch {self.batch}: {self.seconds * 1e3:.3f} ms"]
        lines.append(f"{'ms':>9} {'share':>6} {'GFLOP/s':>8}  kernel and node")
        for row in sorted(self.rows, key=lambda row: -row.seconds):
            share = row.seconds / self.seconds if self.seconds else 0.0
            rate = row.flops / row.seconds / 1e9 if row.seconds else 0.0
            lines.append(f"{row.seconds * 1e3:9.3f} {share:6.1%} {rate:8.2f}  {row.kernel} {row.node}")
        return "\n".join(lines)
