"""Which target serves which device name."""

from __future__ import annotations

import logging
from functools import cache

from graphnn.compiler.target import Target
from graphnn.compiler.targets.c.target import CTarget
from graphnn.compiler.targets.c.toolchain import find_compiler, unavailable_reason
from graphnn.compiler.targets.numpy.target import NumpyTarget
from graphnn.ops.errors import CompileError
from graphnn.ops.source import caller

DEVICES = ("cpu", "numpy")
"""Device names."""


def target_for(device: str, threads: int | None = None, check_numerics: bool = False) -> Target:
    """Return the target that runs on a device.

    Parameters
    ----------
    device : {"cpu", "numpy"}
        ``"cpu"`` is compiled C, or NumPy where there is no C compiler, which one line on the logger "graphnn" says.
    threads : int, optional
        Threads of compiled code.
    check_numerics : bool
        Whether each op's result is to be looked at. Compiled code has no results between its ops, so that NumPy runs.

    Raises
    ------
    CompileError
        If there is no such device.

    Examples
    --------
    >>> target_for("numpy").name
    'numpy'
    """
    if device == "numpy" or (device == "cpu" and check_numerics):
        return NumpyTarget()
    if device == "cpu":
        compiler = find_compiler()
        if compiler is not None:
            return CTarget(compiler, threads)
        _say_once(f"no C compiler, so NumPy runs instead: {unavailable_reason()}")
        return NumpyTarget()
    raise CompileError(
        f"there is no device {device!r}",
        expected=" or ".join(map(repr, DEVICES)),
        actual=type(device).__name__,
        where=str(caller()),
        hint="`graphnn doctor` lists what this machine has",
    )


@cache
def _say_once(line: str) -> None:
    logging.getLogger("graphnn").warning(line)
