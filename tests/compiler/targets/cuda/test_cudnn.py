"""Convolutions by cuDNN, on a stand-in for it, and on real GPUs by ``-m gpu``."""

import logging
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from cudnn_doubles import NOTES, CudnnDouble, EmulatorWithCudnn
from graphnn.compiler.targets.c.toolchain import find_compiler, unavailable_reason
from graphnn.compiler.targets.cuda.cudnn import (
    INSTALL,
    KEPT_BATCHES,
    LARGEST_WORKSPACE,
    CudnnConvolution,
    describe_cudnn,
    open_cudnn,
)
from graphnn.compiler.targets.cuda.machine import Machine
from graphnn.ops.conv import Convolution
from graphnn.ops.dtypes import to_interface, to_storage
from graphnn.ops.errors import CompileError
from graphnn.ops.node import Node

pytestmark = pytest.mark.skipif(find_compiler() is None, reason=f"no C compiler: {unavailable_reason()}")

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "uneven padding": {"padding": ((2, 1), (0, 3))},
    "stride with a rest": {"stride": (2, 3), "padding": 1},
    "dilation": {"dilation": (2, 1), "padding": 2},
    "groups": {"groups": 2},
}


def convolutions(dtype: str = "float32", **options: Any) -> list[Node]:
    """Return a convolution and both its gradients."""
    with gn.Graph():
        x = gn.placeholder("x", (None, 4, 9, 8), dtype)
        weight = gn.placeholder("weight", (6, 4 // options.get("groups", 1), 3, 2), dtype)
        y = gn.ops.conv2d(x, weight, **options)
        dx, dw = gn.gradients((y * y).sum(), [x, weight])
    found = {node.op.label: node for root in (dx, dw) for node in _upwards(root) if isinstance(node.op, Convolution)}
    assert len(found) == 3
    return list(found.values())


def _upwards(node: Node) -> list[Node]:
    return [node, *(above for given in node.inputs for above in _upwards(given))]


def computed(machine: Machine, convolution: CudnnConvolution, node: Node, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what cuDNN computes, and what NumPy does."""
    generator = np.random.default_rng(batch)
    specs = [given.spec.bind(batch) for given in node.inputs]
    stored = [to_storage(generator.standard_normal(spec.static_shape).astype(np.float32), spec.dtype) for spec in specs]
    out = node.spec.bind(batch)
    memory = [machine.allocate(array.nbytes) for array in stored] + [machine.allocate(out.nbytes(1))]
    for place, array in zip(memory, stored, strict=False):
        machine.upload(place.address, array)
    workspace = machine.allocate(convolution.workspace + 64)
    addresses = [*(place.address for place in memory), workspace.address + 64]
    assert convolution.run(addresses, batch)
    got = np.empty(out.static_shape, out.dtype.storage)
    machine.download(addresses[2], got)
    expected = node.op.evaluate(out, *(to_interface(array, node.dtype) for array in stored))
    return to_interface(got, node.dtype), to_interface(to_storage(expected, node.dtype), node.dtype)


@pytest.mark.parametrize("case", CASES)
def test_all_sizes_reach_cudnn(case: str) -> None:
    module = CudnnDouble()
    machine = EmulatorWithCudnn(module)
    for node in convolutions(**CASES[case]):
        convolution = CudnnConvolution(machine.cudnn, node, 5, "float32")
        for batch in (5, 2):
            got, expected = computed(machine, convolution, node, batch)
            np.testing.assert_array_equal(got, expected)
    assert len(module.graphs) == 6


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_types(dtype: str) -> None:
    module = CudnnDouble()
    machine = EmulatorWithCudnn(module)
    for node in convolutions(dtype):
        got, expected = computed(machine, CudnnConvolution(machine.cudnn, node, 3, "float32"), node, 3)
        np.testing.assert_array_equal(got, expected)
    assert {graph.given["compute_data_type"] for graph in module.graphs} == {
        "DOUBLE" if dtype == "float64" else "FLOAT"
    }


@pytest.mark.parametrize(
    ("dtype", "precision", "cores"),
    [("float32", "float32", False), ("float32", "tf32", True), ("float16", "float32", True)],
)
def test_what_cudnn_may_not_do(dtype: str, precision: str, cores: bool) -> None:
    module = CudnnDouble()
    CudnnConvolution(EmulatorWithCudnn(module).cudnn, convolutions(dtype)[0], 3, precision)
    (graph,) = module.graphs
    assert set(NOTES) - set(graph.barred) == ({"TENSOR_CORE", "STRICT_NAN_PROP"} if cores else {"STRICT_NAN_PROP"})
    assert graph.room == LARGEST_WORKSPACE


def test_smaller_batches_keep_within_the_workspace() -> None:
    module = CudnnDouble(workspace=5000)
    machine = EmulatorWithCudnn(module)
    node = convolutions()[0]
    convolution = CudnnConvolution(machine.cudnn, node, 20, "float32")
    module.workspace = 10**9
    for batch in (*range(1, KEPT_BATCHES + 2), 1, 1):
        computed(machine, convolution, node, batch)
    assert [graph.room for graph in module.graphs[1:]] == [5000] * (KEPT_BATCHES + 2)  # that for 1 was built twice


def test_what_cudnn_cannot_do_is_left_to_others(caplog: pytest.LogCaptureFixture) -> None:
    module = CudnnDouble(refused=[2, 3])
    machine = EmulatorWithCudnn(module)
    node = convolutions()[0]
    convolution = CudnnConvolution(machine.cudnn, node, 5, "float32")
    memory = machine.allocate(1 << 20)
    addresses = [memory.address + (place << 16) for place in range(4)]
    with caplog.at_level(logging.WARNING, "graphnn"):
        assert not convolution.run(addresses, 2)
        assert not convolution.run(addresses, 2)
        assert not convolution.run(addresses, 3)
    assert not convolution.run([addresses[0] + 4, *addresses[1:]], 5)  # cuDNN wants tensors at multiples of 16
    assert module.runs == 0
    assert caplog.messages == [
        "kernels of graphnn compute what cuDNN can't: NotSupportedError: No valid engine configs for this"
    ]

    module.failure = RuntimeError("CUDNN_STATUS_EXECUTION_FAILED")
    assert not convolution.run(addresses, 5)
    module.failure = None
    assert not convolution.run(addresses, 5)  # not a second time
    assert module.runs == 1


def test_kernels_of_the_frontend_are_not_taken() -> None:
    module = CudnnDouble()
    module.engine = "frost_conv"
    with pytest.raises(CompileError, match="whose arithmetic it does not tell"):
        CudnnConvolution(EmulatorWithCudnn(module).cudnn, convolutions()[0], 5, "float32")


def test_opening(caplog: pytest.LogCaptureFixture) -> None:
    def missing() -> CudnnDouble:
        raise ModuleNotFoundError("No module named 'cudnn'")

    def broken() -> CudnnDouble:
        raise OSError("libcudnn.so: cannot open shared object file")

    machine = EmulatorWithCudnn(CudnnDouble())
    with caplog.at_level(logging.WARNING, "graphnn"):
        assert open_cudnn(machine, "a card", missing) is None
        assert not caplog.messages
        assert open_cudnn(machine, "a card", broken) is None
        assert "libcudnn.so" in caplog.text
    found = open_cudnn(machine, "a card", CudnnDouble)
    assert found is not None
    assert found.identity == "a card, cuDNN 9.99.0 (frontend 1.99)"

    assert describe_cudnn(CudnnDouble) == (
        "cuDNN 9.99.0 (frontend 1.99): its convolutions compete with graphnn's",
        "",
    )
    assert describe_cudnn(missing)[1] == INSTALL
    assert "libcudnn.so" in describe_cudnn(broken)[0]
    assert describe_cudnn(broken)[1].startswith(INSTALL)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("case", sorted({*CASES} - {"uneven padding"}))  # for which cuDNN may have no plan
def test_real_convolutions(case: str, dtype: str) -> None:
    pytest.importorskip("cudnn")
    from graphnn.compiler.targets.cuda.cupy_machine import machine

    gpu = machine()
    assert gpu.cudnn is not None
    for node in convolutions(dtype, **CASES[case]):
        convolution = CudnnConvolution(gpu.cudnn, node, 5, "float32")
        got, expected = computed(gpu, convolution, node, 5)
        apart = np.abs(got.astype(np.float64) - expected).max() / np.abs(expected).max()
        assert apart < {"float32": 1e-5, "float16": 1e-2, "bfloat16": 4e-2}[dtype], node.op.label
