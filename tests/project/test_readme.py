"""README.md says what is true: its commands, and its example, which runs."""

from __future__ import annotations

import re
from pathlib import Path

from module_names import ROOT
from python_process import printed_by

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_two_commands_set_up_everything() -> None:
    commands = [line for block in re.findall(r"```\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
    assert commands[:2] == ["pip install -e . && graphnn train lenet", 'pip install -e ".[test]" && pytest']
    assert sum("pip install" in command for command in commands) == 2


def test_the_example_runs(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    short = example.replace("60_000", "1_000")
    assert short != example
    assert "arena: " in printed_by("-W", "error", "-c", short, folder=tmp_path)


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
