"""What the tests of the compiler share: comparing graphs by structure, and running plans without an executor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from graphnn.compiler.pipeline import Compiled, Options, compile_graph
from graphnn.compiler.plan.form import KernelCall, Plan, Storage, View
from graphnn.compiler.plan.verify import verify_plan
from graphnn.compiler.reference import batch_of, evaluate
from graphnn.compiler.subgraph import Subgraph, topological
from graphnn.compiler.targets.numpy.target import NumpyTarget
from graphnn.ops import Node
from graphnn.ops.dtypes import to_interface, to_storage
from graphnn.ops.errors import CompileError

Feeds = Mapping[Node, np.ndarray]
Structure = list[tuple[object, ...]]

NUMPY = NumpyTarget()


def structure(roots: Iterable[Node]) -> Structure:
    """Return a graph's form: ops and the positions of their inputs. Nodes with a state of their own are themselves."""
    roots = tuple(roots)
    position: dict[Node, int] = {}
    found: Structure = []
    for node in topological(roots):
        position[node] = len(found)
        kind: object = node if node.op.is_stateful and not node.inputs else node.op
        found.append((kind, *(position[given] for given in node.inputs)))
    return [*found, tuple(position[root] for root in roots)]


def labels(subgraph: Subgraph) -> Counter[str]:
    """Return how often each op occurs."""
    return Counter(node.op.label for node in subgraph.nodes)


def compiled(
    fetches: Sequence[Node],
    updates: Sequence[Node] = (),
    max_batch: int = 1,
    training: bool | None = None,
    writes_last: bool = False,
) -> Compiled:
    """Compile for NumPy with all forms verified; training is the default where there are updates."""
    mode = bool(updates) if training is None else training
    return compile_graph(fetches, updates, Options(NUMPY, max_batch, mode, writes_last, verify=True))


def run_plan(plan: Plan, feeds: Feeds) -> list[np.ndarray]:
    """Carry out one run of a plan on arrays as users feed them."""
    stored = {node: to_storage(value, node.dtype) for node, value in feeds.items() if node in plan.feeds}
    values = NUMPY.load(plan).run(stored, batch_of(feeds))
    return [to_interface(value, node.dtype) for node, value in zip(plan.subgraph.fetches, values, strict=True)]


def check_plan(
    fetches: Sequence[Node], feeds: Feeds, updates: Sequence[Node] = (), max_batch: int = 1, writes_last: bool = False
) -> Plan:
    """Compile, run once and compare fetches and variables with plain evaluation; return the plan."""
    expected = evaluate([*fetches, *updates], feeds, training=bool(updates))
    plan = compiled(fetches, updates, max_batch, writes_last=writes_last).plan
    fetched = run_plan(plan, feeds)
    written = [update.graph.get_value(update.inputs[0]) for update in updates]
    for node, wanted, actual in zip([*fetches, *updates], expected, [*fetched, *written], strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-5, atol=1e-6, err_msg=node.name)
    return plan


def assert_same_values(one: Node, other: Node, feeds: Feeds) -> None:
    """Compare two nodes' values, bit by bit but for the sign of 0."""
    first, second = evaluate([one, other], feeds)
    np.testing.assert_array_equal(first, second)


def steps_of(plan: Plan) -> list[str]:
    """Return the kernels of a plan in order, each with the name of its node."""
    return [f"{step.kernel} {step.node.name}" for step in plan.steps]


# Plans with a fault.


@contextmanager
def finds(message: str, node: Node | None = None) -> Iterator[None]:
    """Require that a verifier in the block raises a CompileError with this text, about this node and its line."""
    with pytest.raises(CompileError) as caught:
        yield
    assert message in caught.value.message, caught.value.message
    if node is not None:
        assert repr(node.name) in caught.value.message, caught.value.message
        assert caught.value.where == str(node.source)


def verify(plan: Plan) -> None:
    """Check a plan for NumPy."""
    verify_plan(plan, NUMPY)


def arena(plan: Plan) -> list[Storage]:
    """Return the storages of the arena."""
    return [storage for storage in plan.storages if storage.kind == "arena"]


def with_storage(plan: Plan, index: int, **changes: object) -> Plan:
    """Return a plan with one storage changed."""
    changed = replace(plan.storages[index], **changes)  # type: ignore[arg-type]  # fields of Storage
    return replace(plan, storages=(*plan.storages[:index], changed, *plan.storages[index + 1 :]))


def with_step(plan: Plan, number: int, **changes: object) -> Plan:
    """Return a plan with one step changed."""
    changed = replace(plan.steps[number], **changes)  # type: ignore[arg-type]  # fields of KernelCall
    return replace(plan, steps=(*plan.steps[:number], changed, *plan.steps[number + 1 :]))


def without_step(plan: Plan, number: int) -> Plan:
    """Return a plan without one step."""
    return replace(plan, steps=plan.steps[:number] + plan.steps[number + 1 :])


def replaced_view(plan: Plan, old: View, view: View) -> Plan:
    """Return the plan with another view wherever one occurs."""

    def moved(call: KernelCall) -> KernelCall:
        reads = tuple(view if read == old else read for read in call.reads)
        writes = tuple(view if write == old else write for write in call.writes)
        return replace(call, reads=reads, writes=writes)

    return replace(
        plan,
        steps=tuple(moved(call) for call in plan.steps),
        views={node: view if known == old else known for node, known in plan.views.items()},
        fetches=tuple(view if fetch == old else fetch for fetch in plan.fetches),
    )
