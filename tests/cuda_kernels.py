"""Instances of `.cu` files for tests: many in one program, run on the emulator and compared with the ops' values."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiled_kernels import run_with_sanitizers_loaded, sanitizing
from graphnn.compiler.targets.c.toolchain import unavailable_reason
from graphnn.compiler.targets.cuda import kernels
from graphnn.compiler.targets.cuda.elements import as_stored, stored_type
from graphnn.compiler.targets.cuda.emulator.machine import EmulatorMachine, Order
from graphnn.compiler.targets.cuda.emulator.toolchain import emulator_compiler
from graphnn.compiler.targets.cuda.instance import Instance
from graphnn.compiler.targets.cuda.lowering import program_text
from graphnn.compiler.targets.cuda.rules.macros import working_type
from graphnn.ops import dtypes
from graphnn.ops.context import apply
from graphnn.ops.dtypes import to_interface, to_storage
from graphnn.ops.evaluation import evaluate_op
from graphnn.ops.graph import Graph
from graphnn.ops.node import Node
from graphnn.ops.op import Op
from graphnn.ops.spec import Dim, Shape, TensorSpec, as_shape, bind_extent
from graphnn.ops.state import placeholder

FOLDER = Path(kernels.__file__).parent
HEADERS = program_text([])
ORDERS: tuple[Order, ...] = ("forward", "reverse", 1)
ARCHITECTURES = (75, 80, 86, 90)
FLOATING = ("float16", "bfloat16", "float32", "float64")

needs_emulator = pytest.mark.skipif(unavailable_reason() is not None, reason=f"no C compiler: {unavailable_reason()}")
needs_nvcc = pytest.mark.skipif(not shutil.which("nvcc"), reason="nvcc is not installed")
for_each_architecture = pytest.mark.parametrize(
    "architecture", [pytest.param(each, marks=needs_nvcc) for each in ARCHITECTURES]
)


@dataclass(frozen=True)
class Case:
    """Nodes that one kernel computes from the same inputs, and those inputs.

    Attributes
    ----------
    name : str
        Unique in its module.
    nodes : tuple of Node
        What STORE takes, and STORE1.
    instances : tuple of Instance
        From the rule.
    values : tuple of numpy.ndarray
        The inputs for the largest batch, in the form in which users see them.
    tolerance : float or None
        Relative and absolute; None: all bits are right.
    """

    name: str
    nodes: tuple[Node, ...]
    instances: tuple[Instance, ...]
    values: tuple[np.ndarray, ...]
    tolerance: float | None

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The inputs of the nodes."""
        return self.nodes[0].inputs

    @property
    def workspace(self) -> int:
        """Bytes of the workspace that the instances share."""
        return max(instance.workspace for instance in self.instances)

    def given(self, batch: int) -> list[np.ndarray]:
        """Return the inputs of a run, as they are stored."""
        parts = (x[_bounds(node.shape, batch)] for node, x in zip(self.inputs, self.values, strict=True))
        return [
            np.array(to_storage(part, node.dtype), order="C") for node, part in zip(self.inputs, parts, strict=True)
        ]

    def expected(self, batch: int) -> list[np.ndarray]:
        """Return what the nodes are, as users see it; where rounding may differ, from numbers in double precision."""
        results = []
        for node in self.nodes:
            given, specs = self.given(batch)[: len(node.inputs)], [x.spec.bind(batch) for x in node.inputs]
            out = node.spec.bind(batch)
            if self.tolerance is not None:
                given = [to_interface(x, spec.dtype) for x, spec in zip(given, specs, strict=True)]
                given = [x.astype(np.float64) if x.dtype.kind == "f" else x for x in given]
                specs, out = [_as_double(spec) for spec in specs], _as_double(out)
            results.append(to_interface(evaluate_op(node.op, out, given, specs), out.dtype))
        return results


def _bounds(shape: Shape, batch: int) -> tuple[slice, ...]:
    return tuple(slice(bind_extent(extent, batch)) for extent in shape)


def _as_double(spec: TensorSpec) -> TensorSpec:
    return spec.with_dtype(dtypes.float64) if spec.dtype.is_floating else spec


def case(
    name: str,
    op: Op,
    given: Sequence[tuple[tuple[int | Dim | None, ...], str, np.ndarray]],
    rule: Callable[[Node, int], list[Instance] | None],
    batch: int,
    tolerance: float | None = None,
    second: Op | None = None,
) -> Case:
    """Return the case of an op on inputs of given shapes, dtypes and values; `second` is what STORE1 takes."""
    with Graph():
        inputs = [placeholder(f"x{place}", as_shape(shape), dtype) for place, (shape, dtype, _) in enumerate(given)]
        nodes = [apply(op, *inputs)]
        if second is not None:
            nodes.append(apply(second, inputs[0]))
    instances = rule(nodes[0], batch)
    assert instances is not None, name
    return Case(name, tuple(nodes), tuple(instances), tuple(values for _, _, values in given), tolerance)


def program(cases: Iterable[Case], index: str = "int") -> tuple[str, list[list[str]]]:
    """Return the text of all cases' kernels, and the names of each case's."""
    texts, names = [HEADERS, f"#define INDEX {index}"], []
    for number, each in enumerate(cases):
        names.append([f"case{number}_{place}" for place in range(len(each.instances))])
        texts.append(_case_text(each, names[-1]))
    return "\n".join(texts), names


