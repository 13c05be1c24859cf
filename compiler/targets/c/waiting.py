"""How threads wait for one another: they spin for a moment, then sleep.

OpenMP's libraries spin for milliseconds or longer, since that is quickest where each thread has a core of its own.
Where another program takes one, a thread that spins keeps the core from the one that it waits for: a step of 1.5 ms
then takes 20 ms or more. The libraries read their settings from the environment when they are loaded, and never again.
"""

from __future__ import annotations

import ctypes
import os

_SETTINGS = {"GOMP_SPINCOUNT": "10000"}  # turns of a loop: about a tenth of a millisecond
_USERS_OWN = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def open_library(path: str) -> ctypes.CDLL:
    """Load a library into this process; what the user has said about waiting threads counts first."""
    settings = {} if any(name in os.environ for name in _USERS_OWN) else _SETTINGS
    os.environ.update(settings)
    try:
        return ctypes.CDLL(path)
    finally:
        for name in settings:
            del os.environ[name]
