"""What competes in the CPU benchmark: graphnn and its peers, a module each.

A module has ``start(network, weights, threads, variant)``, which returns a `Training`. Only the worker that runs a
competitor imports its module, so that no peer has to be installed.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np


class Training(Protocol):
    """A network under training, in the hands of one competitor."""

    about: str
    """The competitor's name and version."""

    def place(self, images: np.ndarray, labels: np.ndarray) -> Any:
        """Turn a batch into what the competitor takes fastest; this happens before the clock runs."""

    def step(self, batch: Any) -> Any:
        """Do, or at least begin, one step of training; return its loss in any form."""

    def loss(self, result: Any) -> float:
        """Wait until all steps are done and return a loss."""
