"""What the command lines of the benchmarks share."""

from __future__ import annotations

import argparse


def positive(text: str) -> int:
    """Read a number of 1 or more."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("a number of 1 or more")
    return value
