"""How often something short is repeated, so that its time is worth reading."""

from __future__ import annotations

BURST_SECONDS = 0.005
MOST_REPEATS = 200


def repeats_for(seconds: float) -> int:
    """Return how often to repeat what takes about so long.

    Examples
    --------
    >>> repeats_for(1e-3), repeats_for(1e-6), repeats_for(2.0)
    (5, 200, 1)
    """
    return min(max(int(BURST_SECONDS / max(seconds, 1e-9)), 1), MOST_REPEATS)
