"""Benchmarks as their users run them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from python_process import printed_by


@pytest.fixture
def report_of(tmp_path: Path) -> Callable[..., str]:
    """Return a function that runs a benchmark by its command line and returns its report, printed and in a file."""

    def run(benchmark: str, *arguments: str) -> str:
        out = tmp_path / "folder" / "report.md"
        printed = printed_by("-m", benchmark, *arguments, "--out", str(out))
        text = out.read_text(encoding="utf-8")
        assert text.strip() == printed.strip()
        return text

    return run
