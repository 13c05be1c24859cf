"""What the CPU benchmark measures of a competitor, and whether it computed what the others did."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.competitors import Competitor

TOLERANCES = {"sgd": 1e-5, "adam": 5e-3}
"""By optimiser, how far a loss may be from the median of all competitors', relative to it.

Adam divides a gradient by its own size; where it is nothing but rounding, the weights of two competitors part.
"""


@dataclass
class Result:
    """What was measured of one competitor.

    Attributes
    ----------
    competitor : Competitor
        Who.
    about : str
        Name and version.
    import_seconds : list of float
        Of each process that was started.
    cold_seconds, warm_seconds : float
        From a described network to the end of its first step; cold without anything compiled on disk. Without a cache
        on disk both are the same.
    losses : list of float
        Of the first steps.
    deviation : float
        How far the losses are from the median of all competitors', at most, relative to it.
    agrees : bool
        Whether that is near enough.
    step_seconds : list of float
        Mean time of a step in each round.
    peak_bytes : int
        The most memory that the process held.
    idle_share : float
        Share of a processor that the process used while others ran, at most.
    failure : str
        Why it did not finish; empty if it did.
    """

    competitor: Competitor
    about: str = ""
    import_seconds: list[float] = field(default_factory=list)
    cold_seconds: float = math.nan
    warm_seconds: float = math.nan
    losses: list[float] = field(default_factory=list)
    deviation: float = math.nan
    agrees: bool = False
    step_seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0
    idle_share: float = 0.0
    failure: str = ""

    @property
    def counts(self) -> bool:
        """Whether it finished and computed what the others did."""
        return not self.failure and self.agrees

    @property
    def median(self) -> float:
        """Seconds a step."""
        return statistics.median(self.step_seconds)


def compare_losses(results: Sequence[Result], tolerance: float) -> None:
    """Note how far each competitor's losses are from the median of all that are finite."""
    if not results:
        return
    losses = np.array([result.losses for result in results])
    finite = np.isfinite(losses).all(axis=1)
    for result, row, is_finite in zip(results, losses, finite, strict=True):
        result.deviation = float(np.max(np.abs(row / np.median(losses[finite], axis=0) - 1))) if is_finite else math.inf
        result.agrees = result.deviation <= tolerance
