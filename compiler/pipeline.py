"""The whole compile on one screen: graph → subgraph → schedule → plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from graphnn.compiler.passes.advance_random_step import advance_random_step
from graphnn.compiler.passes.fold_constants import fold_constants
from graphnn.compiler.passes.merge_equal import merge_equal
from graphnn.compiler.passes.pool_first import pool_first
from graphnn.compiler.passes.prune import prune
from graphnn.compiler.passes.resolve_training import resolve_training
from graphnn.compiler.passes.simplify import simplify
from graphnn.compiler.passes.snapshot_reads import snapshot_reads
from graphnn.compiler.plan.form import Plan
from graphnn.compiler.schedule.form import Schedule, verify_schedule
from graphnn.compiler.schedule.fuse import fuse
from graphnn.compiler.schedule.order import order
from graphnn.compiler.subgraph import Subgraph, verify_subgraph
from graphnn.compiler.target import Target
from graphnn.ops.node import Node

Pass = Callable[[Subgraph], Subgraph]
PASSES: tuple[Pass, ...] = (
    prune,
    advance_random_step,
    simplify,
    fold_constants,
    simplify,
    pool_first,
    merge_equal,
    snapshot_reads,
)


@dataclass(frozen=True)
class Options:
    """What a compile depends on besides the graph.

    Attributes
    ----------
    target : Target
        The machine.
    max_batch : int
        The largest batch that the plan must serve.
    training : bool
        Which branch of `ops.when_training` counts.
    writes_last : bool
        Write no variable before everything else is done, since a step may fail.
    verify : bool
        Check each form after each pass.
    """

    target: Target
    max_batch: int
    training: bool
    writes_last: bool = False
    verify: bool = False


@dataclass(frozen=True)
class Compiled:
    """A plan, the schedule it came from, and the subgraph after the last pass; with `verify`, after each pass."""

    plan: Plan
    schedule: Schedule
    stages: tuple[tuple[str, Subgraph], ...] = field(repr=False)


def improve(graph: Subgraph, options: Options) -> list[tuple[str, Subgraph]]:
    """Run the graph passes; return the user's graph and what became of it after each, by the pass's name."""
    stages = [("the user's graph", graph), (resolve_training.__name__, resolve_training(graph, options.training))]
    for graph_pass in PASSES:
        subgraph = graph_pass(stages[-1][1])
        stages.append((graph_pass.__name__, subgraph))
        if options.verify:
            verify_subgraph(subgraph, graph_pass.__name__, original=stages[-2][1])
    if not options.verify:
        verify_subgraph(stages[-1][1], stages[-1][0], original=graph)
    return stages


def compile_graph(fetches: Sequence[Node], updates: Sequence[Node], options: Options) -> Compiled:
    """Compile what fetches and updates need into a plan."""
    stages = improve(Subgraph(tuple(fetches), tuple(updates)), options)
    subgraph = stages[-1][1]
    groups = fuse(subgraph, separate_writes=options.writes_last)
    schedule = order(subgraph, groups, writes_last=options.writes_last)
    verify_schedule(schedule)
    plan = options.target.build(schedule, options.max_batch, options.writes_last)
    if options.verify:
        options.target.verify(plan)
    return Compiled(plan, schedule, tuple(stages if options.verify else stages[-1:]))
