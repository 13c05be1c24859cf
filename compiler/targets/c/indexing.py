"""Print kernels that pick, place and add by positions which are themselves values.

All indices were checked before the run (see `native`), but not what stands in lanes beyond the batch: `gn_row` keeps it
inside. Sums have the same order for any number of threads.
"""

from __future__ import annotations

import math

from graphnn.compiler.targets.c.expressions import C_TYPES
from graphnn.compiler.targets.c.lines import Lines, print_kernel
from graphnn.compiler.targets.c.squares import print_turn
from graphnn.compiler.targets.c.text import function, indented, linear, row_major
from graphnn.compiler.targets.c.units import Unit, example_shape, is_batched
from graphnn.ops import dtypes
from graphnn.ops.gather import Gather, ScatterAdd
from graphnn.ops.index import Take, TakeGradient
from graphnn.ops.loss import NegativeLogLikelihood
from graphnn.ops.node import Node

RUN = 16
"""Neighbouring rows of a table that a thread adds up: threads do not write into one cache line."""

LANE_LOOP = "for (int lane = 0; lane < LANES; lane++)"


def has_indexing_kernel(node: Node) -> bool:
    """Whether this module prints a node's kernel."""
    return isinstance(node.op, Take | TakeGradient | Gather | ScatterAdd | NegativeLogLikelihood)


def print_indexing(unit: Unit, name: str, lanes: int, threads: int) -> str:
    """Print the kernel of a unit that is one node: see `print_kernel`; of a table's gradient, what all threads call."""
    node = unit.root
    match node.op:
        case TakeGradient() if unit.kind == "cooperative":
            return _print_table_gradient(node, name, lanes, threads)
        case TakeGradient():
            body = _entries_added(node, node.op.axis)
        case Take() if is_batched(node.inputs[1]):
            turn = [print_turn(name, lanes)] if _is_turned(node, lanes) else []
            return "\n".join([*turn, print_kernel(unit.kind, node, name, _table_rows(node, name, lanes))])
        case Take():
            body = _entries(node, node.op.axis)
        case Gather():
            body = _gather(node, node.op.axis)
        case ScatterAdd():
            body = _scatter_add(node, node.op.axis)
        case _:
            body = _negative_log_likelihood(node)
    return print_kernel(unit.kind, node, name, body)


# Whole entries of an axis, at positions that are the same for all examples.


def _over_entries(whole: Lines, places: int, body: list[str]) -> list[str]:
    """Print a loop over what is picked: `entry` is its place in the whole, `part` that among the picked ones."""
    return [
        f"for (int64_t o = 0; o < {whole.outer}; o++)",
        f"for (int64_t j = 0; j < {places}; j++) {{",
        f"    const int64_t entry = (o * {whole.length} + gn_row(x1[j], {whole.length})) * {whole.width};",
        f"    const int64_t part = (o * {places} + j) * {whole.width};",
        *indented(body),
        "}",
    ]


def _entries(node: Node, axis: int) -> list[str]:
    x, indices = node.inputs
    whole = Lines.of(x, axis)
    copied = f"for (int64_t k = 0; k < {whole.width}; k++) y[part + k] = x0[entry + k];"
    return _over_entries(whole, math.prod(indices.spec.static_shape), [copied])


def _entries_added(node: Node, axis: int) -> list[str]:
    whole = Lines.of(node, axis)
    size = f"{whole.outer * whole.length} * {whole.width}"
    added = f"for (int64_t k = 0; k < {whole.width}; k++) y[entry + k] += x0[part + k];"
    entries = _over_entries(whole, math.prod(node.inputs[1].spec.static_shape), [added])
    return [f"memset(y, 0, sizeof *y * {size});", *entries]


# Rows of a table, at positions that each example has for itself.


def _is_turned(node: Node, lanes: int) -> bool:
    """Whether rows go into lanes, or lanes into rows, a square at a time."""
    return node.dtype is dtypes.float32 and _row_size(node) >= lanes


def _row_size(node: Node) -> int:
    """Return the numbers of a row, for the rows of a table or for its gradient."""
    table = node if isinstance(node.op, TakeGradient) else node.inputs[0]
    return math.prod(table.spec.static_shape[1:])


def _table_rows(node: Node, name: str, lanes: int) -> list[str]:
    """Print how each example's rows get into lanes: a vector of each lane's row at a time, turned around."""
    x, indices = node.inputs
    rows, size = x.spec.static_shape[0], _row_size(node)
    copied = [
        f"for (int64_t k = 0; k < {size}; k++)",
        f"    {LANE_LOOP} y[(j * {size} + k) * LANES + lane] = row[lane][k];",
    ]
    if _is_turned(node, lanes):
        # The last square begins early enough to end with the row; some numbers are written twice.
        column = "start" if size % lanes == 0 else f"start + LANES <= {size} ? start : {size} - LANES"
        copied = [
            f"for (int64_t start = 0; start < {size}; start += LANES) {{",
            f"    const int64_t column = {column};",
            "    vec square[LANES];",
            f"    {LANE_LOOP} square[lane] = load(row[lane] + column);",
            f"    {name}_turn(square, first_lanes(LANES), (vec *)y + j * {size} + column);",
            "}",
        ]
    return [
        f"for (int64_t j = 0; j < {math.prod(example_shape(indices))}; j++) {{",
        f"    const {C_TYPES[x.dtype]} *row[LANES];",
        f"    {LANE_LOOP} row[lane] = x0 + gn_row(x1[j * LANES + lane], {rows}) * {size};",
        *indented(copied),
        "}",
    ]


