import re
import shutil
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from click.testing import Result

import graphnn.data
from cuda_doubles import Card, DriverLibrary
from graphnn.cli import examination
from graphnn.compiler.target import Target
from graphnn.compiler.targets.c import toolchain
from graphnn.compiler.targets.c.build import BuildError, Compiler
from graphnn.compiler.targets.cuda.availability import Environment, describe
from graphnn.compiler.targets.numpy.target import NumpyTarget
from graphnn.ops.errors import CompileError

Command = Callable[..., Result]
MNIST = Path(graphnn.data.__file__).parent / "mnist"


def line(output: str, section: str, subject: str) -> str:
    """Return what stands beside a subject."""
    lines = output.partition(f"{section}\n")[2].partition("\n\n")[0].splitlines()
    (found,) = (line for line in lines if line.startswith(f"  {subject} "))
    return found.removeprefix(f"  {subject} ").strip()


def without(monkeypatch: pytest.MonkeyPatch, *missing: str) -> None:
    """Let distributions seem not to be installed."""
    version = metadata.version

    def pretend(name: str) -> str:
        if name in missing:
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", pretend)


def test_this_machine(run: Command) -> None:
    result = run("doctor")

    assert result.exit_code == 0, result.output
    assert line(result.stdout, "graphnn", "numpy").startswith(np.__version__)
    assert line(result.stdout, "graphnn", "Python").startswith(".".join(map(str, sys.version_info[:3])))
    assert re.match(r"\d+ usable of \d+", line(result.stdout, "machine", "processors"))
    assert line(result.stdout, "devices", "cpu").startswith("ready")
    assert line(result.stdout, "data", "mnist") == "60,000 images to train on and 10,000 to test on, checksums right"
    assert result.stdout.splitlines()[-1] == "graphnn works here. Next: graphnn train lenet"


def test_missing_extras_do_no_harm(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, *(name for _, names, _, _ in examination.EXTRAS for name in names))

    result = run("doctor")

    assert result.exit_code == 0, result.output
    for name, _, command, _ in examination.EXTRAS:
        assert line(result.stdout, "extras", name).startswith("not installed (")
        assert f"→ {command}\n" in result.stdout


def test_any_of_the_cupy_distributions_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "cupy", "cupy-cuda12x")
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "14.0" if name == "cupy-cuda13x" else real(name))

    (found,) = (finding for finding in examination.extras() if finding.subject == "cupy")

    assert (found.text, found.state) == ("14.0", "right")


def test_missing_core_is_wrong(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "networkx")
    for name in ("networkx", "graphnn.compiler.targets.devices"):
        monkeypatch.setitem(sys.modules, name, None)

    result = run("doctor")

    assert result.exit_code == 1
    assert line(result.stdout, "graphnn", "networkx").startswith("not installed: import of networkx halted")
    assert "→ pip install --force-reinstall networkx" in result.stdout
    assert line(result.stdout, "devices", "devices").startswith("can't be tried: import of graphnn.compiler")
    assert result.stdout.splitlines()[-1] == "graphnn does not work here: see networkx, devices above."


def test_device_that_computes_wrongly(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "allclose", lambda *_: False)

    result = run("doctor")

    assert result.exit_code == 1
    assert line(result.stdout, "devices", "cpu").startswith(
        "fails: ArithmeticError: got loss 4.0 and weights [[0.0], [0.0]]"
    )
    assert "see cpu, numpy" in result.stdout.splitlines()[-1]


def test_device_that_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(device: str, *_: object) -> Target:
        if device == "cpu":
            raise RuntimeError("no driver")
        return NumpyTarget()

    monkeypatch.setattr("graphnn.executor.target_for", broken)

    found = {finding.subject: finding for finding in examination.devices()}

    assert found["cpu"].text == "fails: RuntimeError: no driver"
    assert found["cpu"].state == "wrong"
    assert found["numpy"].text == "ready"


def test_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def compiler() -> examination.Finding:
        (found,) = (finding for finding in examination.machine() if finding.subject == "C compiler")
        return found

    there = Compiler(("/bin/tiny-cc",), "tiny cc 1.2", "some processor", vector_bytes=32, threads=True)
    monkeypatch.setattr(toolchain, "find_compiler", lambda: there)
    assert compiler().state == "known"
    assert compiler().text == "/bin/tiny-cc: tiny cc 1.2; vectors of 32 bytes, OpenMP"

    monkeypatch.setattr(toolchain, "find_compiler", lambda: None)
    monkeypatch.setattr(toolchain, "unavailable_reason", lambda: "install one")
    assert compiler().state == "absent"
    assert compiler().text == "none: install one"


