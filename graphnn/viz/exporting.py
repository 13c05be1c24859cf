"""`export`: a graph or an executor as a file that others can draw or read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from graphnn.executor import Executor
from graphnn.files import require_suffix, write_whole
from graphnn.ops.errors import GraphError
from graphnn.ops.graph import Graph
from graphnn.ops.source import caller
from graphnn.viz.dot import dot_text
from graphnn.viz.picture import Picture, of_graph, of_plan
from graphnn.viz.plain_data import plain_data


def _json_text(picture: Picture) -> str:
    return json.dumps(plain_data(picture), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


FORMATS: dict[str, Callable[[Picture], str]] = {".dot": dot_text, ".json": _json_text}
"""Suffixes of files and what writes them."""


def export(shown: Graph | Executor, path: str | Path) -> None:
    """Write a graph, or what an executor made of it, to a file for viewing.

    Parameters
    ----------
    shown : Graph or Executor
        A graph is shown as it was written: gradients and updates are nodes in colours of their own, scopes are
        boxes. An executor is shown as it runs, after the compiler's passes: the boxes are groups of its plan.
    path : str or Path
        Its suffix chooses the format: ``.dot`` is Graphviz text (``dot -Tsvg graph.dot -o graph.svg``), ``.json``
        has all that is known of each node, and an executor's plan. A file that stands there is replaced.

    Raises
    ------
    GraphError
        If the suffix is another one, or the file can't be written; nothing is left behind then.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import graphnn as gn
    >>> with gn.Graph() as graph:
    ...     x = gn.placeholder("x", (None, 3))
    ...     total = x.sum()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "graph.json")
    ...     gn.viz.export(graph, path)
    ...     [node["name"] for node in json.loads(path.read_text(encoding="utf-8"))["nodes"]]
    ['x', 'sum']
    """
    suffix = require_suffix(path, tuple(FORMATS), "a graph")
    if isinstance(shown, Executor):
        picture = of_plan(shown.plan)
    elif isinstance(shown, Graph):
        picture = of_graph(shown)
    else:
        raise GraphError(
            f"only a graph or an executor can be exported, not {shown!r}",
            where=str(caller()),
            hint="pass the graph of the `with gn.Graph() as graph:` block",
        )
    content = FORMATS[suffix](picture).encode()
    write_whole(path, lambda file: file.write(content))
