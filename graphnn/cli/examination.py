"""What ``graphnn doctor`` finds out."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import graphnn

if TYPE_CHECKING:
    from graphnn.compiler.targets.cuda.availability import Environment
    from graphnn.ops.errors import CompileError

State = Literal["right", "known", "absent", "wrong"]


@dataclass(frozen=True)
class Finding:
    """A fact about this machine: fine, neutral, missing but not needed, or wrong; and what to do about it."""

    subject: str
    text: str
    state: State = "right"
    advice: str = ""


CORE = ("numpy", "networkx", "click", "rich", "platformdirs")
EXTRAS = (
    ("matplotlib", ("matplotlib",), 'pip install "graphnn[plot]"', "draws curves"),
    ("cupy", ("cupy-cuda12x", "cupy-cuda13x", "cupy"), 'pip install "graphnn[cuda12]" (or cuda13)', "NVIDIA GPUs"),
    ("onnx", ("onnx",), 'pip install "graphnn[onnx]"', "exchanges models"),
    ("torchvision", ("torchvision",), 'pip install "graphnn[vision]"', "more data sets"),
    ("safetensors", ("safetensors",), "pip install safetensors", "reads checkpoints elsewhere"),
)
"""Extras: the name, the distributions that bring it, how to install it and what for."""

KNOWN_DEVICES = ("cpu", "numpy", "cuda", "cuda-emulator")

MNIST_DIGESTS = {
    "train-images-idx3-ubyte.gz": "0b367032e93c5d0cea0925647cfdb18614af8ee15f83e6f2fc2ad904a6835971",
    "train-labels-idx1-ubyte.gz": "1787548bbe0bff1ec2ecdc0ef292b02df999e2d1a6002d27500982c652b17203",
    "t10k-images-idx3-ubyte.gz": "1a1a05eab793c14bb050b398624a11b0ffd1a2953baed553b1b9bd079e2a20be",
    "t10k-labels-idx1-ubyte.gz": "b91679a0acfe4ba0e50a2437a903084cba1f5f92592b016a25a7dfd00455798b",
}
"""SHA-256 of the files that come with graphnn."""


def examine() -> Iterator[tuple[str, Iterable[Finding]]]:
    """Yield the sections of the report and what is in them."""
    yield "graphnn", core()
    yield "extras", extras()
    yield "machine", machine()
    yield "GPU", gpu()
    yield "devices", devices()
    yield "data", [mnist_files(Path(graphnn.__file__).parent / "data" / "mnist")]


def core() -> Iterator[Finding]:
    """Yield the versions of graphnn, Python and what graphnn can't do without."""
    yield Finding("graphnn", f"{graphnn.__version__} in {Path(graphnn.__file__).parent}")
    yield Finding("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    for name in CORE:
        version = _version(name)
        try:
            import_module(name)
        except ImportError as error:
            yield Finding(
                name, f"{version or 'not installed'}: {error}", "wrong", f"pip install --force-reinstall {name}"
            )
        else:
            yield Finding(name, f"{version} ({_matrix_library()})" if name == "numpy" else str(version))


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _matrix_library() -> str:
    """Return the name and version of the library that multiplies NumPy's matrices."""
    import numpy as np

    config = np.show_config(mode="dicts")
    found = config.get("Build Dependencies", {}).get("blas", {})
    return f"{found.get('name', 'unknown BLAS')} {found.get('version', '')}".strip()


def extras() -> Iterator[Finding]:
    """Yield the extras that are installed, and how to install the others."""
    for name, distributions, command, purpose in EXTRAS:
        version = next(filter(None, map(_version, distributions)), None)
        if version is None:
            yield Finding(name, f"not installed ({purpose})", "absent", command)
        else:
            yield Finding(name, version)


def machine() -> Iterator[Finding]:
    """Yield what the machine has."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("processors", f"{usable} usable of {os.cpu_count()}", "known")
    yield _compiler()


def _compiler() -> Finding:
    """Say which C compiler is used, or why there is none and what to install."""
    from graphnn.compiler.targets.c.toolchain import find_compiler, unavailable_reason

    compiler = find_compiler()
    if compiler is None:
        return Finding(
            "C compiler", f"none: {unavailable_reason()}", "absent", "install gcc, clang or the package ziglang"
        )
    threads = "OpenMP" if compiler.threads else "no OpenMP"
    text = f"{' '.join(compiler.command)}: {compiler.version}; vectors of {compiler.vector_bytes} bytes, {threads}"
    return Finding("C compiler", text, "known")


def gpu(environment: Environment | None = None) -> Iterator[Finding]:
    """Yield what there is for NVIDIA GPUs, and for their emulator."""
    from graphnn.compiler.targets.cuda.availability import THIS_MACHINE, describe
    from graphnn.compiler.targets.cuda.cudnn import describe_cudnn

    for subject, text, advice in describe(environment or THIS_MACHINE):
        yield Finding(subject, text, "absent" if advice else "known", advice)
    text, advice = describe_cudnn()
    yield Finding("cuDNN", text, "absent" if advice else "known", advice)
    missing = _missing("cuda-emulator")
    if missing:
        yield Finding("emulator", missing.message, "absent", missing.hint)
    else:
        yield Finding(
            "emulator", 'device="cuda-emulator" runs the same kernels on the processor, to test them', "known"
        )


def _missing(device: str) -> CompileError | None:
    """Return what a device lacks that not every machine has, or None."""
    from graphnn.compiler.targets.c.build import BuildError
    from graphnn.compiler.targets.cuda.availability import require_gpu
    from graphnn.compiler.targets.cuda.emulator.toolchain import emulator_compiler, load_scheduler
    from graphnn.ops.errors import CompileError

    try:
        if device == "cuda":
            require_gpu()
        if device == "cuda-emulator":
            load_scheduler(emulator_compiler(), None)
    except BuildError:  # a fault rather than a lack: trying the device shows it
        return None
    except CompileError as error:
        return error
    return None


def devices() -> Iterator[Finding]:
    """Yield for each device whether a small training runs on it."""
    try:
        from graphnn.compiler.targets.devices import DEVICES
    except ImportError as error:
        yield Finding("devices", f"can't be tried: {error}", "wrong", "put the core right first")
        return
    for name in (*DEVICES, *(name for name in KNOWN_DEVICES if name not in DEVICES)):
        if name not in DEVICES:
            yield Finding(name, f"not in graphnn {graphnn.__version__}", "absent")
            continue
        if missing := _missing(name):
            yield Finding(name, f"can't run: {missing.message}", "absent")
            continue
        try:
            target = _try_device(name)
        except Exception as error:  # noqa: BLE001  # whatever it is, that is the finding
            yield Finding(name, f"fails: {type(error).__name__}: {error}", "wrong", "reinstall graphnn; else report it")
        else:
            yield Finding(name, "ready" if target == name else f"ready, by target {target}")


def _try_device(name: str) -> str:
    """Make a small network take a step and compare it with arithmetic on paper; return the target that ran it."""
    import numpy as np

    import graphnn as gn

    with gn.Graph() as graph:
        x = gn.placeholder("x", (None, 2))
        weight = gn.variable("weight", np.ones((2, 1), np.float32))
        loss = (x @ weight).mean()
        (slope,) = gn.gradients(loss, [weight])
        update = gn.ops.assign(weight, weight - 0.5 * slope)
    executor = gn.Executor([loss], [update], device=name, max_batch=4)
    (before,) = executor.run({x: np.array([[1, 2], [3, 4], [2, 0]], np.float32)})
    after = graph.get_value(weight)
    if not np.allclose(before, 4) or not np.allclose(after, [[0], [0]]):
        raise ArithmeticError(f"got loss {before} and weights {after.tolist()} instead of 4 and [[0], [0]]")
    return executor.plan.target


def mnist_files(folder: Path) -> Finding:
    """Compare the files of MNIST with their digests."""
    for name, digest in MNIST_DIGESTS.items():
        try:
            found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        except OSError as error:
            return Finding("mnist", f"{name}: {error.strerror or error}", "wrong", "reinstall graphnn")
        if found != digest:
            return Finding("mnist", f"{name}: damaged, its SHA-256 is {found}", "wrong", "reinstall graphnn")
    return Finding("mnist", "60,000 images to train on and 10,000 to test on, checksums right")
