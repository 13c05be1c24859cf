"""The process of one competitor in the GPU benchmark, for trainings or for single kernels.

Commands and answers are lines of JSON, as in `benchmarks.worker`; `benchmarks.gpu.process` is the other side.
"""

from __future__ import annotations

import importlib
import sys
import traceback

from benchmarks.worker import own_output, serve

WORKERS = {
    "training": ("benchmarks.gpu.training_worker", "TrainingWorker"),
    "graphnn-kernels": ("benchmarks.gpu.graphnn_kernels", "GraphnnKernels"),
    "pytorch-kernels": ("benchmarks.gpu.pytorch_kernels", "PytorchKernels"),
}
"""Where the workers are, by what the command line calls them."""


def main() -> int:
    """Take the kind of worker and its arguments from the command line and serve."""
    kind, *arguments = sys.argv[1:]
    module, name = WORKERS[kind]
    answers = own_output()
    try:
        serve(getattr(importlib.import_module(module), name)(*arguments), answers)
    except Exception as error:  # noqa: BLE001  # whatever a library raises is this competitor's result
        traceback.print_exc()
        reason = next(iter(str(error).splitlines()), "")
        print(f"{type(error).__name__}: {reason}", file=sys.stderr)  # the parent shows the last line
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
