"""Which target serves which device name."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING, Literal

from graphnn.compiler.target import Target
from graphnn.compiler.targets.c.target import CTarget
from graphnn.compiler.targets.c.toolchain import find_compiler, unavailable_reason
from graphnn.compiler.targets.numpy.target import NumpyTarget
from graphnn.ops.errors import CompileError
from graphnn.ops.source import caller

if TYPE_CHECKING:
    from graphnn.compiler.targets.cuda.machine import Machine

DEVICES = ("cpu", "numpy", "cuda", "cuda-emulator")
"""Device names."""

Precision = Literal["float32", "tf32"]
PRECISIONS: tuple[Precision, ...] = ("float32", "tf32")
"""What products of float32 may be computed in."""


def target_for(
    device: str, threads: int | None = None, check_numerics: bool = False, precision: Precision = "float32"
) -> Target:
    """Return the target that runs on a device.

    Parameters
    ----------
    device : {"cpu", "numpy", "cuda", "cuda-emulator"}
        ``"cpu"`` is compiled C, or NumPy where there is no C compiler, which one line on the logger "graphnn" says.
        ``"cuda"`` is an NVIDIA GPU, ``"cuda-emulator"`` runs the same kernels on the CPU, slowly.
    threads : int, optional
        Threads of compiled code.
    check_numerics : bool
        Whether each op's result is to be looked at. Compiled code has no results between its ops, so that NumPy runs.
    precision : {"float32", "tf32"}
        What products of float32 may be computed in; only GPUs have another than the first.

    Raises
    ------
    CompileError
        If there is no such device or precision, or this machine has not got what it needs.

    Examples
    --------
    >>> target_for("numpy").name
    'numpy'
    """
    if precision not in PRECISIONS:
        raise CompileError(
            f"there is no precision {precision!r}",
            expected=" or ".join(map(repr, PRECISIONS)),
            where=str(caller()),
            hint='leave it out for "float32"',
        )
    if device == "numpy" or (device in DEVICES and check_numerics):
        return NumpyTarget()
    if device == "cuda":
        return _cuda_target(precision)
    if device == "cuda-emulator":
        return _emulated_target(precision)
    if device == "cpu":
        compiler = find_compiler()
        if compiler is not None:
            return CTarget(compiler, threads)
        _say_once(f"no C compiler, so NumPy runs instead: {unavailable_reason()}")
        return NumpyTarget()
    raise CompileError(
        f"there is no device {device!r}",
        expected=" or ".join(map(repr, DEVICES)),
        actual=repr(device),
        where=str(caller()),
        hint="`graphnn doctor` lists what this machine has",
    )


def _cuda_target(precision: Precision) -> Target:
    # Only who asks for it pays: CuPy takes seconds to import.
    from graphnn.compiler.targets.cuda import cupy_machine
    from graphnn.compiler.targets.cuda.target import CudaTarget

    return CudaTarget(cupy_machine.machine(), precision)


@cache
def _emulator() -> Machine:
    """Return the one emulator of this process, so that plans of a graph share their variables' copies there."""
    from graphnn.compiler.targets.cuda.emulator.machine import EmulatorMachine

    return EmulatorMachine()


def _emulated_target(precision: Precision) -> Target:
    from graphnn.compiler.targets.cuda.target import CudaTarget

    return CudaTarget(_emulator(), precision)


@cache
def _say_once(line: str) -> None:
    logging.getLogger("graphnn").warning(line)