def test_gpu(run: Command) -> None:
    output = run("doctor").stdout

    for what, finding, _ in describe():
        assert line(output, "GPU", what) == finding
    assert line(output, "GPU", "emulator").startswith('device="cuda-emulator" runs the same kernels')


def test_gpu_that_works() -> None:
    library = DriverLibrary(cards=[("NVIDIA H200", 9, 0, 139 << 30), ("Tesla T4", 7, 5, 15 << 30)])
    here = Environment(lambda: library, lambda name: {"cupy-cuda13x": "14.2.0"}.get(name), Card, {})

    found = [(finding.subject, finding.text, finding.state) for finding in examination.gpu(here)]

    assert found[:-2] == [
        ("driver", "for CUDA 13.0", "known"),
        ("card 0", "NVIDIA H200, 139.0 GiB, compute capability 9.0", "known"),
        ("card 1", "Tesla T4, 15.0 GiB, compute capability 7.5", "known"),
        ("CuPy", "14.2.0 (cupy-cuda13x), NVRTC 13.1", "known"),
        ('device="cuda"', "runs on card 0", "known"),
    ]
    assert found[-2][0] == "cuDNN"


def test_gpu_without_cupy() -> None:
    here = Environment(lambda: DriverLibrary(12040), lambda _: None, Card, {})

    found = {finding.subject: finding for finding in examination.gpu(here)}

    assert found['device="cuda"'].state == "absent"
    assert found['device="cuda"'].advice == 'pip install "graphnn[cuda12]"'


def test_what_a_device_lacks_does_no_harm(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> NoReturn:
        raise CompileError("the emulator needs a C++ compiler", hint="install g++")

    monkeypatch.setattr("graphnn.compiler.targets.cuda.emulator.toolchain.emulator_compiler", refuse)

    result = run("doctor")

    assert result.exit_code == 0, result.output
    assert line(result.stdout, "GPU", "emulator") == "the emulator needs a C++ compiler"
    assert "→ install g++\n" in result.stdout
    assert line(result.stdout, "devices", "cuda-emulator") == "can't run: the emulator needs a C++ compiler"


def test_faults_of_a_device_are_no_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down() -> NoReturn:
        raise BuildError("the C compiler failed on scheduler.cpp")

    monkeypatch.setattr("graphnn.compiler.targets.cuda.emulator.toolchain.emulator_compiler", break_down)
    monkeypatch.setattr("graphnn.executor.target_for", lambda *_: break_down())

    found = {finding.subject: finding for finding in examination.devices()}

    assert found["cuda-emulator"].state == "wrong"


def test_damaged_data(tmp_path: Path) -> None:
    for path in MNIST.glob("*.gz"):
        shutil.copy(path, tmp_path)
    assert examination.mnist_files(tmp_path).state == "right"

    labels = tmp_path / "t10k-labels-idx1-ubyte.gz"
    labels.write_bytes(labels.read_bytes()[:-1] + b"!")
    assert re.match(r"t10k-labels-idx1-ubyte\.gz: damaged", examination.mnist_files(tmp_path).text)
    assert examination.mnist_files(tmp_path).state == "wrong"

    labels.unlink()
    assert examination.mnist_files(tmp_path).text == "t10k-labels-idx1-ubyte.gz: No such file or directory"


def test_digests_are_those_of_the_data_folder() -> None:
    stated = dict(re.findall(r"`([\w-]+\.gz)`.*`([0-9a-f]{64})`", (MNIST / "README.md").read_text(encoding="utf-8")))

    assert stated == examination.MNIST_DIGESTS


def test_extras_can_be_installed_as_said() -> None:
    import tomllib

    root = Path(__file__).resolve().parents[3]
    known = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for _, names, command, _ in examination.EXTRAS:
        for extra in re.findall(r"graphnn\[(\w+)\]", command):
            assert any(requirement.startswith(name) for requirement in known[extra] for name in names)
