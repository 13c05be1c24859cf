"""Convolutions by NVIDIA's cuDNN, where it and its package ``nvidia-cudnn-frontend`` are installed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from graphnn.ops import dtypes
from graphnn.ops.conv import Conv2d, Conv2dDataGradient, Conv2dWeightGradient, Convolution
from graphnn.ops.errors import CompileError
from graphnn.ops.node import Node
from graphnn.ops.spec import TensorSpec

if TYPE_CHECKING:
    from graphnn.compiler.targets.cuda.machine import Machine

LARGEST_WORKSPACE = 256 << 20
"""Bytes that a convolution may take for itself, at the largest batch."""

KEPT_BATCHES = 8
"""Batch sizes whose plans of cuDNN are kept."""

INSTALL = 'pip install "graphnn[cudnn]"'

_METHODS: dict[type[Convolution], tuple[str, str, str]] = {
    Conv2d: ("conv_fprop", "image", "weight"),
    Conv2dDataGradient: ("conv_dgrad", "loss", "filter"),
    Conv2dWeightGradient: ("conv_wgrad", "image", "loss"),
}
_TYPES = {
    dtypes.float16: "HALF",
    dtypes.bfloat16: "BFLOAT16",
    dtypes.float32: "FLOAT",
    dtypes.float64: "DOUBLE",
}
# Sums in another order each time; factors or sums in a smaller type than asked for; and transforms of whole tiles,
# which spread a NaN or an infinity to pixels that do not see it, and lose more digits.
_NEVER = (
    "NONDETERMINISTIC",
    "DOWN_CONVERT_INPUTS",
    "REDUCED_PRECISION_REDUCTION",
    "FFT",
    "WINOGRAD",
    "WINOGRAD_TILE_4x4",
    "WINOGRAD_TILE_6x6",
    "WINOGRAD_TILE_13x13",
)
_INPUT_ALIGNMENT = 16  # what the frontend promises cuDNN of every tensor
_WORKSPACE_ALIGNMENT = 256


class Cudnn:
    """cuDNN on one machine.

    Parameters
    ----------
    module : module
        The package's module ``cudnn``.
    machine : Machine
        Where it computes.
    card : str
        The card, its driver and what else a choice may depend on.

    Attributes
    ----------
    identity : str
        The same, and the versions of cuDNN.
    """

    def __init__(self, module: Any, machine: Machine, card: str) -> None:
        self.module = module
        self.machine = machine
        self.handle = module.create_handle()
        self.identity = f"{card}, {versions(module)}"
        self._has_complained = False

    def complain(self, error: Exception) -> None:
        """Say once what cuDNN fails at."""
        if not self._has_complained:
            self._has_complained = True
            reason = str(error).strip().partition("\n")[0]
            logging.getLogger("graphnn").warning(
                f"kernels of graphnn compute what cuDNN can't: {type(error).__name__}: {reason}"
            )


class CudnnConvolution:
    """A convolution, or one of its gradients, for any batch size.

    Parameters
    ----------
    cudnn : Cudnn
        What computes it.
    node : Node
        What is computed.
    max_batch : int
        The largest batch.
    precision : {"float32", "tf32"}
        What float32 may be multiplied in.

    Attributes
    ----------
    workspace : int
        Bytes that it needs besides the inputs and the result.
    """

    def __init__(self, cudnn: Cudnn, node: Node, max_batch: int, precision: str) -> None:
        self._cudnn = cudnn
        self._node = node
        exact = node.dtype is dtypes.float32 and precision == "float32"
        # The only way to multiply float32 by tensor cores is to round it to TF32.
        self._barred = (*_NEVER, "TENSOR_CORE") if exact else _NEVER
        largest = self._build(max_batch, LARGEST_WORKSPACE)
        self._room: int = largest.get_workspace_size()
        self._graphs: dict[int, Any] = {max_batch: largest}
        self.workspace = self._room + _WORKSPACE_ALIGNMENT

    def run(self, addresses: Sequence[int], batch: int) -> bool:
        """Ask for a run, or return False where cuDNN can't compute this one: then nothing has been asked for.

        The first run for a batch size must not be recorded: cuDNN loads and compiles its kernels in it.

        Parameters
        ----------
        addresses : sequence of int
            Of the inputs, the result and the workspace.
        batch : int
            The batch size.
        """
        if any(address % _INPUT_ALIGNMENT for address in addresses[:3]):
            return False
        try:
            graph = self._graph(batch)
            if graph is not None:
                self._cudnn.machine.call(partial(self._execute, graph, addresses))
        except Exception as error:  # noqa: BLE001  # whatever it is, there are kernels that do not need cuDNN
            self._cudnn.complain(error)
            graph = self._graphs[batch] = None
        return graph is not None

    def _execute(self, graph: Any, addresses: Sequence[int], stream: int) -> None:
        workspace = -(-addresses[3] // _WORKSPACE_ALIGNMENT) * _WORKSPACE_ALIGNMENT
        tensors = {place + 1: address for place, address in enumerate(addresses[:3])}
        self._cudnn.module.set_stream(handle=self._cudnn.handle, stream=stream)
        graph.execute(tensors, workspace, handle=self._cudnn.handle)

    def _graph(self, batch: int) -> Any:
        """Return cuDNN's plan for a batch size; None if that has failed before."""
        if batch not in self._graphs:
            if len(self._graphs) >= KEPT_BATCHES:
                del self._graphs[next(iter(self._graphs))]
            self._graphs[batch] = None
            self._graphs[batch] = self._build(batch, self._room)
        return self._graphs[batch]

    def _build(self, batch: int, room: int) -> Any:
        built: list[Any] = []
        self._cudnn.machine.call(lambda _: built.append(self._built(batch, room)))
        return built[0]

    def _built(self, batch: int, room: int) -> Any:
        """Return the first plan of those that cuDNN recommends which is exact and needs no more than `room` bytes."""
        cudnn, node, op = self._cudnn.module, self._node, self._node.op
        assert isinstance(op, Convolution)
        kind = getattr(cudnn.data_type, _TYPES[node.dtype])
        sums = cudnn.data_type.DOUBLE if node.dtype is dtypes.float64 else cudnn.data_type.FLOAT
        graph = cudnn.pygraph(
            io_data_type=kind, intermediate_data_type=sums, compute_data_type=sums, handle=self._cudnn.handle
        )
        method, *roles = _METHODS[type(op)]
        inputs = {}
        for place, (role, given) in enumerate(zip(roles, node.inputs, strict=True)):
            dim, stride = _layout(given.spec, batch)
            inputs[role] = graph.tensor(name=role, dim=dim, stride=stride, data_type=kind, uid=place + 1)
        before, after = ([pair[end] for pair in op.padding] for end in (0, 1))
        windows = {"pre_padding": before, "post_padding": after, "stride": [*op.stride], "dilation": [*op.dilation]}
        result = getattr(graph, method)(**inputs, **windows)  # how many groups there are follows from the channels
        dim, stride = _layout(node.spec, batch)
        result.set_output(True).set_dim(dim).set_stride(stride).set_data_type(kind).set_uid(3)
        graph.validate()
        graph.build_operation_graph()
        graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
        # Not earlier: the notes of plans are only known once there are plans.
        graph.deselect_numeric_notes([getattr(cudnn.numerical_note, note) for note in self._barred])
        graph.deselect_workspace_greater_than(room)
        graph.check_support()
        graph.build_plans()
        if getattr(graph, "selected_engine", None) is not None:
            raise CompileError("cuDNN's frontend chose a kernel of its own, whose arithmetic it does not tell")
        return graph


