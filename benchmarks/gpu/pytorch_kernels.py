"""PyTorch's kernels in the GPU benchmark, one op at a time: cuDNN's convolutions, its own pooling; and the peaks."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks.gpu.kernel_cases import ConvCase, KernelCase, Pass, PoolCase, arrays_of, case_of, sample_of
from benchmarks.gpu.peers.pytorch import about, set_precision
from benchmarks.gpu.repeats import repeats_for
from benchmarks.gpu.workloads import PRECISIONS, Precision
from benchmarks.worker import Answer

Call = Callable[[], object]
WARMING_CALLS = 3
COPY_BYTES = {"cuda": 1 << 30, "cpu": 1 << 20}
MATRIX_SIZE = {"cuda": 8192, "cpu": 64}
TINY = 64
LAYOUTS = {"channels first": torch.contiguous_format, "channels last": torch.channels_last}


class PytorchKernels:
    """Calls of one op after the other, in both layouts, each captured many times in a CUDA graph.

    Parameters
    ----------
    device : str
        graphnn's name of it; all but "cuda" stand for the CPU.
    """

    def __init__(self, device: str) -> None:
        self._kind = "cuda" if device == "cuda" else "cpu"
        self._calls: dict[Pass, dict[str, Callable[[], float]]] = {}

    def about(self) -> Answer:
        """Tell PyTorch's version."""
        return {"about": about()}

    def prepare(self, name: str, batch: int | None, precision: Precision) -> Answer:
        """Make a case's arrays and capture its passes; tell some elements of their results."""
        self._calls.clear()
        set_precision(precision)
        case = case_of(name, batch)
        samples: dict[Pass, list[float]] = {}
        for layout, memory_format in LAYOUTS.items():
            for which, call in _passes(case, precision, memory_format, self._kind).items():
                samples[which] = _sample(call())
                self._calls.setdefault(which, {})[layout] = _timer(call, self._kind)
        return {"samples": samples}

    def time(self) -> Answer:
        """Time the passes of the case, by layout."""
        return {
            "passes": {
                which: {layout: timed() for layout, timed in layouts.items()} for which, layouts in self._calls.items()
            }
        }

    def peaks(self) -> Answer:
        """Tell the bytes a second that a copy reads and writes, and by precision the FLOPs a second of a product."""
        size, nbytes = MATRIX_SIZE[self._kind], COPY_BYTES[self._kind]
        source = torch.rand(nbytes // 4, device=self._kind)
        target = torch.empty_like(source)
        rates = {"copy": 2 * nbytes / _timer(lambda: target.copy_(source), self._kind)()}
        for precision in PRECISIONS:
            set_precision(precision)
            dtype = torch.bfloat16 if precision == "bf16" else torch.float32
            a, b = (torch.randn(size, size, device=self._kind).to(dtype) for _ in range(2))
            multiply = partial(torch.matmul, a, b, out=torch.empty_like(a))
            rates[precision] = 2 * size**3 / _timer(multiply, self._kind)()
        return rates

    def launches(self, count: int) -> Answer:
        """Tell the time of a CUDA graph of so many tiny kernels, each of which needs the one before."""
        x = torch.zeros(TINY, device=self._kind)

        def chain() -> None:
            for _ in range(count):
                x.add_(1)

        return {"kernels": count, "seconds": _timer(chain, self._kind)()}


def _passes(case: KernelCase, precision: Precision, memory_format: Any, kind: str) -> dict[Pass, Call]:
    """Return the calls of a case's passes."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32

    given = {
        name: torch.from_numpy(values).to(kind).to(dtype).contiguous(memory_format=memory_format)
        for name, values in arrays_of(case).items()
    }
    return _convolution(case, **given) if isinstance(case, ConvCase) else _pooling(case, **given)


def _sample(result: Any) -> list[float]:
    """Return some elements of a call's result, or of the first of several that there is."""
    tensors = result if isinstance(result, tuple) else (result,)
    value = next(tensor for tensor in tensors if tensor is not None)
    return sample_of(value.float().cpu().numpy())


def _convolution(case: ConvCase, x: Any, dy: Any, weight: Any) -> dict[Pass, Call]:
    sizes = {"stride": [case.stride] * 2, "padding": [case.padding] * 2, "dilation": [1, 1]}

    def gradient(by_data: bool) -> object:
        return torch.ops.aten.convolution_backward(
            dy,
            x,
            weight,
            None,
            **sizes,
            transposed=False,
            output_padding=[0, 0],
            groups=1,
            output_mask=[by_data, not by_data, False],
        )

    return {
        "forward": lambda: torch.nn.functional.conv2d(x, weight, **sizes),
        "data gradient": lambda: gradient(by_data=True),
        "weight gradient": lambda: gradient(by_data=False),
    }


def _pooling(case: PoolCase, x: Any, dy: Any) -> dict[Pass, Call]:
    window, stride, padding = [case.window] * 2, [case.stride] * 2, [case.padding] * 2
    aten = torch.ops.aten
    if case.kind == "average":
        return {
            "forward": lambda: torch.nn.functional.avg_pool2d(x, window, stride, padding),
            "backward": lambda: aten.avg_pool2d_backward(dy, x, window, stride, padding, False, True, None),
        }
    _, indices = aten.max_pool2d_with_indices(x, window, stride, padding)
    return {
        "forward": lambda: aten.max_pool2d_with_indices(x, window, stride, padding),
        "backward": lambda: aten.max_pool2d_with_indices_backward(
            dy, x, window, stride, padding, [1, 1], False, indices
        ),
    }


def _timer(call: Call, kind: str) -> Callable[[], float]:
    """Return a function that gives the seconds of a call, by many of them."""
    with torch.no_grad():
        return _captured(call) if kind == "cuda" else _plain(call)


def _plain(call: Call) -> Callable[[], float]:
    def seconds() -> float:
        started = time.perf_counter()
        call()
        return time.perf_counter() - started

    call()
    return seconds


def _captured(call: Call) -> Callable[[], float]:
    """Capture the call, so often that a replay takes long enough; replays are timed by events."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARMING_CALLS):
            call()
    torch.cuda.current_stream().wait_stream(side)
    repeats = repeats_for(_replay_seconds(_graph_of(call, 1)))
    graph = _graph_of(call, repeats)
    return lambda: _replay_seconds(graph) / repeats


def _graph_of(call: Call, repeats: int) -> Any:
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(repeats):
            call()
    graph.replay()
    return graph


def _replay_seconds(graph: Any) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    graph.replay()  # a card that waited lowers its clock
    start.record()
    graph.replay()
    end.record()
    end.synchronize()
    milliseconds: float = start.elapsed_time(end)
    return milliseconds / 1000
