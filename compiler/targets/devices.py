"""Which target serves which device name."""

from __future__ import annotations

from graphnn.compiler.target import Target
from graphnn.compiler.targets.numpy.target import NumpyTarget
from graphnn.ops.errors import CompileError
from graphnn.ops.source import caller

DEVICES = {"cpu": NumpyTarget, "numpy": NumpyTarget}
"""Device names and the targets behind them."""


def target_for(device: str) -> Target:
    """Return the target that runs on a device.

    Raises
    ------
    CompileError
        If there is no such device.

    Examples
    --------
    >>> target_for("numpy").name
    'numpy'
    """
    try:
        return DEVICES[device]()
    except (KeyError, TypeError):  # a device of another library may be no key at all
        raise CompileError(
            f"there is no device {device!r}",
            expected=" or ".join(map(repr, DEVICES)),
            actual=type(device).__name__,
            where=str(caller()),
            hint="`graphnn doctor` lists what this machine has",
        ) from None
