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

NOISE = {"float16": 1e-2, "bfloat16": 1e-1, "float32": 1e-6, "float64": 1e-15}
"""Differences that count for nothing, about eight roundings of 1: what is left where larger numbers cancel.

The gradient by a bias before a batch norm, which is 0, is nothing but such rests.
"""

Values = dict[str, tuple[Node, np.ndarray]]
"""By what it is (a fetch, or the new value of a variable): the node, and its value as users see it."""


def verify_stages(
    stages: Sequence[tuple[str, Subgraph]], feeds: Mapping[Node, np.ndarray], training: bool, batch: int
) -> Values:
    """Evaluate the subgraph after each pass; return what a run has to give.

    Raises
    ------
    CompileError
        Naming the first pass after which a fetch or an assigned value differs.
    """
    first = before = _results(stages[0][1], feeds, training, batch)
    for name, subgraph in stages[1:]:
        after = _results(subgraph, feeds, training, batch)
        for label, (node, value) in before.items():
            if not agree(value, after[label][1], node.dtype):
                raise _changed(f"pass {name}", label, node, value, after[label][1])
        before = after
    return before | first


def verify_target(
    target: str, expected: Values, fetched: Sequence[np.ndarray], written: Mapping[str, np.ndarray]
) -> None:
    """Compare a target's results, and the new values of variables by name, with what a run has to give.

    Raises
    ------
    CompileError
        Naming the first fetch or variable that differs.
    """
    actual = {_fetch(number): value for number, value in enumerate(fetched)}
    actual |= {_new_value(name): value for name, value in written.items()}
    for label, (node, wanted) in expected.items():
        if not agree(wanted, actual[label], node.dtype):
            raise _changed(f"target {target}", label, node, wanted, actual[label])


def agree(expected: np.ndarray, actual: np.ndarray, dtype: DType) -> bool:
    """Whether two values are equal within their element type's tolerance; NaN equals NaN."""
    if not dtype.is_floating:
        return bool(np.array_equal(expected, actual))
    finite = np.abs(expected[np.isfinite(expected)])
    scale = float(finite.max()) if finite.size else 0.0
    tolerance = TOLERANCES[dtype.name]
    absolute = tolerance * scale + NOISE[dtype.name]
    return bool(np.allclose(actual, expected, rtol=tolerance, atol=absolute, equal_nan=True))


def _results(subgraph: Subgraph, feeds: Mapping[Node, np.ndarray], training: bool, batch: int) -> Values:
    labels = [_fetch(number) for number in range(len(subgraph.fetches))]
    labels += [_new_value(update.inputs[0].name) for update in subgraph.updates]
    nodes = (*subgraph.fetches, *subgraph.updates)
    values = evaluate(nodes, feeds, training, batch)
    return {label: (node, value) for label, node, value in zip(labels, nodes, values, strict=True)}


def _fetch(number: int) -> str:
    return f"fetch {number}"


def _new_value(variable: str) -> str:
    return f"the new value of {variable}"


def _changed(culprit: str, label: str, node: Node, expected: np.ndarray, actual: np.ndarray) -> CompileError:
    with np.errstate(all="ignore"):
        difference = np.abs(np.asarray(actual, np.float64) - np.asarray(expected, np.float64))
    worst = float(np.max(difference, initial=0.0))  # NaN where one of the two is
    return CompileError(
        f"{culprit} changed {label} ({node.name!r})",
        expected=f"equal within {TOLERANCES.get(node.dtype.name, 0)} of the largest value",
        actual=f"a difference of {worst:.3g}",
        where=str(node.users_nodes[0].source),
        hint="this is a fault of graphnn; please report it with the graph",
    )
