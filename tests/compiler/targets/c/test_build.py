import ctypes
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from graphnn.compiler.targets.c.build import BuildError, BuildTimeoutError, Compiler, compile_library
from graphnn.ops.errors import CompileError

FakeCompiler = Callable[[str], tuple[str, ...]]

VISIBLE = '__attribute__((visibility("default")))'

TWO_KERNELS = """\
#include <stdint.h>

/* kernel: conv1+relu (conv1, relu at model.py:12) */
static int first(int x) { return x + 1; }

/* kernel: fc1 (matmul at model.py:14) */
int second(int x)
{
    return missing_name + first(x);
}

/* kernel: fc2 (matmul at model.py:15) */
int third(int x) { return x; }
"""


def compiled(
    units: Mapping[str, str],
    compiler: Compiler,
    folder: Path,
    headers: Mapping[str, str] | None = None,
    link_flags: tuple[str, ...] = (),
    timeout: float = 60,
) -> Path:
    return compile_library(units, headers or {}, compiler, link_flags, folder, timeout)


def test_units_and_headers_become_one_library(compiler: Compiler, tmp_path: Path) -> None:
    units = {
        "one.c": f'#include "shared.h"\n{VISIBLE} int total(int x) {{ return twice(x) + STEP; }}\n',
        "two.c": '#include "shared.h"\nint twice(int x) { return 2 * x; }\n',
    }

    library = ctypes.CDLL(str(compiled(units, compiler, tmp_path, {"shared.h": "#define STEP 5\nint twice(int);\n"})))

    assert library.total(10) == 25
    with pytest.raises(AttributeError, match="twice"):  # only what asks for it is visible
        _ = library.twice


def test_functions_of_the_mathematical_library(compiler: Compiler, tmp_path: Path) -> None:
    text = f"#include <math.h>\n{VISIBLE} double f(double x) {{ return erf(x); }}\n"

    library = ctypes.CDLL(str(compiled({"a.c": text}, compiler, tmp_path)))
    library.f.restype, library.f.argtypes = ctypes.c_double, [ctypes.c_double]

    assert library.f(0.5) == pytest.approx(0.5204998778130465)


def test_not_a_number_and_order_of_sums_are_kept(compiler: Compiler, tmp_path: Path) -> None:
    text = f"""
{VISIBLE} int is_nan(float x) {{ return x != x; }}
{VISIBLE} float sum(float a, float b, float c) {{ return (a + b) + c; }}
"""
    library = ctypes.CDLL(str(compiled({"a.c": text}, compiler, tmp_path)))
    library.is_nan.argtypes = [ctypes.c_float]
    library.sum.restype, library.sum.argtypes = ctypes.c_float, [ctypes.c_float] * 3

    assert library.is_nan(float("nan")) == 1
    assert library.sum(1e20, -1e20, 1.0) == 1.0


def test_error_names_unit_kernel_and_first_line(compiler: Compiler, tmp_path: Path) -> None:
    with pytest.raises(CompileError) as caught:
        compiled({"step.c": TWO_KERNELS, "other.c": "int other;\n"}, compiler, tmp_path)

    error = caught.value
    assert isinstance(error, BuildError)
    assert error.message == "the C compiler failed on step.c, kernel fc1 (matmul at model.py:14)"
    assert error.actual.startswith("step.c:9:12: error: ")
    assert "missing_name" in error.actual.partition("(ended with status 1, ")[0]
    assert compiler.version in error.actual
    assert "report" in error.hint
    assert "missing_name" in error.output
    assert len(error.output.splitlines()) > 1
    assert not (tmp_path / "library.so").exists()


