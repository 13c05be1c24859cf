"""Print a unit as CUDA text, once the plan has given its values their places."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from graphnn.compiler.plan.form import View, row_major_strides
from graphnn.compiler.targets.cuda.bodies import Operand, elements, leaves, pointwise_lines
from graphnn.compiler.targets.cuda.elements import extent_text, rounded, value_type
from graphnn.compiler.targets.cuda.instance import Blocks, Instance
from graphnn.compiler.targets.cuda.reductions import reduction_functions, reduction_kernels, register_type
from graphnn.compiler.targets.cuda.rules import RULES, pair_kernels
from graphnn.compiler.targets.cuda.rules.products import PRODUCTS, pooled_convolution, product_kernels
from graphnn.compiler.targets.cuda.units import Unit
from graphnn.ops.node import Node
from graphnn.ops.reduce import Reduction
from graphnn.ops.slicing import Concat
from graphnn.ops.spec import Extent, Shape, product

if TYPE_CHECKING:
    from graphnn.compiler.targets.cuda.cudnn import CudnnConvolution
    from graphnn.compiler.targets.cuda.machine import Kernel, Machine

SHARED_HEADER = "shared_math.h"  # lies with the C target, as the expressions that call its functions do
HEADERS = ("device.h", "device_math.h", SHARED_HEADER)
POINTWISE_THREADS = 256
LARGEST_INT = 2**31 - 1


@dataclass(frozen=True)
class Launch:
    """One kernel and how many threads run it.

    Attributes
    ----------
    kernel : str
        The kernel's name.
    grid : three Blocks
        Blocks along x, y and z.
    threads : int
        Threads of a block.
    """

    kernel: str
    grid: tuple[Blocks, Blocks, Blocks]
    threads: int


@dataclass(frozen=True)
class Lowered:
    """A unit's text and its launches, one after the other; all take the unit's reads, writes, workspace and n.

    Attributes
    ----------
    text : str
        CUDA text.
    launches : tuple of Launch
        In order.
    reads, writes : tuple of Node
        Whose values lie where the step's views show.
    anywhere : int
        How many of the reads, the first ones, are read in any order; the others element by element, as results are
        stored, which may therefore lie in the same place.
    convolution : CudnnConvolution, optional
        What runs instead of the kernels, wherever it can.
    """

    text: str
    launches: tuple[Launch, ...]
    reads: tuple[Node, ...]
    writes: tuple[Node, ...]
    anywhere: int
    convolution: CudnnConvolution | None = None

    def run(self, machine: Machine, kernels: Mapping[str, Kernel], addresses: Sequence[int], batch: int) -> None:
        """Ask for a run over `batch` examples, given the addresses of reads, writes and workspace."""
        if self.convolution is not None and self.convolution.run(addresses, batch):
            return
        for launch in self.launches:
            x, y, z = (blocks.count(batch) for blocks in launch.grid)
            machine.launch(kernels[launch.kernel], (x, y, z), launch.threads, [*addresses, batch])


@dataclass(frozen=True)
class Places:
    """Where a unit's values are.

    Attributes
    ----------
    reads : tuple of (Node, View)
        The anchors' inputs in the op's order, then what pointwise nodes load.
    writes : dict of Node to View
        The unit's outputs.
    workspace : bool
        Whether there is a workspace.
    """

    reads: tuple[tuple[Node, View], ...]
    writes: Mapping[Node, View]
    workspace: str = ""

    @property
    def operands(self) -> tuple[tuple[Node, Operand], ...]:
        """The reads as parameters."""
        return tuple((node, Operand(f"x{place}", view)) for place, (node, view) in enumerate(self.reads))

    @property
    def results(self) -> dict[Node, Operand]:
        """The writes as parameters."""
        return {node: Operand(f"y{place}", view) for place, (node, view) in enumerate(self.writes.items())}

    @property
    def parameters(self) -> str:
        """The parameters as a kernel declares them."""
        written = {view.storage for view in self.writes.values()}
        reads = [
            f"const {operand.element} *{'' if operand.view.storage in written else '__restrict__ '}{operand.name}"
            for _, operand in self.operands
        ]
        writes = [f"{operand.element} *{operand.name}" for operand in self.results.values()]
        workspace = [f"{self.workspace} *w0"] if self.workspace else []
        return ", ".join([*reads, *writes, *workspace, "int n"])

    @property
    def arguments(self) -> str:
        """The parameters as they are passed on."""
        names = [operand.name for _, operand in self.operands] + [operand.name for operand in self.results.values()]
        return ", ".join([*names, *(["w0"] if self.workspace else []), "n"])


def kernels_of(unit: Unit, max_batch: int, precision: str, views: Sequence[View] = ()) -> list[Instance]:
    """Return the instances of `.cu` files that compute a unit's anchors.

    Parameters
    ----------
    unit : Unit
        One with an anchor.
    max_batch : int
        The largest batch.
    precision : {"float32", "tf32"}
        What products of float32 may be computed in.
    views : sequence of View
        The anchor's inputs, once their places are known; without, they count as row-major.
    """
    anchor = unit.anchors[-1]
    if isinstance(anchor.op, Concat):
        return []
    if isinstance(anchor.op, Reduction):
        return reduction_kernels(anchor, max_batch)
    if isinstance(anchor.op, PRODUCTS):
        return product_kernels(anchor, max_batch, precision, views, *unit.before)
    if unit.before:
        pooled = pooled_convolution(unit.before[-1], unit.anchors, max_batch, precision)
        assert pooled is not None
        return [pooled]
    if len(unit.anchors) > 1:
        return pair_kernels(unit.anchors, max_batch)
    instances = RULES[type(anchor.op)](anchor, max_batch)
    assert instances is not None
    return instances


def reads_of(unit: Unit) -> tuple[Node, ...]:
    """Return what a unit's kernels are given to read, in order."""
    if unit.parts:
        return tuple(node for part in unit.parts for node in leaves(part.nodes))
    if not unit.anchors:
        return leaves(unit.nodes)
    anchor = unit.anchors[-1]
    first = leaves((*unit.before, anchor)) if isinstance(anchor.op, Reduction) else unit.operands
    after = leaves(unit.after, unit.anchors)
    return (*first, *after)


