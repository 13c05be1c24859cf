import logging
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from graphnn.compiler.targets.c.build import BASE_FLAGS, BuildError, Compiler
from graphnn.compiler.targets.c.toolchain import (
    candidates,
    describe_cpu,
    examine,
    find_compiler,
    unavailable_reason,
)
from graphnn.ops.errors import CompileError

FakeCompiler = Callable[[str], tuple[str, ...]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without compilers; the folder on its path."""
    path = tmp_path / "bin"
    path.mkdir()
    for tool in ("sh", "env", "sleep"):
        (path / tool).symlink_to(f"/bin/{tool}" if Path(f"/bin/{tool}").exists() else f"/usr/bin/{tool}")
    monkeypatch.setenv("PATH", str(path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    return path


def macros(compiler: Compiler) -> dict[str, str]:
    """Return the macros that the compiler itself defines."""
    result = subprocess.run(
        [*compiler.command, *compiler.flags, "-dM", "-E", "-x", "c", os.devnull],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line.split(" ", 2) for line in result.stdout.splitlines()]
    return {name: value for _, name, value in lines}


def test_the_compiler_of_this_machine(compiler: Compiler) -> None:
    defined = macros(compiler)

    if "__AVX512F__" in defined:
        assert compiler.vector_bytes == 64
    elif "__AVX2__" in defined and "__FMA__" in defined:
        assert compiler.vector_bytes == 32
    else:
        assert compiler.vector_bytes == 16
    assert compiler.threads == ("_OPENMP" in defined)
    assert Path(compiler.command[0]).is_absolute()
    assert compiler.version
    assert compiler.cpu == describe_cpu()
    assert compiler.flags[: len(BASE_FLAGS)] == BASE_FLAGS
    assert not [flag for flag in compiler.flags if "fast-math" in flag]


def test_it_is_found_once(compiler: Compiler, fake: FakeCompiler, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", shlex.join(fake(f'echo "$@" >> {log}; exec $REAL "$@"')))

    found = find_compiler()
    assert found is not None
    assert found.flags == compiler.flags
    calls = log.read_text()

    assert find_compiler() is found
    assert unavailable_reason() is None
    assert log.read_text() == calls


def test_warm_examination_only_asks_for_the_version(
    compiler: Compiler, fake: FakeCompiler, log: Path, folder: Path
) -> None:
    command = fake(f'echo "$@" >> {log}; exec $REAL "$@"')
    cold = examine(command, folder=folder)
    assert len(log.read_text().splitlines()) == 3  # its version, one unit, one link
    log.write_text("")

    assert examine(command, folder=folder) == cold
    assert log.read_text() == "--version\n"


def test_cc_may_hold_arguments(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", f"{shlex.join(compiler.command)} -DSOME='two words'")

    found = find_compiler()

    assert found is not None
    assert found.command == (*compiler.command, "-DSOME=two words")


def test_relative_path_in_cc(fake: FakeCompiler, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = fake('exec $REAL "$@"')
    monkeypatch.chdir(Path(path).parent)
    monkeypatch.setenv("CC", f"./{Path(path).name}")

    found = find_compiler()

    assert found is not None
    assert found.command == (path,)


@pytest.mark.parametrize(
    ("cc", "reason"),
    [
        ("graphnn-nonsense --flag", "there is no program 'graphnn-nonsense'"),
        ("gcc 'open quote", "there is no program"),
        ("{broken}", "failed on probe.c: cannot compile today (ended with status 1, broken 1)"),
        ("{silent}", "ended with status 1 when asked for its version"),
    ],
)
def test_cc_that_fails_gives_way_with_one_line(
    cc: str,
    reason: str,
    compiler: Compiler,
    fake: FakeCompiler,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = fake('[ "$1" = --version ] && echo broken 1 && exit; echo cannot compile today; exit 1')
    monkeypatch.setenv("CC", cc.format(broken=broken[0], silent=fake("exit 1")[0]))

    with caplog.at_level(logging.WARNING, "graphnn"):
        found = find_compiler()

    assert found is not None
    assert unavailable_reason() is None
    (record,) = caplog.records
    assert record.getMessage().startswith("$CC can't be used (")
    assert reason in record.getMessage()
    assert record.getMessage().endswith(f"; {shlex.join(found.command)} is used instead")


@pytest.mark.parametrize(
    ("rejected", "expected", "threads"),
    [
        ("-march=native", ("-mcpu=native", "-fopenmp"), True),
        ("-march=native -mcpu=native", ("-fopenmp",), True),
        ("-fopenmp", ("-march=native",), False),
        ("-march=native -fopenmp", ("-mcpu=native",), False),
        ("-march=native -mcpu=native -fopenmp", (), False),
    ],
)
def test_flags_that_it_does_not_know_are_left_out(
    rejected: str, expected: tuple[str, ...], threads: bool, compiler: Compiler, fake: FakeCompiler, folder: Path
) -> None:
    if not compiler.threads:
        pytest.skip("this machine's compiler has no OpenMP")
    command = fake(f"""
for argument; do
    shift
    for rejected in {rejected}; do [ "$argument" = $rejected ] && echo "error: unknown $rejected" && exit 1; done
    [ "$argument" = -mcpu=native ] || set -- "$@" "$argument"
done
exec $REAL "$@"
""")

    found = examine(command, folder=folder)

    assert found.flags == (*BASE_FLAGS, *expected)
    assert found.threads == threads
    if "-march=native" not in expected and os.uname().machine == "x86_64":
        assert found.vector_bytes == 16


def test_no_compiler(bare: Path) -> None:
    assert list(candidates()) == []
    assert find_compiler() is None
    assert unavailable_reason() == "no C compiler is installed; install gcc or clang, or run `pip install ziglang`"


def test_no_compiler_that_works(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bare / "gcc").write_text('#!/bin/sh\n[ "$1" = --version ] && echo gcc 99 && exit\necho "stdio.h: none"; exit 1\n')
    (bare / "gcc").chmod(0o755)
    monkeypatch.setenv("CC", "nonsense")

    assert find_compiler() is None
    reason = unavailable_reason()

    assert reason is not None
    assert reason.startswith("no C compiler works (nonsense: there is no program 'nonsense'; gcc: ")
    assert "stdio.h: none" in reason
    assert reason.endswith("; install gcc or clang, or run `pip install ziglang`")
    assert "\n" not in reason


def test_order_of_candidates(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("clang", "gcc", "cc"):
        (bare / name).touch(0o755)
    monkeypatch.setenv("CC", "mine -m64")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if name == "ziglang" else None)

    assert list(candidates()) == [
        ("mine", "-m64"),
        ("cc",),
        ("gcc",),
        ("clang",),
        (sys.executable, "-m", "ziglang", "cc"),
    ]


def test_compiler_of_the_package_ziglang(
    compiler: Compiler, tmp_path: Path, bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "ziglang"
    package.mkdir(parents=True)
    (package / "__main__.py").write_text(f"""
import os, sys
assert sys.argv[1] == "cc"
real = {compiler.command!r}
os.environ["PATH"] = {os.environ["PATH"]!r} + ":/usr/bin:/bin"
os.execv(real[0], [*real, *sys.argv[2:]])
""")
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if name == "ziglang" else None)

    found = find_compiler()

    assert found is not None
    assert found.command == (sys.executable, "-m", "ziglang", "cc")
    assert found.version == compiler.version


def test_compiler_that_hangs_is_asked_once(fake: FakeCompiler, log: Path, folder: Path) -> None:
    command = fake(f'[ "$1" = --version ] && echo slow 1 && exit; echo call >> {log}; sleep 60')

    with pytest.raises(CompileError, match=r"had not finished after 0\.5 s"):
        examine(command, folder=folder, timeout=0.5)

    assert log.read_text() == "call\n"


def test_compiler_that_hangs_over_its_version(fake: FakeCompiler, folder: Path) -> None:
    with pytest.raises(CompileError, match=r"had not finished after 0\.2 s .* when asked for its version"):
        examine(fake("sleep 60"), folder=folder, timeout=0.2)


def test_compiler_for_another_machine(fake: FakeCompiler, folder: Path) -> None:
    # What it makes is no library that this machine can load.
    command = fake("""
[ "$1" = --version ] && echo cross 1 && exit
while [ $# -gt 1 ]; do shift; [ "$1" = -o ] && echo code > "$2"; done
exit 0
""")

    with pytest.raises(BuildError, match="can't be made or loaded"):
        examine(command, folder=folder)

    assert list(folder.iterdir()) == []


def test_description_of_the_processor() -> None:
    assert describe_cpu() == describe_cpu.__wrapped__()
    if os.uname().machine == "x86_64" and sys.platform == "linux":
        assert "sse2" in describe_cpu()
    assert "MHz" not in describe_cpu()


def test_processor_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*arguments: object, **options: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "open", absent)
    monkeypatch.setattr("platform.node", lambda: "one.of.many")

    assert "one.of.many" in describe_cpu.__wrapped__()
