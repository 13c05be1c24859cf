"""The parent's side of a worker's process in the GPU benchmark."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.gpu.workloads import Precision
from benchmarks.process import WorkerProcess


def worker_process(
    kind: str, arguments: list[str], device: str, folder: Path, precision: Precision | None = None
) -> WorkerProcess:
    """Start a worker.

    Parameters
    ----------
    kind : str
        A key of `benchmarks.gpu.worker.WORKERS`.
    arguments : list of str
        The worker's.
    device : str
        graphnn's name of it. Peers run on the GPU beside "cuda", else on the CPU.
    folder : Path
        Where what it writes and its caches go.
    precision : str, optional
        With "fp32", NVIDIA's libraries are told once more to leave TF32 alone.
    """
    environment = {
        **os.environ,
        "XDG_CACHE_HOME": str(folder / "cache"),
        "CUPY_CACHE_DIR": str(folder / "cache" / "cupy"),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "cache" / "inductor"),
        "TRITON_CACHE_DIR": str(folder / "cache" / "triton"),
        "JAX_PLATFORMS": "cuda" if device == "cuda" else "cpu",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # several competitors hold memory of one card at once
    }
    if precision == "fp32":
        environment["NVIDIA_TF32_OVERRIDE"] = "0"
    name = "-".join([kind, *arguments[:4]]).replace(" ", "-").replace(os.sep, "-")
    return WorkerProcess("benchmarks.gpu.worker", [kind, *arguments], environment, folder / f"{name}.log")
