"""Order units so that those which need nothing of each other stand side by side.

Before: units and which has to run before which.
After: levels. A unit's level is the number of units on the longest way that leads to it; those of one level are
independent. Memory that a level uses is given away only to the level after the next one. A kernel then waits for
another one's memory only where the other stands well below it, and no way through the step grows longer than its data
make it.

That costs memory: what the units of two levels use is alive together. Where it would cost much, each unit is a level
of its own, in the order of the schedule: large kernels fill a card alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

import networkx

from graphnn.compiler.targets.cuda.units import Unit, value_behind
from graphnn.ops.node import Node
from graphnn.ops.state import Assign

Levels = list[tuple[Unit, ...]]

SMALL_BYTES = 32 << 20
"""What units side by side may always use together: about what the L2 cache of a large card holds."""

DEARER = 1.25
"""How many times the memory of one unit after the other they may use beyond that."""

SLACK = 1
"""How many levels a kernel may take longer than others of its level before one waits for its memory."""


def in_levels(
    graph: networkx.DiGraph[Unit], position: Mapping[Node, int], fetches: Iterable[Node], max_batch: int
) -> Levels:
    """Return units in levels.

    Parameters
    ----------
    graph : networkx.DiGraph of Unit
        Edges lead from what has to run before to what has to run after.
    position : mapping of Node to int
        The schedule's order.
    fetches : iterable of Node
        Values that are alive to the end.
    max_batch : int
        The largest batch.
    """
    alone = one_by_one(graph, position)
    together = _levels(alone, graph)
    kept = {value_behind(node) for node in fetches}
    dearest = max(SMALL_BYTES, DEARER * _most_alive(alone, kept, max_batch))
    return together if _most_alive(together, kept, max_batch) <= dearest else alone


def slack(levels: Levels) -> int:
    """Return how many further levels what a level uses is kept for: none where each has one unit."""
    return SLACK if any(len(units) > 1 for units in levels) else 0


def one_by_one(graph: networkx.DiGraph[Unit], position: Mapping[Node, int]) -> Levels:
    """Return each unit as a level of its own, in the order of the schedule as far as the edges allow."""
    order = networkx.lexicographical_topological_sort(graph, key=lambda unit: position[unit.root])
    return [(unit,) for unit in order]


def _levels(order: Levels, graph: networkx.DiGraph[Unit]) -> Levels:
    level: dict[Unit, int] = {}
    found: list[list[Unit]] = []
    for (unit,) in order:
        level[unit] = 1 + max((level[before] for before in graph.predecessors(unit)), default=-1)
        if level[unit] == len(found):
            found.append([])
        found[level[unit]].append(unit)
    return [tuple(units) for units in found]


def _most_alive(levels: Levels, kept: set[Node], max_batch: int) -> int:
    """Return the most bytes of results that are alive at a level."""
    longer = slack(levels)
    last = dict.fromkeys(kept, len(levels) - 1)
    for number, units in reversed(list(enumerate(levels))):
        for given in (given for unit in units for given in unit.values_read):
            last.setdefault(value_behind(given), number)
    change = [0] * (len(levels) + 1)
    for number, units in enumerate(levels):
        for node in (node for unit in units for node in unit.outputs if not isinstance(node.op, Assign)):
            nbytes = node.spec.nbytes(max_batch)
            change[number] += nbytes
            change[min(last.get(node, number) + longer + 1, len(levels))] -= nbytes
    return max(accumulate(change))


def spans(ends: Sequence[int], slack: int) -> list[range]:
    """Return for each step beside which ones it may still run: those of its level, and of the `slack` levels behind it.

    Parameters
    ----------
    ends : sequence of int
        For each level the number of steps up to its end.
    slack : int
        Further levels.

    Examples
    --------
    >>> spans([1, 3, 4], slack=0)
    [range(0, 1), range(1, 3), range(1, 3), range(3, 4)]
    >>> spans([1, 3, 4], slack=1)
    [range(0, 3), range(1, 4), range(1, 4), range(3, 4)]
    """
    starts = [0, *ends]
    return [
        range(start, ends[min(number + slack, len(ends) - 1)])
        for number, (start, end) in enumerate(zip(starts, ends, strict=False))
        for _ in range(start, end)
    ]
