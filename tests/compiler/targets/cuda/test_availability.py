"""What is said where a GPU can't be used, on stand-ins for the driver and for CuPy."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from cuda_doubles import Card, DriverLibrary
from error_form import refused
from graphnn.compiler.targets.cuda import availability
from graphnn.compiler.targets.cuda.availability import Environment, describe, require_gpu
from graphnn.compiler.targets.cuda.driver import Driver, DriverError, Gpu
from graphnn.ops.errors import CompileError

H200 = ("NVIDIA H200", 9, 0, 139 << 30)
P100 = ("Tesla P100", 6, 0, 16 << 30)


def environment(
    library: DriverLibrary | None = None,
    packages: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
    cupy: Callable[[], Any] = Card,
) -> Environment:
    """Return a machine on which all is well, but for what is given."""
    driver = library or DriverLibrary()
    installed = {"cupy-cuda13x": "14.2.0"} if packages is None else packages
    return Environment(lambda: driver, installed.get, cupy, variables or {})


def no_library() -> Any:
    raise OSError("libcuda.so.1: cannot open shared object file")


def no_cupy() -> Any:
    raise ImportError("=====\nlong\n=====") from ImportError("libcublas.so.13: cannot open shared object file")


def no_nvrtc() -> tuple[int, int]:
    raise RuntimeError('Failure finding "libnvrtc.so.13"')


def card_without_nvrtc() -> Card:
    card = Card()
    card.nvrtc = no_nvrtc
    return card


def test_a_machine_that_can() -> None:
    here = environment()
    assert require_gpu(environment=here) == Gpu(0, "NVIDIA H200", 90, 139 << 30)
    assert describe(here) == [
        ("driver", "for CUDA 13.0", ""),
        ("card 0", "NVIDIA H200, 139.0 GiB, compute capability 9.0", ""),
        ("CuPy", "14.2.0 (cupy-cuda13x), NVRTC 13.1", ""),
        ('device="cuda"', "runs on card 0", ""),
    ]


@pytest.mark.parametrize(
    ("version", "package"),
    [
        (12000, "cupy-cuda12x"),
        (12090, "cupy-cuda12x"),
        (13020, "cupy-cuda12x"),
        (13020, "cupy"),
        (14010, "cupy-cuda13x"),
    ],
)
def test_drivers_run_what_is_built_for_their_cuda_or_an_earlier_one(version: int, package: str) -> None:
    here = environment(DriverLibrary(version), {package: "14.0.1"})
    assert require_gpu(environment=here).index == 0


def test_another_card() -> None:
    here = environment(DriverLibrary(cards=[P100, H200]))
    assert require_gpu(1, here).name == "NVIDIA H200"
    with refused(availability.NoGpuError, "there is no card 2 that", at="require_gpu", actual="2 visible"):
        require_gpu(2, here)


BROKEN = {
    "no driver": (
        replace(environment(), load_driver=no_library),
        (availability.NoDriverError, "there is no NVIDIA driver"),
        {"actual": "libcuda.so.1: cannot open", "expected": "CUDA 12 or newer", "hint": "install NVIDIA's driver"},
    ),
    "driver and kernel module of different versions": (
        environment(DriverLibrary(answer_to_init=803)),
        (availability.NoDriverError, "the NVIDIA driver does not work"),
        {"actual": "cuInit gave CUDA_ERROR_SYSTEM_DRIVER_MISMATCH (803)", "hint": "restart the machine"},
    ),
    "driver that breaks later": (
        environment(DriverLibrary(refused={"cuDeviceGetName": 4321})),
        (availability.NoDriverError, "the NVIDIA driver does not work"),
        {"actual": "cuDeviceGetName gave an error (4321)"},
    ),
    "old driver": (
        environment(DriverLibrary(11040)),
        (availability.OldDriverError, "the NVIDIA driver is too old"),
        {"actual": "CUDA 11.4", "expected": "CUDA 12 or newer", "hint": "update the driver"},
    ),
    "no card": (
        environment(DriverLibrary(answer_to_init=100)),
        (availability.NoGpuError, "no card is visible"),
        {"actual": "0 visible", "hint": "nvidia-smi -L"},
    ),
    "hidden cards": (
        environment(DriverLibrary(cards=[]), variables={"CUDA_VISIBLE_DEVICES": "-1"}),
        (availability.NoGpuError, "no card is visible"),
        {"actual": "CUDA_VISIBLE_DEVICES='-1'", "hint": "unset CUDA_VISIBLE_DEVICES"},
    ),
    "old card": (
        environment(DriverLibrary(cards=[P100])),
        (availability.OldGpuError, "the GPU Tesla P100 is too old"),
        {"actual": "compute capability 6.0", "expected": "7.5", "hint": 'device="cpu"'},
    ),
    "old card before a new one": (
        environment(DriverLibrary(cards=[P100, H200])),
        (availability.OldGpuError, "the GPU Tesla P100 is too old"),
        {"hint": "let CUDA_VISIBLE_DEVICES name the NVIDIA H200 only"},
    ),
    "no CuPy, new driver": (
        environment(packages={}),
        (availability.NoCupyError, "CuPy is not installed"),
        {"expected": "CuPy 14 or newer for CUDA 13", "hint": 'pip install "graphnn[cuda13]"'},
    ),
    "no CuPy, older driver": (
        environment(DriverLibrary(12040), packages={}),
        (availability.NoCupyError, "CuPy is not installed"),
        {"actual": "CUDA 12.4", "hint": 'pip install "graphnn[cuda12]"'},
    ),
    "CuPy twice": (
        environment(packages={"cupy-cuda12x": "14.0.0", "cupy-cuda13x": "14.2.0"}),
        (availability.SeveralCupyError, "CuPy is installed more than once"),
        {
            "actual": "cupy-cuda12x, cupy-cuda13x",
            "hint": 'pip uninstall -y cupy-cuda12x cupy-cuda13x && pip install "graphnn[cuda13]"',
        },
    ),
    "old CuPy": (
        environment(packages={"cupy-cuda13x": "13.6.0"}),
        (availability.OldCupyError, "CuPy is too old"),
        {"actual": "13.6.0", "expected": "CuPy 14", "hint": "pip uninstall -y cupy-cuda13x && pip install"},
    ),
    "CuPy for a newer CUDA": (
        environment(DriverLibrary(12080)),
        (availability.CudaMismatchError, "CuPy is built for CUDA 13, but the driver is for CUDA 12"),
        {
            "actual": "cupy-cuda13x, a driver for CUDA 12.8",
            "expected": "CuPy 14 or newer for CUDA 12, or a driver for CUDA 13",
            "hint": 'pip uninstall -y cupy-cuda13x && pip install "graphnn[cuda12]"; or update the driver',
        },
    ),
    "CuPy from source for a newer CUDA": (
        environment(DriverLibrary(12080), {"cupy": "14.0.0"}),
        (availability.CudaMismatchError, "CuPy is built for CUDA 13, but the driver is for CUDA 12"),
        {"actual": "cupy, a driver"},
    ),
    "CuPy that can't be imported": (
        environment(cupy=no_cupy),
        (availability.NoCupyError, "CuPy can't be imported"),
        {"actual": "ImportError: libcublas.so.13: cannot open", "hint": "pip uninstall -y cupy-cuda13x"},
    ),
    "no NVRTC": (
        environment(cupy=card_without_nvrtc),
        (availability.NoNvrtcError, "CuPy finds no NVRTC"),
        {"actual": "libnvrtc.so.13", "hint": 'pip install "cupy-cuda13x[ctk]"'},
    ),
    "no NVRTC, CuPy from source": (
        environment(packages={"cupy": "14.2.0"}, cupy=card_without_nvrtc),
        (availability.NoNvrtcError, "CuPy finds no NVRTC"),
        {"hint": "install the CUDA toolkit"},
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_lack_has_its_error(name: str) -> None:
    here, (kind, message), parts = BROKEN[name]
    with refused(kind, message, at="require_gpu(environment=here)", **parts):
        require_gpu(environment=here)


@pytest.mark.parametrize("name", BROKEN)
def test_each_lack_is_described(name: str) -> None:
    here, (_, message), parts = BROKEN[name]
    first, *_, cupy, verdict = describe(here)

    assert first.what == "driver"
    assert cupy.what == "CuPy"
    assert verdict.what == 'device="cuda"'
    assert verdict.finding.startswith(f"can't run: {message}")
    assert parts.get("hint", "") in verdict.advice
    assert verdict.advice
    assert not any(finding.advice for finding in describe(here)[:-1])  # it is said once


def test_description_shows_what_was_found() -> None:
    found = {what: text for what, text, _ in describe(environment(DriverLibrary(12040, [P100, H200])))}
    assert found["driver"] == "for CUDA 12.4"
    assert found["card 1"] == "NVIDIA H200, 139.0 GiB, compute capability 9.0"
    assert found["CuPy"] == "14.2.0 (cupy-cuda13x)"

    found = {what: text for what, text, _ in describe(BROKEN["no driver"][0])}
    assert found["driver"] == "none: libcuda.so.1: cannot open shared object file"
    assert {what: text for what, text, _ in describe(environment(packages={}))}["CuPy"] == "not installed"


def test_the_classes_are_compile_errors() -> None:
    kinds = {kind for _, (kind, _), _ in BROKEN.values()}
    assert kinds == set(availability.GpuUnavailableError.__subclasses__())
    assert issubclass(availability.GpuUnavailableError, CompileError)


def test_cupy_is_imported_last() -> None:
    for name in ("no driver", "no card", "old card", "CuPy twice", "old CuPy", "CuPy for a newer CUDA"):
        here = replace(BROKEN[name][0], load_cupy=lambda: pytest.fail("CuPy was imported"))
        describe(here)
        with pytest.raises(availability.GpuUnavailableError):
            require_gpu(environment=here)


def test_cupy_is_not_imported_with_the_modules() -> None:
    code = (
        "import sys; import graphnn.compiler.targets.cuda.cupy_machine, graphnn.compiler.targets.cuda.availability; "
        "sys.exit('cupy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_driver_says_what_it_can_without_being_initialised() -> None:
    library = DriverLibrary(12060)
    assert Driver(library).cuda == (12, 6)
    assert "cuInit" not in library.calls


def test_driver_that_does_not_answer() -> None:
    with pytest.raises(DriverError, match=r"cuDeviceGetAttribute gave CUDA_ERROR_NOT_INITIALIZED \(3\)"):
        _ = Driver(DriverLibrary(refused={"cuDeviceGetAttribute": 3})).gpus
