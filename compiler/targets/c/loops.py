"""Print loop nests: elementwise trees and reductions, over blocks of examples or over values without a batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from graphnn.compiler.targets.c.expressions import C_TYPES, expression, literal
from graphnn.compiler.targets.c.text import indented, linear, row_major
from graphnn.compiler.targets.c.units import Unit, example_shape, is_batched
from graphnn.ops import dtypes
from graphnn.ops.node import Node
from graphnn.ops.reduce import Max, Min, Reduction, Size, Sum
from graphnn.ops.shape import BroadcastTo
from graphnn.ops.spec import Dim
from graphnn.ops.state import Assign

PARALLEL_FROM = 2048
"""Elements from which a flat loop is worth more than one thread."""


@dataclass(frozen=True)
class Loop:
    """One loop of a nest: its variable and its length."""

    variable: str
    length: int


@dataclass(frozen=True)
class Nest:
    """The axes of a loop nest, neighbouring ones joined where every operand walks through them in one stride.

    Attributes
    ----------
    shape : tuple of int
        Lengths of the loops, outermost first.
    strides : dict of Node to tuple of int
        For each operand, elements from one index to the next on each axis; 0 where it is broadcast.
    """

    shape: tuple[int, ...]
    strides: dict[Node, tuple[int, ...]]

    @classmethod
    def over(cls, shape: tuple[int, ...], operands: Sequence[Node]) -> Nest:
        """Lay operands out over a shape."""
        strides = {node: _strides(node, shape) for node in operands}
        joined: list[int] = []
        kept: list[list[int]] = []
        for axis, length in enumerate(shape):
            if length == 1:
                continue
            walks = [steps[axis] for steps in strides.values()]
            flows = bool(kept) and all(outer == inner * length for outer, inner in zip(kept[-1], walks, strict=True))
            if flows:
                joined[-1] *= length
                kept[-1] = walks
            else:
                joined.append(length)
                kept.append(walks)
        columns = {node: tuple(walk[place] for walk in kept) for place, node in enumerate(strides)}
        return cls(tuple(joined), columns)

    @property
    def flows_into_lanes(self) -> bool:
        """Whether the innermost axis and the lanes are one stride for all that has a batch, and none for the rest."""
        return bool(self.shape) and all(steps[-1] == is_batched(node) for node, steps in self.strides.items())

    def index(self, node: Node, variables: Sequence[str]) -> str:
        """Return the C expression of an operand's element."""
        steps = zip(variables, self.strides[node], self.shape, strict=True)
        return linear(*((variable, step) for variable, step, length in steps if length > 1))


def _strides(node: Node, shape: tuple[int, ...]) -> tuple[int, ...]:
    own = example_shape(node)
    own = own[len(own) - len(shape) :] if len(own) > len(shape) else (1,) * (len(shape) - len(own)) + own
    full = row_major(own)
    return tuple(0 if size == 1 else step for size, step in zip(own, full, strict=True))


class UnitPrinter:
    """Prints one unit of elementwise ops, with a reduction at its end where it has one, as a C function.

    Parameters
    ----------
    unit : Unit
        What to compute.
    name : str
        The function's name.
    """

    def __init__(self, unit: Unit, name: str) -> None:
        self.unit = unit
        self.name = name
        root = unit.root
        self.reduction = root.op if isinstance(root.op, Reduction) else None
        self.reduced = root.inputs[0] if self.reduction is not None else None
        self.value = root if self.reduced is None else self.reduced
        self.leaves = unit.inputs
        self.arguments = {leaf: f"x{place}" for place, leaf in enumerate(self.leaves)}
        self.shape = example_shape(self.value)
        self.lanes = unit.kind in ("lanes", "batch-sum")

    def operands(self) -> str:
        """Return the C parameters for what the unit reads."""
        return ", ".join(f"const {C_TYPES[leaf.dtype]} *{self.arguments[leaf]}" for leaf in self.leaves)

    def statements(self, nest: Nest, variables: Sequence[str]) -> tuple[list[str], dict[Node, str]]:
        """Return statements that compute the tree for one element, and the names of its nodes' values."""
        lines: list[str] = []
        known: dict[Node, str] = {}

        def declare(prefix: str, kind: str, text: str) -> str:
            variable = f"{prefix}{len(lines)}"
            lines.append(f"const {kind} {variable} = {text};")
            return variable

        # Loaded whether it is chosen or not: gcc 12 turns loads inside a selection into masked ones, and gets the mask
        # of the second wrong.
        for leaf in self.leaves:
            known[leaf] = declare("v", C_TYPES[leaf.dtype], self._load(leaf, nest, variables))
        for node in self.unit.nodes:
            if isinstance(node.op, Reduction):
                continue
            inputs = [known[given] for given in node.inputs if given in known]
            if isinstance(node.op, Assign | BroadcastTo):
                known[node] = inputs[-1]
            else:
                kind = "_Bool" if node.dtype is dtypes.bool else C_TYPES[node.dtype]
                known[node] = declare("t", kind, expression(node, inputs))
        return lines, known

    def _load(self, node: Node, nest: Nest, variables: Sequence[str]) -> str:
        index = nest.index(node, variables)
        if is_batched(node):
            index = f"({index}) * LANES + lane"
        return f"{self.arguments[node]}[{index}]"


