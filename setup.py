"""List the packages of the three top-level folders; everything else stands in pyproject.toml."""

import tomllib
from pathlib import Path

from setuptools import find_packages, setup


def package_names() -> list[str]:
    """Return the import name of every package below the folders of ``[tool.setuptools.package-dir]``."""
    root = Path(__file__).resolve().parent
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    folders: dict[str, str] = project["tool"]["setuptools"]["package-dir"]
    return [
        name
        for top, folder in folders.items()
        for name in (top, *(f"{top}.{below}" for below in find_packages(str(root / folder))))
    ]


# Run by its build backend under this name; a test only reads the list.
if __name__ == "__main__":
    setup(packages=package_names())
