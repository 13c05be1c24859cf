"""Graphs of a few variables, and looks at what is in them and in a folder of checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import graphnn as gn


def graph_of(**variables: Any) -> gn.Graph:
    """Return a graph with these variables and their initial values."""
    with gn.Graph() as graph:
        for name, initial in variables.items():
            gn.variable(name, initial)
    return graph


def stored(graph: gn.Graph) -> dict[str, bytes]:
    """Return the bytes of all variables."""
    return {name: graph.store.read(name).tobytes() for name in graph.variables}


def steps(folder: Path) -> list[int]:
    """Return the steps of the checkpoints in a folder, by their names."""
    return sorted(int(path.stem.removeprefix("step-")) for path in folder.glob("step-*.safetensors"))
