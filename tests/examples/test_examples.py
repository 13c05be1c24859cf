"""Every example runs, as a script of its own, and says something."""

from pathlib import Path

import pytest

from module_names import ROOT
from python_process import printed_by

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 5


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_example(script: Path, tmp_path: Path) -> None:
    assert printed_by(str(script), str(tmp_path), folder=tmp_path, PYTHONWARNINGS="error").strip()
