"""The card that a GPU benchmark runs on."""

from __future__ import annotations

import subprocess

QUERY = ("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")


def card(device: str) -> str:
    """Return the card's name, its driver and its memory, as the report shows them."""
    if device != "cuda":
        return f'no GPU: device "{device}"'
    try:
        done = subprocess.run(QUERY, check=True, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        from graphnn.compiler.targets.cuda.availability import require_gpu

        return f"{require_gpu().name}, driver unknown since nvidia-smi failed"
    name, driver, memory = (cell.strip() for cell in done.stdout.splitlines()[0].split(","))
    return f"{name}, {memory}, driver {driver}"


def reason_against(device: str) -> str:
    """Return why graphnn can't run on a device, or nothing if it can."""
    from graphnn.compiler.targets.cuda.availability import require_gpu
    from graphnn.compiler.targets.devices import target_for
    from graphnn.ops.errors import CompileError

    try:
        if device == "cuda":
            require_gpu()  # no more: a target would take memory of the card
        else:
            target_for(device)
    except CompileError as error:
        return str(error)
    return ""