def open_cudnn(machine: Machine, card: str, load: Callable[[], Any] | None = None) -> Cudnn | None:
    """Return cuDNN, or None where it is not installed, or can't be used: one line on the logger "graphnn" says why."""
    try:
        return Cudnn((load or _load)(), machine, card)
    except ModuleNotFoundError:
        return None
    except Exception as error:  # noqa: BLE001  # without its library, the package raises errors of several kinds
        logging.getLogger("graphnn").warning(f"cuDNN can't be used, so kernels of graphnn compute everything: {error}")
        return None


def versions(module: Any) -> str:
    """Return the versions of cuDNN and of its frontend."""
    return f"cuDNN {module.backend_version_string()} (frontend {module.__version__})"


def describe_cudnn(load: Callable[[], Any] | None = None) -> tuple[str, str]:
    """Return whether cuDNN's convolutions compete with graphnn's, and what to do where they do not. Never raises."""
    try:
        return f"{versions((load or _load)())}: its convolutions compete with graphnn's", ""
    except ModuleNotFoundError:
        return "not installed (its convolutions would compete with graphnn's)", INSTALL
    except Exception as error:  # noqa: BLE001  # as above
        return f"can't be used: {error}", f"{INSTALL}, whose cuDNN is for CUDA 13; nvidia-cudnn-cu12 is for CUDA 12"


def _load() -> Any:
    return import_module("cudnn")


def _layout(spec: TensorSpec, batch: int) -> tuple[list[int], list[int]]:
    """Return a row-major tensor's sizes and the steps between its elements."""
    shape = spec.bind(batch).static_shape
    steps = [1]
    for size in reversed(shape[1:]):
        steps.insert(0, size * steps[0])
    return [*shape], steps
