import doctest
import importlib
from pathlib import Path

import pytest

from module_names import module_names


# pytest's own collection of doctests would load ops/ and compiler/ a second time, under their bare names.
@pytest.mark.parametrize("name", module_names())
def test_examples_of_docstrings(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(name)
    monkeypatch.chdir(tmp_path)

    failed, _ = doctest.testmod(module)

    assert not failed, f"{failed} examples of {name} fail; the output above shows them"
