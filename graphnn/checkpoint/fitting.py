"""Which tensors of a file fit which variables of a graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from graphnn.checkpoint.tensors import Tensor
from graphnn.compiler.interrupts import postponed_interrupts
from graphnn.ops.errors import CheckpointError
from graphnn.ops.graph import Graph
from graphnn.ops.source import caller

_SHOWN = 10  # names of each kind in an error
_INDENT = "\n" + " " * 12  # below the first line of an error's row


@dataclass(frozen=True)
class Misfits:
    """What of a file and a graph did not fit; true if there is anything.

    Attributes
    ----------
    missing : tuple of str
        Variables of the graph that the file lacks.
    unexpected : tuple of str
        Tensors of the file that the graph has no variable for.
    misshaped : dict of str to str
        Variables of another shape than the file's tensor, with both.
    mistyped : dict of str to str
        Variables whose element type does not hold each number of the tensor's, with both.

    Examples
    --------
    >>> misfits = Misfits(missing=("fc3.weight", "fc3.bias"))
    >>> bool(misfits), misfits.unexpected
    (True, ())
    """

    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    misshaped: Mapping[str, str] = field(default_factory=dict)
    mistyped: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.misshaped or self.mistyped)

    def error(self, path: str | Path, hint: str) -> CheckpointError:
        """Return the error that lists all of it, some names of each kind."""
        kinds = (
            ("missing", [repr(name) for name in self.missing]),
            ("unexpected", [repr(name) for name in self.unexpected]),
            ("of another shape", [f"{name!r} {what}" for name, what in self.misshaped.items()]),
            ("of another element type", [f"{name!r} {what}" for name, what in self.mistyped.items()]),
        )
        counts = [f"{len(names)} {kind}" for kind, names in kinds if names]
        lists = [f"{kind}: {_bounded(names)}" for kind, names in kinds if names]
        return CheckpointError(
            f"{str(path)!r} does not fit the graph: {', '.join(counts)}",
            expected="a tensor for each variable, of its name, shape and element type",
            actual=_INDENT.join(lists),
            where=str(caller()),
            hint=hint,
        )


def _bounded(names: list[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def fit(
    tensors: Mapping[str, Tensor], graph: Graph, names: Iterable[str], *, exact: bool
) -> tuple[dict[str, np.ndarray], Misfits]:
    """Return the values for those variables that fit, in storage form, and what does not.

    With `exact`, element types have to be equal; otherwise the variable's has to hold each number of the tensor's.
    """
    variables = graph.variables
    wanted = list(names)
    known = set(wanted)
    found: dict[str, np.ndarray] = {}
    misshaped: dict[str, str] = {}
    mistyped: dict[str, str] = {}
    for name in wanted:
        if name not in tensors:
            continue
        node, tensor = variables[name], tensors[name]
        values = tensor.stored_as(node.dtype)
        if tensor.shape != node.shape:
            misshaped[name] = f"{tensor.shape} instead of {node.shape}"
        elif values is None or (exact and not tensor.is_of(node.dtype)):
            mistyped[name] = f"{tensor} for {node.spec}"
        else:
            found[name] = values
    missing = tuple(name for name in wanted if name not in tensors)
    unexpected = tuple(name for name in tensors if name not in known)
    return found, Misfits(missing, unexpected, misshaped, mistyped)


def put(graph: Graph, values: Mapping[str, np.ndarray]) -> None:
    """Write values into variables: all of them, between two runs."""
    with graph.store.lock, postponed_interrupts():
        for name, value in values.items():
            graph.store.write(name, value)
