"""The pages in docs/: the Python of each runs, from its first snippet to its last, and links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from module_names import ROOT
from python_process import printed_by

PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}


def snippets(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", PAGES[page], re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", [page for page in PAGES if snippets(page)])
def test_snippets_run(page: str, tmp_path: Path) -> None:
    printed_by("-W", "error", "-c", "\n".join(snippets(page)), folder=tmp_path)


def test_the_page_on_checkpoints_has_snippets() -> None:
    assert len(snippets("checkpoints.md")) == 3


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGES[page]):
        assert target.startswith("https://") or (ROOT / "docs" / target).exists(), target
