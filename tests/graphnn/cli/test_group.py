import json
import re
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

import graphnn as gn
import graphnn.cli
from graphnn.cli import main
from graphnn.models import MODELS
from python_process import printed_by, run_python

COMMANDS = ["doctor", "plan", "show", "train"]
Command = Callable[..., Result]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Return a function that adds a command ``fail``, which raises."""

    def add(error: BaseException) -> None:
        @click.command("fail")
        def fail() -> None:
            raise error

        monkeypatch.setitem(main.commands, "fail", fail)

    return add


def test_help(run: Command) -> None:
    result = run("--help")

    assert result.exit_code == 0
    assert sorted(main.commands) == COMMANDS
    for name in COMMANDS:
        assert re.search(rf"^  {name} +\w", result.stdout, re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_commands(name: str, run: Command) -> None:
    for flag in ("--help", "-h"):
        result = run(name, flag)

        assert result.exit_code == 0
        assert "--debug" in result.stdout
        if name != "doctor":
            assert f"\n    graphnn {name} " in result.stdout  # examples, a line each
            for model, entry in MODELS.items():
                assert re.search(rf"^  {model} +{re.escape(entry.description.split()[0])}", result.stdout, re.MULTILINE)


def test_examples_in_help_are_right(run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("plan", "show"):
        for example in re.findall(r"^    graphnn (.*)$", run(name, "--help").stdout, re.MULTILINE):
            result = run(*example.split())
            assert result.exit_code == 0, result.output
    for example in re.findall(r"^    graphnn (.*)$", run("train", "--help").stdout, re.MULTILINE):
        _, *options = example.split()
        assert main.commands["train"].make_context("train", options).params["model"] in MODELS


def test_version(run: Command) -> None:
    assert run("--version").stdout == f"graphnn, version {gn.__version__}\n"


def test_unknown_command(run: Command) -> None:
    result = run("trian")

    assert result.exit_code == 2
    assert "No such command 'trian'" in result.stderr


def test_known_errors_keep_their_form(run: Command, failing: Callable[[BaseException], None]) -> None:
    failing(gn.ShapeError("it does not fit", expected="(2,)", actual="(3,)", where="script.py:7", hint="cut it"))

    result = run("fail")

    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == (
        "error: it does not fit\n"
        "  expected: (2,)\n"
        "  actual:   (3,)\n"
        "  at:       script.py:7\n"
        "  try:      cut it\n"
    )  # fmt: skip


def test_errors_are_red_on_a_terminal(failing: Callable[[BaseException], None]) -> None:
    failing(gn.GraphError("no"))

    result = CliRunner().invoke(main, ["fail"], color=True)

    assert result.stderr == "\x1b[31merror: no\x1b[0m\n"


@pytest.mark.parametrize("folder", [Path(module.__path__[0]) for module in (click, graphnn.cli)])
def test_lines_of_the_command_line_are_no_help(
    folder: Path, run: Command, failing: Callable[[BaseException], None]
) -> None:
    failing(gn.GraphError("no", where=f"{folder / 'core.py'}:123: return callback()"))

    assert run("fail").stderr == "error: no\n"


def test_debug_lets_errors_through(run: Command, tmp_path: Path) -> None:
    for arguments in (["--debug", "show", "lenet"], ["show", "lenet", "--debug"]):
        result = run(*arguments, "--out", tmp_path / "lenet.txt")

        assert isinstance(result.exception, gn.GraphError)


def test_other_errors_are_not_hidden(run: Command, failing: Callable[[BaseException], None]) -> None:
    failing(ZeroDivisionError("a fault of ours"))

    assert isinstance(run("fail").exception, ZeroDivisionError)


def test_interrupt(run: Command, failing: Callable[[BaseException], None]) -> None:
    failing(KeyboardInterrupt())

    assert run("fail").exit_code == 130


def test_narrow_encodings(tmp_path: Path) -> None:
    result = run_python("-m", "graphnn", "train", "--help", folder=tmp_path, PYTHONIOENCODING="latin-1")

    assert (result.returncode, result.stderr) == (0, "")
    assert "784 ? 100 ? 10" in result.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["nonsense"]])
def test_help_loads_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    script = f"""
import json, sys
from graphnn.cli import main
try:
    main({arguments})
except SystemExit:
    pass
print(json.dumps(sorted(sys.modules)))
"""
    loaded = json.loads(printed_by("-c", script, folder=tmp_path).splitlines()[-1])

    assert not {"numpy", "networkx", "rich", "matplotlib", "graphnn.ops"}.intersection(loaded)
