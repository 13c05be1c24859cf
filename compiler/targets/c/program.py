"""Print one native segment as C: a function for each unit, and the function that calls them level by level."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from graphnn.compiler.targets.c.convolution import print_conv2d, print_conv2d_data_gradient
from graphnn.compiler.targets.c.convolution_geometry import Conv2dGeometry
from graphnn.compiler.targets.c.convolution_weight_gradient import (
    print_conv2d_weight_gradient,
    weight_gradient_accumulator_size,
)
from graphnn.compiler.targets.c.cooperative import print_dense_together, print_weight_gradient
from graphnn.compiler.targets.c.dense import Dense, print_dense
from graphnn.compiler.targets.c.expressions import C_TYPES
from graphnn.compiler.targets.c.flat_products import print_flat_product
from graphnn.compiler.targets.c.indexing import has_indexing_kernel, print_indexing
from graphnn.compiler.targets.c.loops import print_batch_sum, print_flat, print_lanes
from graphnn.compiler.targets.c.moves import print_move
from graphnn.compiler.targets.c.products import Product, print_product
from graphnn.compiler.targets.c.random import print_random
from graphnn.compiler.targets.c.rows import has_row_kernel, print_row_kernel
from graphnn.compiler.targets.c.scans import has_scan_kernel, print_scan
from graphnn.compiler.targets.c.segment import Call, Place, SegmentPlan
from graphnn.compiler.targets.c.squares import print_pack
from graphnn.compiler.targets.c.text import indented
from graphnn.compiler.targets.c.units import (
    MOVES,
    Unit,
    example_shape,
    is_batched,
    memory_of,
    read_in_place,
    summed_rows,
)
from graphnn.ops.conv import Conv2d, Conv2dDataGradient, Conv2dWeightGradient
from graphnn.ops.matmul import MatMul
from graphnn.ops.max_pool import MaxPool2d
from graphnn.ops.node import Node
from graphnn.ops.random import Random
from graphnn.ops.shape import Transpose

PART_LINES = 600
"""Lines of a translation unit, roughly, from which another one is begun."""

LARGEST_PARTS = 8
"""Translation units of a segment at most: each starts a compiler, and reads the headers."""


@dataclass(frozen=True)
class UnitCode:
    """A unit's C text and how it is called.

    Attributes
    ----------
    name : str
        The function's name.
    text : str
        The functions.
    operands : tuple of Node
        What is passed, in order, None for a null pointer; the result follows.
    sum_bytes : int
        For a sum over examples: bytes of what a thread adds up in.
    takes_block : bool
        Whether what is called per block is told the block's number, after all else.
    """

    name: str
    text: str
    operands: tuple[Node | None, ...]
    sum_bytes: int = 0
    takes_block: bool = False

    @property
    def signatures(self) -> list[str]:
        """Those of the functions that are called."""
        lines = self.text.split("\n")
        return [line for line in lines if line.startswith((f"void {self.name}(", f"void {self.name}_finish("))]


def print_unit(unit: Unit, name: str, lanes: int, threads: int) -> UnitCode:
    """Print the functions of one unit."""
    node = unit.root
    title = f"/* kernel: {unit.label} ({', '.join(n.name for n in unit.nodes)}), "
    title += f"{node.users_nodes[0].source.file}:{node.users_nodes[0].source.line} */\n"
    code = _code(unit, name, lanes, threads)
    text = code.text.replace(f"static void {name}(", f"void {name}(")
    text = text.replace(f"static void {name}_finish(", f"void {name}_finish(")
    return replace(code, text=title + text)


def _code(unit: Unit, name: str, lanes: int, threads: int) -> UnitCode:
    node = unit.root
    match node.op:
        case MatMul():
            return _product(unit, name, lanes, threads)
        case Conv2d():
            return UnitCode(name, print_conv2d(name, _geometry(node), lanes), (*node.inputs, None, None))
        case MaxPool2d() if isinstance(unit.nodes[0].op, Conv2d):
            conv = unit.nodes[0]
            nulls = (None,) if unit.also else (None, None)  # the bias, and the positions unless they are a result
            text = print_conv2d(name, _geometry(conv), lanes, pool=node.op.kernel)
            return UnitCode(name, text, (*conv.inputs, *nulls))
        case Conv2dDataGradient():
            geometry = Conv2dGeometry.of(node.op, node.spec, node.inputs[1].spec)
            return UnitCode(name, print_conv2d_data_gradient(name, geometry, lanes), node.inputs)
        case Conv2dWeightGradient():
            geometry = Conv2dGeometry.of(node.op, node.inputs[0].spec, node.spec)
            nbytes = 4 * weight_gradient_accumulator_size(geometry, lanes)
            return UnitCode(name, print_conv2d_weight_gradient(name, geometry, lanes), node.inputs, nbytes)
        case Random():
            text = print_random(node, name, lanes)
            return UnitCode(name, text, node.inputs, takes_block=is_batched(node))
    if (kernel := _kernel_of_one_op(unit, name, lanes, threads)) is not None:
        return UnitCode(name, kernel, node.inputs)
    if unit.kind == "lanes":
        return UnitCode(name, print_lanes(unit, name), unit.inputs)
    if unit.kind == "flat":
        return UnitCode(name, print_flat(unit, name), unit.inputs)
    nbytes = math.prod(node.spec.static_shape) * lanes * node.dtype.itemsize
    return UnitCode(name, print_batch_sum(unit, name), unit.inputs, nbytes)


def _kernel_of_one_op(unit: Unit, name: str, lanes: int, threads: int) -> str | None:
    """Return the kernel of an op that has one of its own, which takes the op's inputs as they are."""
    if isinstance(unit.root.op, MOVES):
        return print_move(unit.root, name, lanes)
    if has_indexing_kernel(unit.root):
        return print_indexing(unit, name, lanes, threads)
    if has_scan_kernel(unit.root):
        return print_scan(unit, name)
    return print_row_kernel(unit.root, name) if has_row_kernel(unit.root) else None