def test_error_on_the_line_of_a_marker_belongs_to_it(compiler: Compiler, tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        compiled({"a.c": "/* kernel: a */ int a;\n/* kernel: b */ nonsense here;\n"}, compiler, tmp_path)

    assert caught.value.message == "the C compiler failed on a.c, kernel b"


def test_error_above_all_kernels_names_none(compiler: Compiler, tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        compiled({"a.c": '#include "absent.h"\n/* kernel: a */\n'}, compiler, tmp_path)

    assert caught.value.message == "the C compiler failed on a.c"
    assert "absent.h" in caught.value.actual


def test_error_in_a_header_is_looked_up_there(compiler: Compiler, tmp_path: Path) -> None:
    headers = {"shared.h": "\n\n/* kernel: reduction */\nnonsense here;\n"}
    with pytest.raises(BuildError) as caught:
        compiled({"a.c": '/* kernel: a */\n#include "shared.h"\n'}, compiler, tmp_path, headers)

    assert caught.value.message == "the C compiler failed on a.c, kernel reduction"
    assert caught.value.actual.startswith("shared.h:4:")


def test_error_of_the_linker(compiler: Compiler, tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        compiled({"a.c": "int a;\n", "b.c": "int b;\n"}, compiler, tmp_path, link_flags=("-lgraphnn_absent",))

    assert caught.value.message == "the C compiler failed on the linking of a.c, b.c"
    assert "graphnn_absent" in caught.value.actual


@pytest.mark.skipif(sys.platform != "linux", reason="the flag is that of GNU ld and its relatives")
def test_function_that_the_linker_does_not_find(compiler: Compiler, tmp_path: Path) -> None:
    text = f"int missing(void);\n{VISIBLE} int f(void) {{ return missing(); }}\n"
    with pytest.raises(BuildError) as caught:
        compiled({"a.c": text}, compiler, tmp_path, link_flags=("-Wl,--no-undefined",))

    assert "undefined " in caught.value.actual
    assert "missing" in caught.value.actual


@pytest.mark.parametrize(
    ("body", "actual", "hint"),
    [
        ("exit 7", "ended with status 7 (fake 1)", "report"),
        ("kill -9 $$", "was ended by SIGKILL (fake 1)", "report"),
        ("echo; echo something odd; exit 1", "something odd (ended with status 1, fake 1)", "report"),
        (
            "echo note; echo 'cc: error: bad flag'; exit 1",
            "cc: error: bad flag (ended with status 1, fake 1)",
            "report",
        ),
        ("echo 'a.o: No space left on device'; exit 1", "a.o: No space left on device", "TMPDIR"),
    ],
)
def test_compiler_that_fails(body: str, actual: str, hint: str, fake: FakeCompiler, tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        compiled({"a.c": "/* kernel: a */\n"}, Compiler(fake(body), "fake 1", "cpu"), tmp_path)

    assert caught.value.message == "the C compiler failed on a.c"
    assert caught.value.actual.startswith(actual)
    assert hint in caught.value.hint


def test_compiler_that_hangs(fake: FakeCompiler, tmp_path: Path) -> None:
    with pytest.raises(BuildTimeoutError, match=r"had not finished after 0\.2 s and was stopped"):
        compiled({"a.c": ""}, Compiler(fake("sleep 60"), "fake 1", "cpu"), tmp_path, timeout=0.2)


def test_each_unit_is_one_call_and_linking_another(
    compiler: Compiler, fake: FakeCompiler, log: Path, tmp_path: Path
) -> None:
    logging = replace(compiler, command=fake(f'echo "$@" >> {log}; exec $REAL "$@"'))

    compiled({"a.c": "int a;\n", "b.c": "int b;\n", "c.c": "int c;\n"}, logging, tmp_path, link_flags=("-Wl,-O1",))

    *units, link = log.read_text().splitlines()
    assert sorted(line.split(" -c ")[1] for line in units) == ["a.c -o a.c.o", "b.c -o b.c.o", "c.c -o c.c.o"]
    assert link.endswith("-shared a.c.o b.c.o c.c.o -o library.so -Wl,-O1 -lm")
    for line in (*units, link):
        assert line.startswith(" ".join(compiler.flags))
        assert "fast-math" not in line


@pytest.mark.parametrize("name", ["../a.c", "/a.c", "b/a.c", "-a.c", "", ".."])
def test_names_must_be_plain(name: str, compiler: Compiler, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a plain file name"):
        compiled({name: ""}, compiler, tmp_path)


def test_names_must_differ(compiler: Compiler, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the same name"):
        compiled({"a.c": ""}, compiler, tmp_path, {"a.c": ""})
