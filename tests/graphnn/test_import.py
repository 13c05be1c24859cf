import ast
import json
from pathlib import Path
from typing import Any

import pytest

import graphnn as gn
from module_names import ROOT
from python_process import printed_by


def told_by(script: str, folder: Path) -> Any:
    """Run the script in an interpreter that finds the checkout on its path; return what it prints, read as JSON."""
    return json.loads(printed_by("-c", script, folder=folder))


def test_import_loads_next_to_nothing(tmp_path: Path) -> None:
    script = "import graphnn, json, sys; print(json.dumps(sorted(sys.modules)))"

    loaded = told_by(script, tmp_path)

    heavy = {"networkx", "rich", "click", "matplotlib", "cupy", "onnx", "torch", "torchvision"}
    assert not heavy.intersection(loaded)
    assert [name for name in loaded if name.startswith("graphnn")] == ["graphnn"]


def test_checkout_works_without_install(tmp_path: Path) -> None:
    script = """
import json, graphnn, graphnn.ops, graphnn.compiler
print(json.dumps([module.__file__ for module in (graphnn, graphnn.ops, graphnn.compiler)]))
"""

    files = told_by(script, tmp_path)

    assert files == [str(ROOT / folder / "__init__.py") for folder in ("graphnn", "ops", "compiler")]


def test_checkout_root_is_no_part_of_an_installed_package(tmp_path: Path) -> None:
    # Beside an installed graphnn, `ops` and `compiler` may be other people's packages; here only one stands there.
    for folder in ("graphnn", "ops"):
        (tmp_path / folder).mkdir()
    (tmp_path / "graphnn" / "__init__.py").write_bytes((ROOT / "graphnn" / "__init__.py").read_bytes())
    (tmp_path / "ops" / "__init__.py").touch()

    path = told_by(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import graphnn, json; print(json.dumps(list(graphnn.__path__)))",
        tmp_path,
    )

    assert path == [str(tmp_path / "graphnn")]


@pytest.mark.parametrize("name", gn.__all__)
def test_public_names(name: str) -> None:
    assert getattr(gn, name) is getattr(gn, name)
    assert name in dir(gn)


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="'graphnn' has no attribute 'Sesion'"):
        gn.Sesion  # type: ignore[attr-defined]  # noqa: B018  # the access is the test


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse((ROOT / "graphnn" / "__init__.py").read_text(encoding="utf-8"))
    (block,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    )
    imported = {
        alias.name: f"{statement.module}.{alias.name}" if statement.module == "graphnn" else statement.module
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    imported["dtypes"] = "graphnn.ops.dtypes"  # a module, imported from the package that it lies in

    assert imported == {**gn._MODULES, **gn._NAMES}
    assert sorted(gn.__all__) == sorted({*imported, "__version__"})