def _geometry(node: Node) -> Conv2dGeometry:
    assert isinstance(node.op, Conv2d)
    return Conv2dGeometry.of(node.op, node.inputs[0].spec, node.inputs[1].spec)


def _product(unit: Unit, name: str, lanes: int, threads: int) -> UnitCode:
    node = unit.root
    summed = summed_rows(node)
    if summed is not None:
        rows, columns = node.spec.static_shape
        positions = math.prod(example_shape(summed[0])) // rows
        return UnitCode(name, print_weight_gradient(rows, columns, name, lanes, threads, positions), summed)
    if is_batched(node) and node.rank == 2:
        layer, operands = _dense(node)
        if unit.kind == "lanes":
            return UnitCode(name, print_dense(layer, name), operands)
        return UnitCode(name, print_dense_together(layer, name, lanes, threads), operands)
    print_stack = print_product if is_batched(node) else print_flat_product
    return UnitCode(name, print_stack(Product.of(node), name, lanes), tuple(map(read_in_place, node.inputs)))


def _dense(node: Node) -> tuple[Dense, tuple[Node, ...]]:
    x, weight = node.inputs
    inputs, outputs = weight.spec.static_shape
    by_output, by_input = 1, outputs
    if isinstance(weight.op, Transpose):
        weight, by_output, by_input = weight.inputs[0], inputs, 1
    return Dense(inputs, outputs, by_output, by_input), (x, weight)


