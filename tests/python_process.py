"""Python programs in a process of their own, with this checkout on their path."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from module_names import ROOT

HANGS = 600.0
"""Seconds after which a program is taken to hang."""


def run_python(*arguments: str, folder: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the interpreter in a folder; the variables join those of this process's environment."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=False,
    )


def printed_by(*arguments: str, folder: Path = ROOT, **variables: str) -> str:
    """Return what the interpreter prints when it is run as by `run_python`; it has to end well."""
    done = run_python(*arguments, folder=folder, **variables)
    assert done.returncode == 0, done.stderr
    return done.stdout
