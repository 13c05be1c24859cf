"""A picture as Graphviz text: ``dot -Tsvg graph.dot -o graph.svg`` draws it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

from graphnn.ops.state import Assign
from graphnn.viz.picture import Item, Kind, Picture

_LOOKS: Mapping[Kind, str] = {
    "placeholder": 'shape=ellipse, fillcolor="#cfe2f3"',
    "variable": 'shape=cylinder, fillcolor="#fff2cc"',
    "constant": 'shape=box, fillcolor="#eeeeee"',
    "op": 'shape=box, fillcolor="#d9ead3"',
    "gradient": 'shape=box, style="filled,rounded,dashed", fillcolor="#f4cccc"',
    "update": 'shape=box, fillcolor="#d9d2e9"',
}
_HEAD = """digraph graphnn {
  graph [fontname="Helvetica", color="#999999"];
  node [style="filled,rounded", fontname="Helvetica", fontsize=10];"""


def dot_text(picture: Picture) -> str:
    """Return the text: a box a node, clusters for scopes (for the groups of a plan), an edge for each input."""
    sizes = Counter(item.group for item in picture.items if item.group is not None)
    folder = _Folder()
    for item in picture.items:
        folder.put(_scopes(item) if picture.plan is None else _group(item, sizes), item)
    edges = (edge for item in picture.items for edge in _edges(item))
    return "\n".join([_HEAD, *folder.lines("  ", count()), *edges, "}"]) + "\n"


def _scopes(item: Item) -> list[str]:
    return item.node.scope.split(".") if item.node.scope else []


def _group(item: Item, sizes: Mapping[int, int]) -> list[str]:
    return [f"group {item.group}"] if item.group is not None and sizes[item.group] > 1 else []


class _Folder:
    """Nodes and clusters inside a cluster."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.folders: dict[str, _Folder] = {}

    def put(self, path: list[str], item: Item) -> None:
        """Add a node inside the clusters of these names, the outermost first."""
        inner = self
        for part in path:
            inner = inner.folders.setdefault(part, _Folder())
        inner.items.append(item)

    def lines(self, indent: str, numbers: Iterator[int]) -> Iterator[str]:
        """Yield the lines of all that is inside; `numbers` gives each cluster one of its own."""
        for item in self.items:
            yield f"{indent}n{item.number} [{_LOOKS[item.kind]}, label={_label(item)}, tooltip={_tooltip(item)}];"
        for name, folder in self.folders.items():
            yield f"{indent}subgraph cluster_{next(numbers)} {{"
            yield f"{indent}  label={quoted(name)};"
            yield from folder.lines(indent + "  ", numbers)
            yield f"{indent}}}"


def _edges(item: Item) -> Iterator[str]:
    if isinstance(item.node.op, Assign):
        variable, value = item.inputs
        yield f"  n{value} -> n{item.number};"
        # Against the flow: a write comes after all reads, so it must not push the variable below what reads it.
        yield f"  n{item.number} -> n{variable} [style=dashed, constraint=false];"
    else:
        yield from (f"  n{given} -> n{item.number};" for given in item.inputs)


def _label(item: Item) -> str:
    op = item.node.op.label
    kernel = f" (kernel {item.kernel})" if item.kernel and item.kernel != op else ""
    return quoted(f"{op}{kernel}\n{item.node.name}\n{item.node.spec}")


def _tooltip(item: Item) -> str:
    node = item.node
    gradient = f"\ngradient of {node.grad_of.name}" if node.grad_of is not None else ""
    return quoted(f"{node.op}{gradient}\n{node.source.file}:{node.source.line}")


def quoted(text: Any) -> str:
    r"""Return a string that Graphviz shows as it is: it would expand ``\N`` and ``&lt;``.

    Examples
    --------
    >>> print(quoted('say "A & B"'))
    "say \"A &amp; B\""
    """
    escaped = str(text).replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