def print_segment(
    plan: SegmentPlan, code: dict[Unit, UnitCode], name: str, lanes: int, threads: int
) -> tuple[str, ...]:
    """Print a segment's translation units, which compile side by side; the last one has the function that is called."""
    head = f'#define LANES {lanes}\n#include "support.h"\n'
    kernels = [code[call.unit] for call in plan.calls if call.unit is not None]
    packed = dict.fromkeys(C_TYPES[call.node.dtype] for call in plan.calls if call.what == "pack")
    entry = [
        head,
        *(print_pack(kind, lanes) + "\n" for kind in packed),
        *(f"{signature};" for kernel in kernels for signature in kernel.signatures),
        "",
        *_SegmentPrinter(plan, code, lanes, threads).entry(name),
        "",
    ]
    return *("\n".join([head, *(kernel.text + "\n" for kernel in part)]) for part in _parted(kernels)), "\n".join(entry)


def _parted(kernels: Sequence[UnitCode]) -> Iterator[list[UnitCode]]:
    """Yield the kernels in parts of about equal length, in order."""
    sizes = [kernel.text.count("\n") for kernel in kernels]
    total, parts = sum(sizes), min(LARGEST_PARTS, 1 + sum(sizes) // PART_LINES)
    part: list[UnitCode] = []
    done = number = 0
    for kernel, size in zip(kernels, sizes, strict=True):
        part.append(kernel)
        done += size
        if done * parts >= total * (number + 1):
            yield part
            part, number = [], number + 1
    if part:
        yield part


class _SegmentPrinter:
    def __init__(self, plan: SegmentPlan, code: dict[Unit, UnitCode], lanes: int, threads: int) -> None:
        self.plan = plan
        self.code = code
        self.lanes = lanes
        self.threads = threads
        self.argument = {node: place for place, node in enumerate(plan.arguments)}
        self.counter = {id(call): place for place, call in enumerate(plan.calls)}

    def entry(self, name: str) -> Iterator[str]:
        own_bytes = self.plan.own_bytes
        yield "/* One run. `arguments`: values from outside. `scratch`: shared memory, then each thread's own."
        yield "   `seconds`, unless null, takes the time of each call on the last thread, and of waiting at the end. */"
        yield '__attribute__((visibility("default")))'
        yield f"int {name}(void *const *arguments, char *scratch, int64_t n, double *seconds)"
        yield "{"
        yield f"    const int64_t blocks = (n + LANES - 1) / LANES;  /* at most {self.lanes} examples each */"
        yield f"    #pragma omp parallel num_threads({self.threads})"
        yield "    {"
        yield "        const int thread = omp_get_thread_num();"
        yield "        char *const shared = scratch;"
        yield f"        char *const own = scratch + {self.plan.shared_bytes} + (int64_t)thread * {own_bytes};"
        yield f"        const int threads = omp_get_num_threads();  /* {self.threads}, or fewer */"
        yield "        const int64_t first = blocks * thread / threads;"
        yield "        const int64_t last = blocks * (thread + 1) / threads;"
        yield "        (void)own; (void)shared; (void)first; (void)last;"
        yield "        double clock = 0, *const times = thread == threads - 1 ? seconds : 0;"
        yield "        gn_tick(times, 0, &clock);"
        for level, group in groupby(self.plan.calls, key=lambda call: call.level):
            calls = list(group)
            lines = self._region(calls) if level % 2 else self._between(calls)
            yield from indented(indented(lines))
        yield "    }"
        yield "    return 0;"
        yield "}"

    def _between(self, calls: Sequence[Call]) -> Iterator[str]:
        """Print what lies between regions; threads meet after each stage."""
        for number, call in enumerate(calls):
            assert call.unit is not None
            if number and call.stage != calls[number - 1].stage:
                yield from self._barrier()
            values = [*self.code[call.unit].operands, *call.unit.results]
            arguments = [text for node in values for text in self._whole(node, call.level)]
            yield f"{self.code[call.unit].name}({', '.join([*arguments, 'n'])});"
            yield self._tick(call)
        yield from self._barrier()

    def _region(self, calls: Sequence[Call]) -> Iterator[str]:
        sums = [call.unit for call in calls if call.unit is not None and call.unit.kind == "batch-sum"]
        for unit in sums:
            place = self._address(self.plan.sums[unit], unit.root)
            yield f"memset({place}, 0, {self.code[unit].sum_bytes});"
        yield "for (int64_t block = first; block < last; block++) {"
        yield "    const int valid = n - block * LANES < LANES ? (int)(n - block * LANES) : LANES;"
        yield "    (void)valid;"
        for call in calls:
            yield f"    {self._in_block(call)}"
            yield f"    {self._tick(call)}"
        yield "}"
        for unit in sums:
            yield from self._hand_over(unit)
        yield f"gn_tick(times, {len(self.plan.calls)}, &clock);"
        yield from self._barrier()
        for unit in sums:
            node, kind = unit.root, C_TYPES[unit.root.dtype]
            size = math.prod(node.spec.static_shape)
            parts = self._address(self.plan.parts[unit], node)
            level = next(call.level for call in calls if call.unit is unit)
            yield f"gn_combine_{kind}({parts}, {self._pointer(node, level)}, {size}, threads);"
        if sums:
            yield f"gn_tick(times, {len(self.plan.calls)}, &clock);"
            yield from self._barrier()

    def _barrier(self) -> Iterator[str]:
        yield "#pragma omp barrier"
        yield f"gn_tick(times, {len(self.plan.calls) + 1}, &clock);"

    def _tick(self, call: Call) -> str:
        return f"gn_tick(times, {self.counter[id(call)]}, &clock);"

    def _in_block(self, call: Call) -> str:
        node = call.node
        kind = C_TYPES[node.dtype]
        size = math.prod(example_shape(node))
        if call.what in ("pack", "unpack"):
            rows = f"({kind} *)arguments[{self.argument[node]}] + block * LANES * {size}"
            inside = self._address(self.plan.places[node, call.level], node)
            pair = f"{rows}, {inside}" if call.what == "pack" else f"{inside}, {rows}"
            return f"gn_{call.what}_{kind}({pair}, {size}, valid);"
        unit = call.unit
        assert unit is not None
        operands = [self._pointer(given, call.level) for given in self.code[unit].operands]
        if unit.kind == "batch-sum":
            operands += [self._address(self.plan.sums[unit], node), "valid"]
        else:
            operands += [self._address(self.plan.places[each, call.level], each) for each in unit.results]
        if self.code[unit].takes_block:
            operands.append("block")
        return f"{self.code[unit].name}({', '.join(operands)});"

    def _hand_over(self, unit: Unit) -> Iterator[str]:
        """Print how a thread's sums become its part of the whole."""
        node = unit.root
        size = math.prod(node.spec.static_shape)
        sums = self._address(self.plan.sums[unit], node)
        part = f"{self._address(self.plan.parts[unit], node)} + (int64_t)thread * {size}"
        yield f"{self.code[unit].name}_finish({sums}, {part});"

    def _pointer(self, node: Node | None, level: int) -> str:
        if node is None:
            return "0"
        value, first = memory_of(node)
        start = f" + {first}{' * LANES' if is_batched(value) else ''}" if first else ""
        if (value, level) in self.plan.places:
            return self._address(self.plan.places[value, level], value) + start
        return f"({C_TYPES[value.dtype]} *)arguments[{self.argument[value]}]{start}"

    def _whole(self, node: Node | None, level: int) -> list[str]:
        """Return the pointer to a value; of one with a batch to its first block, and the bytes to the next one."""
        if node is None or not is_batched(node):
            return [self._pointer(node, level)]
        value, first = memory_of(node)
        place = self.plan.places[value, level]
        return [f"{place.area} + {place.offset + first * self.lanes * value.dtype.itemsize}", str(place.block_bytes)]

    def _address(self, place: Place, node: Node) -> str:
        block = f" + block * {place.block_bytes}" if place.block_bytes and is_batched(node) else ""
        return f"({C_TYPES[node.dtype]} *)({place.area} + {place.offset}{block})"
