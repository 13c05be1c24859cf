"""The import names of everything in the three folders, for the tests that go through all of them."""

import pkgutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {"graphnn": ROOT / "graphnn", "graphnn.ops": ROOT / "ops", "graphnn.compiler": ROOT / "compiler"}


def module_names() -> list[str]:
    """Return the name of each package and module, sorted; none of them is imported that is not a package."""
    # Each folder on its own: a checkout's root is on the path of graphnn, with setup.py and more beside the folders.
    found = set(FOLDERS)
    for name, folder in FOLDERS.items():
        found.update(module.name for module in pkgutil.walk_packages([str(folder)], f"{name}."))
    return sorted(found)