def print_lanes(unit: Unit, name: str) -> str:
    """Print a unit that works on one block of examples: ``name(x0, …, y)``."""
    printer = UnitPrinter(unit, name)
    root = unit.root
    head = f"static void {name}({_join(printer.operands(), f'{C_TYPES[root.dtype]} *y')})"
    nest, outer, inner = _nest(printer)
    variables = [f"i{axis}" for axis in range(len(nest.shape))]
    flows = printer.reduction is None and nest.flows_into_lanes
    if flows:
        variables[-1] = "0"  # `lane` goes through the innermost axis as well
    lines, values = printer.statements(nest, variables)
    value = values[printer.value]
    place = "(" + _place(nest.shape[:outer], variables[:outer]) + ") * LANES + lane"
    if printer.reduction is None:
        stop, shape = (f"{nest.shape[-1]} * LANES", nest.shape[:-1]) if flows else ("LANES", nest.shape)
        return _function(head, _loops(shape, variables, _lane_loop([*lines, f"y[{place}] = {value};"], stop)))
    start, step = reduction_text(printer.reduction, root.dtype)
    body = [f"{C_TYPES[root.dtype]} sum[LANES];", *_lane_loop([f"sum[lane] = {start};"])]
    body += _loops(inner, variables[outer:], _lane_loop([*lines, step.format(value=value, sum="sum[lane]")]))
    body += _lane_loop([f"y[{place}] = sum[lane];"])
    return _function(head, _loops(nest.shape[:outer], variables[:outer], body))


def print_batch_sum(unit: Unit, name: str) -> str:
    """Print a unit that sums over examples.

    ``name(x0, …, sums, valid)`` adds a block's first `valid` examples, ``name_finish(sums, y)`` adds up the lanes.
    ``sums`` is as large as the result, times LANES, and starts from 0.
    """
    printer = UnitPrinter(unit, name)
    root = unit.root
    kind = C_TYPES[root.dtype]
    size = math.prod(root.spec.static_shape)
    nest, outer, inner = _nest(printer)
    variables = [f"i{axis}" for axis in range(len(nest.shape))]
    lines, values = printer.statements(nest, variables)
    value = values[printer.value]
    place = "(" + _place(nest.shape[:outer], variables[:outer]) + ") * LANES + lane"
    add = [*lines, f"sums[{place}] += {value};"]
    whole = _loops(nest.shape[:outer], variables[:outer], _loops(inner, variables[outer:], _lane_loop(add)))
    part = _loops(nest.shape[:outer], variables[:outer], _loops(inner, variables[outer:], _lane_loop(add, "valid")))
    head = f"static void {name}({_join(printer.operands(), f'{kind} *sums, int valid')})"
    body = ["if (valid == LANES) {", *indented(whole), "} else {", *indented(part), "}"]
    finish = _function(
        f"static void {name}_finish(const {kind} *sums, {kind} *y)",
        _loops((size,), ["i"], [f"{kind} sum = 0;", *_lane_loop(["sum += sums[i * LANES + lane];"]), "y[i] = sum;"]),
    )
    return "\n".join([_function(head, body), finish])


