"""A stand-in for the module ``cudnn``, at the border of what graphnn calls, and an emulator that has it.

Device memory of the emulator is the host's, so that its plans can compute by NumPy: what they are told by the calls
alone, not what the node says.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from graphnn.compiler.targets.cuda.cudnn import Cudnn
from graphnn.compiler.targets.cuda.emulator.machine import EmulatorMachine
from graphnn.ops import dtypes
from graphnn.ops.conv import Conv2d, Conv2dDataGradient, Conv2dWeightGradient
from graphnn.ops.dtypes import to_interface, to_storage
from graphnn.ops.spec import TensorSpec

NOTES = (
    *("TENSOR_CORE", "DOWN_CONVERT_INPUTS", "REDUCED_PRECISION_REDUCTION", "FFT", "NONDETERMINISTIC", "WINOGRAD"),
    *("WINOGRAD_TILE_4x4", "WINOGRAD_TILE_6x6", "WINOGRAD_TILE_13x13", "STRICT_NAN_PROP"),
)
TYPES = {"HALF": dtypes.float16, "BFLOAT16": dtypes.bfloat16, "FLOAT": dtypes.float32, "DOUBLE": dtypes.float64}
STAGES = ("validate", "build_operation_graph", "create_execution_plans", "check_support", "build_plans")


class NotSupportedError(Exception):
    """As the one of cuDNN's frontend."""


def names(*given: str) -> SimpleNamespace:
    return SimpleNamespace(**{name: name for name in given})


class Tensor:
    def __init__(self, **given: Any) -> None:
        self.__dict__.update(given)
        self.output = False

    def set_output(self, value: bool) -> Tensor:
        self.output = value
        return self

    def set_dim(self, dim: list[int]) -> Tensor:
        self.dim = dim
        return self

    def set_stride(self, stride: list[int]) -> Tensor:
        self.stride = stride
        return self

    def set_data_type(self, data_type: str) -> Tensor:
        self.data_type = data_type
        return self

    def set_uid(self, uid: int) -> Tensor:
        self.uid = uid
        return self

    @property
    def spec(self) -> TensorSpec:
        assert self.stride == [int(np.prod(self.dim[axis + 1 :])) for axis in range(4)]
        return TensorSpec(self.dim, TYPES[self.data_type])

    def array(self, address: int) -> np.ndarray:
        count = self.spec.nbytes(1)
        memory = np.ctypeslib.as_array((ctypes.c_uint8 * count).from_address(address))
        return memory.view(self.spec.dtype.storage).reshape(self.dim)