def _case_text(each: Case, names: Sequence[str]) -> str:
    reads = [f"const {stored_type(node.dtype)} *__restrict__ x{i}" for i, node in enumerate(each.inputs)]
    writes = [f"{stored_type(node.dtype)} *y{i}" for i, node in enumerate(each.nodes)]
    room = [f"{working_type(each.nodes[-1].dtype)} *w0"] if each.workspace else []
    parameters = ", ".join([*reads, *writes, *room, "int n"])
    arguments = ", ".join(parameter.split()[-1].lstrip("*") for parameter in parameters.split(", "))
    lines = []
    stores = {}
    for place, node in enumerate(each.nodes):
        function = f"{names[0]}_store{place}"
        lines += [
            f"GN_DEVICE void {function}({parameters}, INDEX i, {working_type(node.dtype)} value)",
            f"{{ y{place}[i] = {as_stored('value', node.dtype)}; }}",
        ]
        stores[f"STORE{place or ''}(i, value)"] = f"{function}(ARGUMENTS, (i), (value))"
    for name, instance in zip(names, each.instances, strict=True):
        defines = {"NAME": name, "PARAMETERS": parameters, "ARGUMENTS": arguments, **stores, **instance.defines}
        lines += [f"#define {key} {value}" for key, value in defines.items()]
        lines += [(FOLDER / instance.file).read_text()]
        lines += [f"#undef {key.split('(')[0]}" for key in defines]
    return "\n".join(lines)


class Runner:
    """The kernels of many cases in one program, on emulators that run threads in several orders."""

    def __init__(self, cases: Sequence[Case], index: str = "int", machines: Sequence[EmulatorMachine] = ()) -> None:
        text, self.names = program(cases, index)
        self.cases = cases
        self.machines = machines or [EmulatorMachine(order) for order in ORDERS]
        everything = [name for names in self.names for name in names]
        self.kernels = self.machines[0].compile(text, everything)

    def run(self, number: int, batch: int, machine: EmulatorMachine) -> list[np.ndarray]:
        """Return what a case's kernels make of its inputs, as users see it."""
        each = self.cases[number]
        given = each.given(batch)
        results = [np.empty(node.spec.bind(batch).static_shape, node.dtype.storage) for node in each.nodes]
        memories = [machine.allocate(array.nbytes) for array in (*given, *results)]
        for memory, array in zip(memories, given, strict=False):
            machine.upload(memory.address, array)
        room = [machine.allocate(each.workspace)] if each.workspace else []
        addresses = [memory.address for memory in (*memories, *room)]
        for name, instance in zip(self.names[number], each.instances, strict=True):
            x, y, z = (blocks.count(batch) for blocks in instance.grid)
            machine.launch(self.kernels[name], (x, y, z), instance.threads, [*addresses, batch])
        for memory, result in zip(memories[len(given) :], results, strict=True):
            machine.download(memory.address, result)
        return [to_interface(result, node.dtype) for result, node in zip(results, each.nodes, strict=True)]

    def check(self, number: int, batches: Iterable[int]) -> None:
        """Compare a case's results with its nodes' values, and those of different orders with each other."""
        for batch in batches:
            expected = self.cases[number].expected(batch)
            first: list[np.ndarray] | None = None
            for machine in self.machines:
                results = self.run(number, batch, machine)
                for result, value in zip(results, expected, strict=True):
                    self._compare(number, result, value)
                first = first or results
                for result, other in zip(results, first, strict=True):
                    np.testing.assert_array_equal(result, other, "the order of threads changes the result")

    def check_all(self, batches: Sequence[int]) -> None:
        """Check every case."""
        for number in range(len(self.cases)):
            self.check(number, batches)

    def _compare(self, number: int, result: np.ndarray, value: np.ndarray) -> None:
        each = self.cases[number]
        if each.tolerance is None:
            np.testing.assert_array_equal(result, value, each.name)
        else:
            np.testing.assert_allclose(result, value, each.tolerance, each.tolerance, err_msg=each.name)


def runner_of(cases: Sequence[Case]) -> Any:
    """Return a fixture for a module's tests: the kernels of its cases, compiled once, whether that fails or not."""

    @pytest.fixture(scope="module")
    def runner() -> Runner:
        return Runner(cases)

    return runner


def for_each_case(cases: Sequence[Case]) -> pytest.MarkDecorator:
    """Return a mark for a test that runs a case on the emulator: it gets the `number` of one after the other."""
    return pytest.mark.parametrize(
        "number", [pytest.param(place, id=each.name, marks=needs_emulator) for place, each in enumerate(cases)]
    )


def check_with_sanitizers(module: str, function: str, folder: Path) -> None:
    """Call a test module's function with a machine whose kernels and memory are watched, in a process of its own."""
    script = (
        "import runpy; from pathlib import Path; from cuda_kernels import sanitized_machine;"
        f"runpy.run_path({module!r})[{function!r}](sanitized_machine(Path({str(folder)!r})))"
    )
    run_with_sanitizers_loaded(emulator_compiler(), script)


def sanitized_machine(folder: Path) -> EmulatorMachine:
    """Return an emulator that finds accesses outside of memory."""
    return EmulatorMachine(compiler=sanitizing(emulator_compiler()), folder=folder)


def check_with_nvcc(text: str, architecture: int, folder: Path) -> None:
    """Compile a program by nvcc: without a warning, and without a register that does not fit."""
    (folder / "program.cu").write_text(text)
    command = ["nvcc", "-cubin", f"-arch=sm_{architecture}", "-std=c++17", "-Werror=all-warnings", "-Xptxas=-v"]
    done = subprocess.run(
        [*command, "-o", "program.cubin", "program.cu"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = re.findall(
        r"function '(\w+)' for.*\n.*\n.*, (\d+) bytes spill stores, (\d+) bytes spill loads", done.stderr
    )
    assert len(found) == text.count("GN_KERNEL(") - HEADERS.count("GN_KERNEL("), done.stderr
    spilling = [name for name, stores, loads in found if stores != "0" or loads != "0"]
    assert not spilling, f"{spilling} spill registers:\n{done.stderr}"
