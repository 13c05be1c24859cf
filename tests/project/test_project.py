import fnmatch
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from module_names import FOLDERS, ROOT, module_names

KERNEL_SOURCES = (".c", ".h", ".cpp", ".cu", ".cuh")


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def files_by_package() -> dict[str, list[Path]]:
    """Return all files of the three folders, under the import name that their folder has or would have."""
    found: dict[str, list[Path]] = {}
    for top, folder in FOLDERS.items():
        for path in folder.rglob("*"):
            inner = path.parent.relative_to(folder).parts
            if path.is_file() and "__pycache__" not in inner:
                found.setdefault(".".join((top, *inner)), []).append(path)
    return found


def test_wheel_has_every_package() -> None:
    listed = runpy.run_path(str(ROOT / "setup.py"), run_name="setup")["package_names"]()

    on_disk = {name for name, paths in files_by_package().items() if any(path.suffix == ".py" for path in paths)}

    assert sorted(listed) == sorted(on_disk)


def test_folders_with_kernel_sources_are_packages() -> None:
    for name, paths in files_by_package().items():
        if any(path.suffix in (".py", *KERNEL_SOURCES) for path in paths):
            assert "__init__.py" in {path.name for path in paths}, f"{name} has no __init__.py, the wheel would lack it"


def test_wheel_has_every_file_that_is_not_python(pyproject: dict[str, Any]) -> None:
    patterns: dict[str, list[str]] = pyproject["tool"]["setuptools"]["package-data"]
    named = [f"{package}/{pattern}" for package, several in patterns.items() for pattern in several]
    for name, paths in files_by_package().items():
        for path in paths:
            # The data folder is no package of its own, so its files are named from the package above it.
            spelt = f"{name}/{path.name}".replace("graphnn.data.mnist/", "graphnn.data/mnist/")
            assert path.suffix == ".py" or any(fnmatch.fnmatch(spelt, pattern) for pattern in named), spelt


def test_extras(pyproject: dict[str, Any]) -> None:
    extras = pyproject["project"]["optional-dependencies"]

    assert sorted(extras) == ["checkpoint", "cuda12", "cuda13", "cudnn", "dev", "onnx", "plot", "test", "vision"]


def test_each_module_can_be_the_first_import() -> None:
    script = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    for loaded in [loaded for loaded in sys.modules if loaded.partition(".")[0] == "graphnn"]:
        del sys.modules[loaded]
"""
    # A circle shows only to whoever enters it at the wrong place, so each module is imported before all others.
    result = subprocess.run(
        [sys.executable, "-c", script, *module_names()], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert result.returncode == 0, result.stderr