def _print_table_gradient(node: Node, name: str, lanes: int, threads: int) -> str:
    """Print ``name(dy, dy_step, indices, indices_step, y, n)``, which each thread calls: a sum over all examples.

    Threads share the columns of the table, a vector each; where those are few, also its rows, some by turns, since the
    first ones may be the frequent ones. So every number is added up by one thread, in the order of the examples.
    """
    size = _row_size(node)
    vectors, rest = divmod(size, lanes) if _is_turned(node, lanes) else (0, size)
    shares = vectors + (rest > 0)
    parts = max(1, -(-threads // shares))
    every = [] if parts == 1 else [f"if (row / {RUN} % {parts} != part) continue;"]
    functions, calls = [], []
    if vectors:
        functions += [print_turn(name, lanes), *_columns(node, f"{name}_vector", every, lanes, f"{name}_turn")]
        calls.append(f"if (share < {vectors}) {name}_vector({_ARGUMENTS});")
    if rest:
        functions += _columns(node, f"{name}_rest", every, rest)
        calls.append(f"if (share == {vectors}) {name}_rest({_ARGUMENTS});")
    body = [
        "#pragma omp for simd schedule(static)",
        f"for (int64_t i = 0; i < {node.spec.elements(1)}; i++) y[i] = 0;",
        "#pragma omp for collapse(2) schedule(static) nowait",
        f"for (int part = 0; part < {parts}; part++)",
        f"for (int share = 0; share < {shares}; share++) {{",
        *indented(calls),
        "}",
    ]
    return "\n".join([*functions, *function(f"{name}({_parameters(node)}, int64_t n)", body)])


_ARGUMENTS = "x0, x0_step, x1, x1_step, y, n, share * LANES, part"


def _parameters(node: Node) -> str:
    return f"const char *x0, int64_t x0_step, const char *x1, int64_t x1_step, {C_TYPES[node.dtype]} *restrict y"


def _columns(node: Node, name: str, every: list[str], count: int, turn: str | None = None) -> list[str]:
    """Print the function that adds to `count` columns, of all rows that `every` lets pass; with `turn`, a vector."""
    rows, size, places = node.spec.static_shape[0], _row_size(node), math.prod(example_shape(node.inputs[1]))
    kind, index = C_TYPES[node.dtype], C_TYPES[node.inputs[1].dtype]
    prepared = []
    added = f"for (int k = 0; k < {count}; k++) sum[k] += dy[(j * {size} + k) * LANES + lane];"
    if turn is not None:
        prepared = ["vec square[LANES];", f"{turn}((const vec *)dy + j * {size}, first_lanes(LANES), square);"]
        added = "store(sum, load(sum) + square[lane]);"
    body = [
        "(void)part;",
        "y += first;",
        "for (; n > 0; n -= LANES, x0 += x0_step, x1 += x1_step) {",
        f"    const {kind} *dy = (const {kind} *)x0 + first * LANES;",
        f"    const {index} *indices = (const {index} *)x1;",
        "    const int valid = n < LANES ? (int)n : LANES;",
        f"    for (int64_t j = 0; j < {places}; j++) {{",
        *indented(indented(prepared)),
        "        for (int lane = 0; lane < valid; lane++) {",
        f"            const int64_t row = gn_row(indices[j * LANES + lane], {rows});",
        *indented(indented(indented(every))),
        f"            {kind} *const sum = y + row * {size};",
        f"            {added}",
        "        }",
        "    }",
        "}",
    ]
    return function(f"{name}({_parameters(node)}, int64_t n, int64_t first, int part)", body)


# Element by element.


def _over_elements(x: Node, index: Node, axis: int, statement: str) -> list[str]:
    """Print a loop over the indices: the one at `place` picks what is at `entry` of x."""
    axes = range(int(is_batched(index)), index.rank)
    of_x, of_index = (row_major(node.spec.bind(1).static_shape) for node in (x, index))
    others = linear(*((f"i{a}", of_x[a]) for a in axes if a != axis))
    place = linear(*((f"i{a}", of_index[a]) for a in axes))
    in_lanes = {node: "({}) * LANES + lane" if is_batched(node) else "{}" for node in (x, index)}
    entry = in_lanes[x].format(f"{others} + gn_row(x1[place], {x.shape[axis]}) * {of_x[axis]}")
    body = [f"const int64_t place = {in_lanes[index].format(place)};", f"const int64_t entry = {entry};", statement]
    loops = [f"for (int64_t i{a} = 0; i{a} < {index.shape[a]}; i{a}++)" for a in axes]
    return [*loops, *([LANE_LOOP] if is_batched(index) else []), "{", *indented(body), "}"]


def _gather(node: Node, axis: int) -> list[str]:
    x, index = node.inputs
    return _over_elements(x, index, axis, "y[place] = x0[entry];")


def _scatter_add(node: Node, axis: int) -> list[str]:
    x, index, _ = node.inputs
    nbytes = f"sizeof *y * {math.prod(example_shape(x))}{' * LANES' if is_batched(x) else ''}"
    return [f"memcpy(y, x0, {nbytes});", *_over_elements(x, index, axis, "y[entry] += x2[place];")]


def _negative_log_likelihood(node: Node) -> list[str]:
    classes = example_shape(node.inputs[0])[-1]
    label = f"gn_row(x1[r * LANES + lane], {classes})"
    return [
        f"for (int64_t r = 0; r < {math.prod(example_shape(node))}; r++)",
        f"    {LANE_LOOP} y[r * LANES + lane] = -x0[(r * {classes} + {label}) * LANES + lane];",
    ]