class Graph:
    """A plan of one convolution."""

    def __init__(self, module: CudnnDouble, **given: Any) -> None:
        self.module = module
        self.given = given
        self.tensors: dict[int, Tensor] = {}
        self.done: list[str] = []
        self.barred: list[str] = []
        self.room = 0
        assert given["handle"] == module.handle

    def tensor(self, *, uid: int, **given: Any) -> Tensor:
        self.tensors[uid] = Tensor(uid=uid, **given)
        return self.tensors[uid]

    def conv_fprop(self, image: Tensor, weight: Tensor, **windows: list[int]) -> Tensor:
        return self._convolution(Conv2d, image, weight, windows, lambda _: image.dim[1] // weight.dim[1])

    def conv_dgrad(self, loss: Tensor, filter: Tensor, **windows: list[int]) -> Tensor:  # noqa: A002  # its name there
        return self._convolution(Conv2dDataGradient, loss, filter, windows, lambda dx: dx[1] // filter.dim[1])

    def conv_wgrad(self, image: Tensor, loss: Tensor, **windows: list[int]) -> Tensor:
        return self._convolution(Conv2dWeightGradient, image, loss, windows, lambda dw: image.dim[1] // dw[1])

    def _convolution(
        self, op: Any, first: Tensor, second: Tensor, windows: Mapping[str, list[int]], groups: Callable[..., int]
    ) -> Tensor:
        assert set(windows) == {"pre_padding", "post_padding", "stride", "dilation"}
        self.op, self.windows, self.groups = op, windows, groups
        assert [first.uid, second.uid] == [1, 2]
        self.tensors[3] = Tensor()
        return self.tensors[3]

    def validate(self) -> None:
        assert self.tensors[3].output
        assert {tensor.data_type for tensor in self.tensors.values()} == {self.given["io_data_type"]}
        self.done.append("validate")

    def build_operation_graph(self) -> None:
        self.done.append("build_operation_graph")

    def create_execution_plans(self, modes: Sequence[str]) -> None:
        assert modes == ["A", "FALLBACK"]
        self.done.append("create_execution_plans")

    def deselect_numeric_notes(self, notes: Sequence[str]) -> None:
        if "create_execution_plans" in self.done:  # it is forgotten if there are no plans yet
            self.barred += notes

    def deselect_workspace_greater_than(self, room: int) -> None:
        self.room = room

    def check_support(self) -> None:
        if self.tensors[1].dim[0] in self.module.refused:
            raise NotSupportedError("No valid engine configs for this")
        self.done.append("check_support")

    def build_plans(self) -> None:
        self.done.append("build_plans")
        assert tuple(self.done) == STAGES
        self.module.graphs.append(self)

    @property
    def selected_engine(self) -> object:
        return self.module.engine

    def get_workspace_size(self) -> int:
        return min(self.module.workspace, self.room)

    def execute(self, tensors: Mapping[int, int], workspace: int, handle: int) -> None:
        assert handle == self.module.handle
        assert workspace % 256 == 0
        assert self.module.stream == 0
        self.module.runs += 1
        if self.module.failure is not None:
            raise self.module.failure
        ctypes.memset(workspace, 0xAB, self.get_workspace_size())
        x, y, out = (self.tensors[uid].array(tensors[uid]) for uid in (1, 2, 3))
        spec = self.tensors[3].spec
        padding = tuple(zip(self.windows["pre_padding"], self.windows["post_padding"], strict=True))
        attributes: Any = [
            tuple(self.windows["stride"]),
            padding,
            tuple(self.windows["dilation"]),
            self.groups(spec.shape),
        ]
        op = self.op(*attributes) if self.op is Conv2d else self.op(*attributes, spec.shape[2:])
        value = op.evaluate(spec, *(to_interface(each, spec.dtype) for each in (x, y)))
        out[...] = to_storage(value * self.module.factor, spec.dtype)


class CudnnDouble:
    """The module, its handle and the machine's library in one.

    Parameters
    ----------
    workspace : int
        Bytes that each convolution wants.
    refused : sequence of int
        The sizes of a first axis for which there is no plan.
    """

    __version__ = "1.99"
    data_type = names(*TYPES)
    heur_mode = names("A", "B", "FALLBACK")
    numerical_note = names(*NOTES)

    def __init__(self, workspace: int = 1000, refused: Sequence[int] = ()) -> None:
        self.workspace = workspace
        self.refused = refused
        self.handle = 1234
        self.engine: object = None
        self.failure: Exception | None = None
        self.factor = 1.0
        self.stream = -1
        self.runs = 0
        self.graphs: list[Graph] = []

    def create_handle(self) -> int:
        return self.handle

    def set_stream(self, *, handle: int, stream: int) -> None:
        assert handle == self.handle
        self.stream = stream

    def backend_version_string(self) -> str:
        return "9.99.0"

    def pygraph(self, **given: Any) -> Graph:
        return Graph(self, **given)


class EmulatorWithCudnn(EmulatorMachine):
    """Runs cuDNN's plans too; recorded work takes what `seconds` says: with cuDNN, and without."""

    def __init__(self, module: CudnnDouble, seconds: tuple[float, float] = (1.0, 2.0), card: str = "a card") -> None:
        super().__init__()
        self.module = module
        self.seconds = seconds
        self.timings = 0
        self._library = Cudnn(module, self, card)

    @property
    def cudnn(self) -> Cudnn:
        return self._library

    def timed(self, work: Callable[[], None]) -> float:
        self.timings += 1
        before = self.module.runs
        work()
        return self.seconds[self.module.runs == before]
