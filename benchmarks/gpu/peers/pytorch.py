"""PyTorch in the GPU benchmark: eager, as a captured CUDA graph, and compiled by inductor, each in either layout."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from benchmarks.gpu.peers import Training
from benchmarks.gpu.workloads import Precision, Workload
from benchmarks.networks import Arrays
from benchmarks.peers.pytorch import model_of, optimizer_of

WARMING_STEPS = 3
"""Steps before a capture, as PyTorch's notes on CUDA graphs ask for."""


def set_precision(precision: Precision) -> None:
    """Allow TF32 for float32, or forbid it, and let cuDNN measure its algorithms."""
    # Not `fp32_precision`, the newer setting: inductor reads these and raises an error where both are used.
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True


def about() -> str:
    """Return PyTorch's version and those of CUDA and cuDNN."""
    stands_on = f" (CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()})" if torch.version.cuda else ""
    return f"PyTorch {torch.__version__}{stands_on}"


class _LossOfRows(torch.nn.Module):  # type: ignore[misc]  # torch's types are not read
    """From row numbers to the loss of these examples.

    The data set is a buffer: its address never changes, so that inductor's CUDA graphs read it in place.
    """

    def __init__(self, model: Any, images: Any, labels: Any, precision: Precision, last: bool) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("images", images.permute(0, 2, 3, 1).contiguous() if last else images)
        self.register_buffer("labels", labels)
        self._lowered = precision == "bf16"
        self._last = last

    def forward(self, rows: Any) -> Any:
        """Return the mean of their losses."""
        images = self.images.index_select(0, rows)
        if self._last:  # a batch of (N, H, W, C), seen as (N, C, H, W), has channels last in memory
            images = images.permute(0, 3, 1, 2)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self._lowered, cache_enabled=False):
            logits = self.model(images)
        return torch.nn.functional.cross_entropy(logits.float(), self.labels.index_select(0, rows))


class TorchTraining:
    """A `torch.nn.Sequential`, autograd and a fused optimiser; the losses are added up on the device."""

    def __init__(
        self,
        workload: Workload,
        weights: Arrays,
        images: np.ndarray,
        labels: np.ndarray,
        mode: str,
        last: bool,
        device: str,
    ) -> None:
        set_precision(workload.precision)
        self.about, self.note = about(), ""
        self._device = device
        layout = torch.channels_last if last else torch.contiguous_format
        model = model_of(workload.network, weights).to(device).to(memory_format=layout)
        self._optimizer = optimizer_of(workload.network, model.parameters())
        data = torch.from_numpy(images).to(device), torch.from_numpy(labels.astype(np.int64)).to(device)
        self._loss_of = _LossOfRows(model, *data, workload.precision, last)
        if mode in ("reduce-overhead", "max-autotune"):
            self._loss_of = torch.compile(self._loss_of, mode=mode)
        self._total = torch.zeros((), device=device)
        self._captured = CapturedStep(self, workload.network.batch, workload.steps) if mode == "graph" else None

    def place(self, rows: np.ndarray) -> Any:
        """Copy them to the device."""
        return torch.from_numpy(rows.astype(np.int64)).to(self._device)

    def train(self, rows: Any) -> float:
        """Do the steps and wait for the sum of the losses."""
        self._total.zero_()
        if self._captured is None:
            for chosen in rows:
                self.step(chosen)
        else:
            self._captured.replay(rows)
        return float(self._total.item()) / len(rows)

    def step(self, chosen: Any) -> None:
        """Do one step, or begin it."""
        self._optimizer.zero_grad(set_to_none=True)
        loss = self._loss_of(chosen)
        loss.backward()
        self._optimizer.step()
        self._total += loss.detach()

    def forget_steps(self, weights: dict[str, Any]) -> None:
        """Put weights and the optimiser's state back, in place, to where they were before any step."""
        with torch.no_grad():
            for name, value in self._loss_of.model.state_dict().items():
                value.copy_(weights[name])
            for state in self._optimizer.state.values():
                for value in state.values():
                    if isinstance(value, torch.Tensor):
                        value.zero_()

    def weights(self) -> dict[str, Any]:
        """Return a copy of the weights."""
        return {name: value.clone() for name, value in self._loss_of.model.state_dict().items()}


class CapturedStep:
    """A step as one CUDA graph, which takes the rows of the step whose number lies on the device, and counts on."""

    def __init__(self, training: TorchTraining, batch: int, steps: int) -> None:
        self._place = torch.zeros(1, dtype=torch.int64, device="cuda")
        self._rows = torch.zeros((steps, batch), dtype=torch.int64, device="cuda")
        before = training.weights()

        def step() -> None:
            training.step(self._rows.index_select(0, self._place).view(-1))
            self._place.add_(1)

        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARMING_STEPS):
                self._place.zero_()
                step()
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            step()
        training.forget_steps(before)

    def replay(self, rows: Any) -> None:
        """Do the steps of these rows."""
        self._rows[: len(rows)].copy_(rows)
        self._place.zero_()
        for _ in range(len(rows)):
            self._graph.replay()


def start(
    workload: Workload, weights: Arrays, images: np.ndarray, labels: np.ndarray, variant: str, device: str
) -> Training:
    """Return the training; variants are "eager", "graph", "reduce-overhead" and "max-autotune".

    With " channels-last" after that, channels come last in memory.
    """
    mode, _, layout = variant.partition(" ")
    where = "cuda" if device == "cuda" else "cpu"
    return TorchTraining(workload, weights, images, labels, mode, layout == "channels-last", where)
