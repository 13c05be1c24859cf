"""The trainings of the GPU benchmark: graphnn and its peers, a module each.

A module has ``start(workload, weights, images, labels, variant, device)``, which returns a `Training`; the data set is
where the training runs before the clock starts. Only a competitor's worker imports its module, so that no peer has to
be installed.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np


class Training(Protocol):
    """A network under training, in the hands of one competitor."""

    about: str
    """The competitor's name and version, and that of what it stands on."""

    note: str
    """What the report should say about this training besides; may be empty."""

    def place(self, rows: np.ndarray) -> Any:
        """Bring the row numbers of several steps, (steps, batch), to where they are taken fastest; not timed."""

    def train(self, rows: Any) -> float:
        """Do the steps for what `place` returned; when they are done, return the mean of their losses."""
