"""Find what a step makes of the rows of one data set alone: that can be done once for all rows.

Before: each step copies rows of a data set, then casts and scales them.
After: a kernel has cast and scaled the whole data set on the device, and a step copies rows of that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from graphnn.compiler.plan.form import KernelCall, Plan
from graphnn.compiler.targets.cuda.lowering import Lowered
from graphnn.compiler.targets.cuda.units import is_pointwise
from graphnn.ops.node import Node
from graphnn.ops.reduce import Size
from graphnn.ops.spec import Dim


@dataclass(frozen=True)
class Preparation:
    """A step that computes each row of its result from the same row of a feed.

    Attributes
    ----------
    step : KernelCall
        It reads and writes one view each.
    feed : Node
        The placeholder.
    """

    step: KernelCall
    feed: Node

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of the result."""
        return self.step.writes[0].spec.nbytes(1)


def preparations(plan: Plan, kernels: Mapping[str, Lowered], resident: Collection[Node]) -> Iterator[Preparation]:
    """Yield the steps of a plan that only prepare rows of resident data sets."""
    feeds = {view.storage: node for node, view in plan.feeds.items()}
    for step in plan.steps:
        if step.kernel not in kernels or len(step.reads) != 1 or len(step.writes) != 1 or step.workspaces:
            continue
        (read,), (write,) = step.reads, step.writes
        feed = feeds.get(read.storage)
        whole = all(view.strides is None and view.offset == 0 for view in (read, write))
        by_rows = read.spec.shape == write.spec.shape and write.spec.shape[:1] == (Dim(1),)
        if feed in resident and whole and by_rows and _is_row_by_row(step):
            assert feed is not None
            yield Preparation(step, feed)


def _is_row_by_row(step: KernelCall) -> bool:
    """Whether each element of a result comes from those at the same place, whatever the batch size is."""
    seen: set[Node] = set()
    waiting = list(step.nodes)
    while waiting:
        node = waiting.pop()
        if isinstance(node.op, Size):
            return False
        if node not in seen:
            seen.add(node)
            waiting += node.inputs
    return all(map(is_pointwise, step.nodes))
