"""A picture as plain data, for JSON."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import graphnn
from graphnn.compiler.plan.report import as_json
from graphnn.ops.op import Op
from graphnn.viz.picture import Item, Picture


def plain_data(picture: Picture) -> dict[str, Any]:
    """Return the nodes, and the plan where there is one, as numbers, strings, lists and dicts."""
    data: dict[str, Any] = {
        "graphnn": graphnn.__version__,
        "shows": "graph" if picture.plan is None else "plan",
        "nodes": [_node(item, in_plan=picture.plan is not None) for item in picture.items],
    }
    if picture.plan is not None:
        numbers = {item.node: item.number for item in picture.items}
        data["fetches"] = [numbers[node] for node in picture.plan.subgraph.fetches]
        data["plan"] = as_json(picture.plan)
    return data


def _node(item: Item, in_plan: bool) -> dict[str, Any]:
    node = item.node
    data: dict[str, Any] = {
        "id": item.number,
        "name": node.name,
        "kind": item.kind,
        "op": node.op.label,
        "attributes": _attributes(node.op),
        "inputs": list(item.inputs),
        "shape": [_plain(extent) for extent in node.shape],
        "dtype": str(node.dtype),
        "scope": node.scope,
        "source": f"{node.source.file}:{node.source.line}",
        "grad_of": None if node.grad_of is None else node.grad_of.name,
    }
    if in_plan:
        data |= {"group": item.group, "kernel": item.kernel or None, "origin": [one.name for one in node.users_nodes]}
    return data


def _attributes(op: Op) -> dict[str, Any]:
    # A constant's array is kept out of its repr for its size, and out of here.
    return {field.name: _plain(getattr(op, field.name)) for field in dataclasses.fields(op) if field.repr}


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)  # sizes that depend on the batch, element types; JSON has no infinity and no NaN