def print_flat(unit: Unit, name: str) -> str:
    """Print a unit without a batch, whose loop the threads share: ``name(x0, …, y0, …, n)``."""
    printer = UnitPrinter(unit, name)
    root = unit.root
    results = ", ".join(f"{C_TYPES[node.dtype]} *y{place}" for place, node in enumerate(unit.results))
    head = f"static void {name}({_join(printer.operands(), results, 'int64_t n')})"
    if isinstance(root.op, Size):
        shape = root.inputs[0].shape
        chosen = [shape[axis] for axis in root.op.axes]
        sizes = [f"n * {extent.multiple}" if isinstance(extent, Dim) else f"{extent}" for extent in chosen]
        return _function(head, ["#pragma omp single nowait", f"y0[0] = {' * '.join(sizes) or '1'};"])
    nest, outer, inner = _nest(printer)
    variables = [f"i{axis}" for axis in range(len(nest.shape))]
    lines, values = printer.statements(nest, variables)
    value = values[printer.value]
    place = _place(nest.shape[:outer], variables[:outer])
    if printer.reduction is not None:
        start, step = reduction_text(printer.reduction, root.dtype)
        body = [f"{C_TYPES[root.dtype]} sum = {start};"]
        body += _loops(inner, variables[outer:], [*lines, step.format(value=value, sum="sum")])
        nested = _loops(nest.shape[:outer], variables[:outer], [*body, f"y0[{place}] = sum;"])
        return _function(head, ["#pragma omp single nowait", "{", *indented(nested), "}"])
    stores = [f"y{number}[{place}] = {values[node]};" for number, node in enumerate(unit.results)]
    loops = _loops(nest.shape, variables, [*lines, *stores])
    if math.prod(nest.shape) < PARALLEL_FROM:
        return _function(head, ["#pragma omp single nowait", "{", *indented(loops), "}"])
    simd = " simd" if len(nest.shape) == 1 else ""
    return _function(head, [f"#pragma omp for{simd} schedule(static) nowait", *loops])


def _nest(printer: UnitPrinter) -> tuple[Nest, int, tuple[int, ...]]:
    """Return the nest with the kept axes before the reduced ones, how many are kept, and the reduced lengths."""
    if printer.reduction is None:
        nest = Nest.over(printer.shape, printer.leaves)
        return nest, len(nest.shape), ()
    shift = 1 if printer.lanes else 0
    reduced = [axis - shift for axis in printer.reduction.axes if axis >= shift]
    kept = [axis for axis in range(len(printer.shape)) if axis not in reduced]
    shape = tuple(printer.shape[axis] for axis in (*kept, *reduced))
    strides = {leaf: _strides(leaf, printer.shape) for leaf in printer.leaves}
    moved = {leaf: tuple(steps[axis] for axis in (*kept, *reduced)) for leaf, steps in strides.items()}
    return Nest(shape, moved), len(kept), shape[len(kept) :]


def reduction_text(op: Reduction, kind: dtypes.DType) -> tuple[str, str]:
    """Return the value to start from and the statement that takes in one more, with {sum} and {value} to fill in."""
    match op:
        case Sum():
            return "0", "{sum} += {value};"
        case Max():
            start = literal(-math.inf, kind) if kind.is_floating else _limit(kind, lowest=True)
            better = "{value} > {sum} || {value} != {value}" if kind.is_floating else "{value} > {sum}"
        case Min():
            start = literal(math.inf, kind) if kind.is_floating else _limit(kind, lowest=False)
            better = "{value} < {sum} || {value} != {value}" if kind.is_floating else "{value} < {sum}"
        case _:
            raise TypeError(type(op).__name__)
    return start, "{sum} = " + better + " ? {value} : {sum};"


def _limit(dtype: dtypes.DType, lowest: bool) -> str:
    limits = {"uint8": ("0", "UINT8_MAX"), "bool": ("0", "1"), "int32": ("INT32_MIN", "INT32_MAX")}
    low, high = limits.get(dtype.name, ("INT64_MIN", "INT64_MAX"))
    return low if lowest else high


def _place(shape: Sequence[int], variables: Sequence[str]) -> str:
    steps = zip(variables, row_major(shape), shape, strict=True)
    return linear(*((variable, step) for variable, step, size in steps if size > 1))


def _loops(shape: Sequence[int], variables: Sequence[str], body: list[str]) -> list[str]:
    if not shape:
        return ["{", *indented(body), "}"] if len(body) > 1 else body
    head = f"for (int64_t {variables[0]} = 0; {variables[0]} < {shape[0]}; {variables[0]}++) {{"
    return [head, *indented(_loops(shape[1:], variables[1:], body)), "}"]


def _lane_loop(body: list[str], stop: str = "LANES") -> list[str]:
    # One vector instruction a statement: unrolled early, the loop around it would be vectorised instead, at the price
    # of shuffles. In place, an element is read before it is written, whatever the compiler may fear.
    pragmas = ["#pragma GCC unroll 1", "#pragma GCC ivdep"]
    return [*pragmas, f"for (int lane = 0; lane < {stop}; lane++) {{", *indented(body), "}"]


def _function(head: str, body: list[str]) -> str:
    return "\n".join([head, "{", *indented(body), "}"])


def _join(*parts: str) -> str:
    return ", ".join(part for part in parts if part)