def lower(unit: Unit, name: str, places: Places, instances: Sequence[Instance], max_batch: int) -> Lowered:
    """Return a unit's text and launches."""
    index = "int" if _largest(unit, places, max_batch) <= LARGEST_INT else "long long"
    head = [
        f"/* kernel: {name} - {unit.label} */",
        *(f"/*   {_one_line(f'{node.name}: {node.source}')} */" for node in unit.nodes),
        f"#define INDEX {index}",
    ]
    if unit.parts:
        body, launches = _side_by_side(unit, name, places)
    elif not unit.anchors:
        body, launches = _pointwise(unit, name, places)
    elif isinstance(unit.root.op, Concat):
        body, launches = _copies(unit.root, name, places)
    else:
        body, launches = _anchored(unit, name, places, instances)
    text = "\n".join([*head, *body, "#undef INDEX", ""])
    anywhere = len(places.reads) - len(leaves(unit.after, unit.anchors)) if unit.anchors else 0
    return Lowered(text, tuple(launches), tuple(node for node, _ in places.reads), tuple(places.writes), anywhere)


def _largest(unit: Unit, places: Places, max_batch: int) -> int:
    views = [*(view for _, view in places.reads), *places.writes.values()]
    specs = [*(view.spec for view in views), *(given.spec for anchor in unit.anchors for given in anchor.inputs)]
    return max((spec.elements(max_batch) for spec in specs), default=1) + 1024


def _one_line(text: str) -> str:
    return text.replace("*/", "* /").replace("\n", " ")


def _pointwise(unit: Unit, name: str, places: Places) -> tuple[list[str], list[Launch]]:
    lines = pointwise_lines(unit.shape, unit.nodes, dict(places.operands), places.results, {}, "i")
    blocks = Blocks(product(unit.shape), POINTWISE_THREADS)
    launch = Launch(name, (blocks, Blocks(1), Blocks(1)), POINTWISE_THREADS)
    return _plain_kernel(name, places.parameters, unit.shape, lines), [launch]


def _plain_kernel(name: str, parameters: str, shape: Shape, lines: Sequence[str]) -> list[str]:
    """Return a kernel that carries out statements for each index ``i`` of a shape."""
    return [
        f"GN_KERNEL({POINTWISE_THREADS}) {name}({parameters})",
        "{",
        f"    const INDEX i = (INDEX)blockIdx.x * {POINTWISE_THREADS} + (INDEX)threadIdx.x;",
        f"    if (i >= {elements(shape)}) return;",
        *(f"    {line}" for line in lines),
        "}",
    ]


