"""Find the pass, or the target, that changed a number: what ``Executor(verify=True)`` does at its first run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from graphnn.compiler.reference import evaluate
from graphnn.compiler.subgraph import Subgraph
from graphnn.ops.dtypes import DType
from graphnn.ops.errors import CompileError
from graphnn.ops.node import Node

TOLERANCES = {"float16": 2e-2, "bfloat16": 1e-1, "float32": 1e-3, "float64": 1e-9}
"""How far two ways to compute one value may differ, relative to the largest number in it."""

Values = dict[str, tuple[Node, np.ndarray]]


def verify_stages(
    stages: Sequence[tuple[str, Subgraph]], feeds: Mapping[Node, np.ndarray], training: bool
) -> list[np.ndarray]:
    """Evaluate the subgraph after each pass; return the fetches' values.

    Raises
    ------
    CompileError
        Naming the first pass after which a fetch or an assigned value differs.
    """
    before = _results(stages[0][1], feeds, training)
    fetched = [value for label, (_, value) in before.items() if label.startswith("fetch ")]
    for name, subgraph in stages[1:]:
        after = _results(subgraph, feeds, training)
        for label, (node, value) in before.items():
            if not agree(value, after[label][1], node.dtype):
                raise _changed(f"pass {name}", label, node, value, after[label][1])
        before = after
    return fetched


def verify_target(
    target: str, fetches: Sequence[Node], expected: Sequence[np.ndarray], actual: Sequence[np.ndarray]
) -> None:
    """Compare a target's results with NumPy's; raise a CompileError naming the first fetch that differs."""
    for node, wanted, value in zip(fetches, expected, actual, strict=True):
        if not agree(wanted, value, node.dtype):
            raise _changed(f"target {target}", f"fetch {node.name}", node, wanted, value)


def agree(expected: np.ndarray, actual: np.ndarray, dtype: DType) -> bool:
    """Whether two values are equal within their element type's tolerance; NaN equals NaN."""
    if not dtype.is_floating:
        return bool(np.array_equal(expected, actual))
    finite = np.abs(expected[np.isfinite(expected)])
    scale = float(finite.max()) if finite.size else 0.0
    tolerance = TOLERANCES[dtype.name]
    return bool(np.allclose(actual, expected, rtol=tolerance, atol=tolerance * scale, equal_nan=True))


def _results(subgraph: Subgraph, feeds: Mapping[Node, np.ndarray], training: bool) -> Values:
    labels = [f"fetch {number}" for number in range(len(subgraph.fetches))]
    nodes = list(subgraph.fetches)
    for update in subgraph.updates:
        labels.append(f"new value of {update.inputs[0].name}")
        nodes.append(update)
    values = evaluate(nodes, feeds, training)
    return {label: (node, value) for label, node, value in zip(labels, nodes, values, strict=True)}


def _changed(culprit: str, label: str, node: Node, expected: np.ndarray, actual: np.ndarray) -> CompileError:
    with np.errstate(all="ignore"):
        difference = np.abs(np.asarray(actual, np.float64) - np.asarray(expected, np.float64))
    worst = float(np.nanmax(difference)) if difference.size else 0.0
    return CompileError(
        f"{culprit} changed {label} ({node.name!r})",
        expected=f"equal within {TOLERANCES.get(node.dtype.name, 0)} of the largest value",
        actual=f"a difference of {worst:.3g}",
        where=str(node.users_nodes[0].source),
        hint="this is a fault of graphnn; please report it with the graph",
    )
