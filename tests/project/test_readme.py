"""README.md says what is true: its commands, and its example, which runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_two_commands_set_up_everything() -> None:
    commands = [line for block in re.findall(r"```\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
    assert commands[:2] == ["pip install -e . && graphnn train lenet", 'pip install -e ".[test]" && pytest']
    assert sum("pip install" in command for command in commands) == 2


def test_the_example_runs(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    short = example.replace("60_000", "1_000")
    assert short != example
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", short],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "arena: " in done.stdout


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