def _side_by_side(unit: Unit, name: str, places: Places) -> tuple[list[str], list[Launch]]:
    """Print parts whose blocks stand one after another in one grid."""
    threads = POINTWISE_THREADS
    text: list[str] = []
    choice: list[str] = []
    operands = iter(places.operands)
    first = 0
    for number, part in enumerate(unit.parts):
        reads = dict(next(operands) for _ in leaves(part.nodes))
        writes = {node: operand for node, operand in places.results.items() if node in part.outputs}
        size = product(part.shape)
        assert isinstance(size, int)
        blocks = -(-size // threads)
        text += [
            f"GN_DEVICE void {name}_part{number}({places.parameters}, INDEX i)",
            "{",
            *(f"    {line}" for line in pointwise_lines(part.shape, part.nodes, reads, writes, {}, "i")),
            "}",
        ]
        choice += [
            f"    if (block < {first + blocks}) {{",
            f"        const INDEX i = (block - {first}) * {threads} + (INDEX)threadIdx.x;",
            f"        if (i < {size}) {name}_part{number}({places.arguments}, i);",
            "        return;",
            "    }",
        ]
        first += blocks
    kernel = [
        f"GN_KERNEL({threads}) {name}({places.parameters})",
        "{",
        "    const INDEX block = (INDEX)blockIdx.x;",
        *choice,
        "}",
    ]
    return [*text, *kernel], [Launch(name, (Blocks(first), Blocks(1), Blocks(1)), threads)]


def _copies(concat: Node, name: str, places: Places) -> tuple[list[str], list[Launch]]:
    """Print one kernel for each input of a concatenation, which copies it to its part of the whole."""
    op = concat.op
    assert isinstance(op, Concat)
    threads = POINTWISE_THREADS
    steps = row_major_strides(concat.shape)
    text: list[str] = []
    launches = []
    start: Extent = 0
    for number, (node, operand) in enumerate(places.operands):
        kernel = name if number == 0 else f"{name}_then{number}"
        part = Operand(f"(y0 + {extent_text(start)})", View(0, node.spec, strides=steps))
        lines = pointwise_lines(node.shape, (), {node: operand}, {node: part}, {}, "i")
        text += _plain_kernel(kernel, places.parameters, node.shape, lines)
        launches.append(Launch(kernel, (Blocks(product(node.shape), threads), Blocks(1), Blocks(1)), threads))
        start = steps[op.axis] * node.shape[op.axis] + start
    return text, launches


def _anchored(unit: Unit, name: str, places: Places, instances: Sequence[Instance]) -> tuple[list[str], list[Launch]]:
    """Print instances of `.cu` files, after the functions that they call for each element."""
    anchor = unit.anchors[-1]
    operands = places.operands
    text: list[str] = []
    count = len(reads_of(unit)) - len(leaves(unit.after, unit.anchors))
    if isinstance(anchor.op, Reduction):
        text += reduction_functions(name, anchor, unit.before, dict(operands[:count]), places.parameters)
    text += _store_functions(unit, name, places, dict(operands[count:]))
    launches = []
    for number, instance in enumerate(instances):
        kernel = name if number == 0 else f"{name}_then{number}"
        stores = {
            f"STORE{'' if place == 0 else place}(i, value)": f"{name}_store{place}(ARGUMENTS, (i), (value))"
            for place in range(len(unit.anchors))
        }
        defines = {
            "NAME": kernel,
            "PARAMETERS": places.parameters,
            "ARGUMENTS": places.arguments,
            **stores,
            **instance.defines,
        }
        if kernel != name:  # the functions are those of the first kernel
            defines = {key: value.replace("GN_JOIN(NAME,", f"GN_JOIN({name},") for key, value in defines.items()}
        text += [f"#define {key} {value}" for key, value in defines.items()]
        text += [kernel_text(instance.file).rstrip()]
        text += [f"#undef {key.split('(')[0]}" for key in defines]
        launches.append(Launch(kernel, instance.grid, instance.threads))
    return text, launches


def _store_functions(unit: Unit, name: str, places: Places, reads: Mapping[Node, Operand]) -> list[str]:
    """Return the functions that take an anchor's result for one element, go on from there, and store."""
    text: list[str] = []
    for place, anchor in enumerate(reversed(unit.anchors)):
        nodes = unit.after_anchor(anchor)
        needed = leaves(nodes, unit.anchors)
        chosen = {node: operand for node, operand in reads.items() if node in needed}
        writes = {node: operand for node, operand in places.results.items() if node is anchor or node in nodes}
        value = rounded("value", anchor.dtype) if nodes else f"({value_type(anchor.dtype)})value"
        shape = nodes[-1].shape if nodes else anchor.shape  # a reshaped result has its elements in the same order
        lines = pointwise_lines(shape, nodes, chosen, writes, {anchor: value}, "i")
        text += [
            f"GN_DEVICE void {name}_store{place}({places.parameters}, INDEX i, {register_type(anchor.dtype)} value)",
            "{",
            *(f"    {line}" for line in lines),
            "}",
        ]
    return text


def program_text(kernels: Sequence[str]) -> str:
    """Return a program of some units' texts, on its own."""
    return "\n".join([*map(kernel_text, HEADERS), *kernels])


@cache
def kernel_text(file: str) -> str:
    """Return the text of a file of `kernels/`, or of the shared header, without its leading comment."""
    folder = "c" if file == SHARED_HEADER else "cuda.kernels"
    text = (files(f"graphnn.compiler.targets.{folder}") / file).read_text(encoding="utf-8")
    return re.sub(r"\A/\*.*?\*/\s*", "", text, flags=re.DOTALL)
