"""The GPU benchmark's report, which grows as things are measured."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.competitors import Competitor
from benchmarks.timing import machine


class Report:
    """Conditions, and what has been measured so far.

    Parameters
    ----------
    card : str
        The card and its driver.
    absent : sequence of Competitor
        Peers that are not installed, or can't run here.
    rounds : int
        How often competitors take turns.
    out : Path, optional
        The file that is written anew whenever something was measured, so that it outlives a run that is stopped.
    """

    def __init__(self, card: str, absent: Sequence[Competitor], rounds: int, out: Path | None) -> None:
        self._card = card
        self._absent = absent
        self._rounds = rounds
        self._out = out
        self._versions: dict[str, None] = {}
        self._sections: dict[str, list[str]] = {}

    def put(self, section: str, parts: Iterable[str], versions: Iterable[str] = ()) -> None:
        """Take in a section, in place of what it was, with the versions of those who took part; write the file."""
        self._sections[section] = list(parts)
        self._versions |= dict.fromkeys(version for version in versions if version)
        if self._out is not None:
            self._out.parent.mkdir(parents=True, exist_ok=True)
            self._out.write_text(self.text, encoding="utf-8")

    @property
    def text(self) -> str:
        """All of it."""
        conditions = [
            str(datetime.datetime.now(datetime.UTC).date()),
            self._card,
            machine(),
            ", ".join(self._versions),
            f"{self._rounds} rounds",
            *(f"{competitor.label}: not installed, or needs a GPU" for competitor in self._absent),
        ]
        lines = "\n".join(f"- {line}" for line in conditions if line)
        parts = [part for section in self._sections.values() for part in section]
        return "\n\n".join(["# graphnn beside its peers: one GPU", lines, *parts]) + "\n"
