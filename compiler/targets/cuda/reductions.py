"""How a reduction is shared among threads, and its kernels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graphnn.compiler.targets.c.loops import reduction_text
from graphnn.compiler.targets.cuda.bodies import Operand, elements, term_lines
from graphnn.compiler.targets.cuda.elements import computed_dtype, value_type
from graphnn.compiler.targets.cuda.instance import Blocks, Instance
from graphnn.ops import dtypes
from graphnn.ops.node import Node
from graphnn.ops.reduce import Reduction
from graphnn.ops.spec import Extent, product

THREADS = 256
FEW_TERMS = 8
"""Up to so many terms, one thread adds them up."""

TERMS_OF_A_WARP = 1024
"""Up to so many, one warp does."""

BUSY_BLOCKS = 264
"""Blocks that keep a large card busy: two for each of 132 multiprocessors."""

TERMS_OF_A_PART = 2048
"""A result whose terms are shared by blocks has at least so many for each of them."""


@dataclass(frozen=True)
class Sharing:
    """Threads and blocks that make one result together."""

    team: int
    parts: int

    @classmethod
    def of(cls, anchor: Node, max_batch: int) -> Sharing:
        """Choose by the numbers of results and of terms at the largest batch."""
        results = anchor.spec.elements(max_batch)
        terms = anchor.inputs[0].spec.elements(max_batch) // results
        if terms <= FEW_TERMS:
            return cls(1, 1)
        if terms <= TERMS_OF_A_WARP:
            return cls(32, 1)
        wanted = max(1, BUSY_BLOCKS // results)
        return cls(THREADS, min(wanted, max(1, terms // TERMS_OF_A_PART)))


def reduction_kernels(anchor: Node, max_batch: int) -> list[Instance]:
    """Return the kernels of a reduction: one, or two where blocks share a result."""
    sharing = Sharing.of(anchor, max_batch)
    kind = register_type(anchor.dtype)
    assert isinstance(anchor.op, Reduction)
    start, _ = reduction_text(anchor.op, computed_dtype(anchor.dtype))
    outer = product(anchor.shape)
    given = anchor.inputs[0].shape
    common = {"VALUE": kind, "START": f"({kind})({start})", "COMBINE(a, b)": "GN_JOIN(NAME, _combine)((a), (b))"}
    term = "GN_JOIN(NAME, _term)(ARGUMENTS, (o), (r))"
    result = "STORE((o), (value))" if sharing.parts == 1 else "w0[(o) * PARTS + (part)] = (value)"
    first = {
        "OUTER": elements(anchor.shape),
        "INNER": elements(tuple(given[axis] for axis in anchor.op.axes)),
        "TERM(o, r)": term,
        "RESULT(o, part, value)": result,
    }
    instances = [_instance(common | first, sharing.team, sharing.parts, outer)]
    if sharing.parts > 1:
        second = {
            "OUTER": elements(anchor.shape),
            "INNER": str(sharing.parts),
            "TERM(o, r)": f"w0[(o) * {sharing.parts} + (r)]",
            "RESULT(o, part, value)": "STORE((o), (value))",
        }
        instances.append(_instance(common | second, 32, 1, outer))
    itemsize = 8 if kind in ("double", "int64_t") else 4
    room = anchor.spec.elements(max_batch) * sharing.parts * itemsize if sharing.parts > 1 else 0
    return [Instance(each.file, each.defines, each.grid, each.threads, room) for each in instances]


def _instance(defines: Mapping[str, str], team: int, parts: int, outer: Extent) -> Instance:
    geometry = {"TEAM": str(team), "THREADS": str(THREADS), "PARTS": str(parts)}
    blocks = Blocks(outer, THREADS // team)
    return Instance("reduce.cu", {**defines, **geometry}, (blocks, Blocks(parts), Blocks(1)), THREADS)


def register_type(dtype: dtypes.DType) -> str:
    """Return the type in which a result is put together: one that warps can exchange."""
    return "int" if dtype in (dtypes.bool, dtypes.uint8) else value_type(dtype)


def reduction_functions(
    name: str, anchor: Node, before: tuple[Node, ...], reads: Mapping[Node, Operand], parameters: str
) -> list[str]:
    """Return the device functions that give a term and that combine two values."""
    op = anchor.op
    assert isinstance(op, Reduction)
    kind = register_type(anchor.dtype)
    lines, value = term_lines(anchor, before, reads, op.axes)
    _, combine = reduction_text(op, computed_dtype(anchor.dtype))
    return [
        f"GN_DEVICE {kind} {name}_term({parameters}, INDEX o, INDEX r)",
        "{",
        *(f"    {line}" for line in lines),
        f"    return ({kind})({value});",
        "}",
        f"GN_DEVICE {kind} {name}_combine({kind} total, {kind} value)",
        "{",
        f"    {combine.format(sum='total', value='value')}",
        "    return total;",
        "}",
    ]
