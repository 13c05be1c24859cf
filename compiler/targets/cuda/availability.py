"""Whether ``device="cuda"`` can run here: the driver, its cards, CuPy, and what to do about what is missing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module, metadata
from typing import Any, NamedTuple, TypeVar

from graphnn.compiler.targets.cuda.driver import Driver, DriverError, Gpu, load_library
from graphnn.ops.errors import CompileError
from graphnn.ops.source import caller

Answer = TypeVar("Answer")

OLDEST_ARCHITECTURE = 75
"""Compute capability 7.5 (Turing), the oldest that CUDA 13 compiles for."""

OLDEST_CUPY = 14

OLDEST_CUDA = 12
"""The oldest CUDA that CuPy 14 is built for."""

DISTRIBUTIONS = {"cupy-cuda11x": 11, "cupy-cuda12x": 12, "cupy-cuda13x": 13, "cupy": 0}
"""Packages that bring CuPy, and the CUDA each is built for; 0 where only CuPy itself can say."""


class GpuUnavailableError(CompileError):
    """``device="cuda"`` can't run here."""


class NoDriverError(GpuUnavailableError):
    """There is no NVIDIA driver, or none that works."""


class OldDriverError(GpuUnavailableError):
    """The driver is older than any CUDA that CuPy is built for."""


class NoGpuError(GpuUnavailableError):
    """There is a driver, but no card that this process may use."""


class OldGpuError(GpuUnavailableError):
    """The card is older than those that kernels are compiled for."""


class NoCupyError(GpuUnavailableError):
    """CuPy is not installed, or can't be imported."""


class SeveralCupyError(GpuUnavailableError):
    """Several packages brought CuPy, each over the files of the others."""


class OldCupyError(GpuUnavailableError):
    """CuPy is too old."""


class CudaMismatchError(GpuUnavailableError):
    """CuPy is built for a newer CUDA than the driver's."""


class NoNvrtcError(GpuUnavailableError):
    """CuPy does not find NVRTC, the compiler of kernels."""


class Finding(NamedTuple):
    """A line of `describe`: what was looked for, what was found, and what to do where that is not enough."""

    what: str
    finding: str
    advice: str = ""


def _installed_version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _import_cupy() -> Any:
    return import_module("cupy")


@dataclass(frozen=True)
class Environment:
    """Where to look, in parts that can be replaced.

    Attributes
    ----------
    load_driver : callable
        Returns the driver's library; raises OSError where there is none.
    version_of : callable
        Returns the version of an installed package, or None.
    load_cupy : callable
        Returns the module ``cupy``.
    variables : mapping of str to str
        The environment variables.
    """

    load_driver: Callable[[], Any] = load_library
    version_of: Callable[[str], str | None] = _installed_version
    load_cupy: Callable[[], Any] = _import_cupy
    variables: Mapping[str, str] = field(default_factory=lambda: os.environ)


THIS_MACHINE = Environment()


def require_gpu(index: int = 0, environment: Environment = THIS_MACHINE) -> Gpu:
    """Return the card that ``device="cuda"`` runs on.

    Parameters
    ----------
    index : int
        Its number among those that this process may use.
    environment : Environment
        Where to look.

    Raises
    ------
    GpuUnavailableError
        If it can't run. The class says what is missing, the hint what to do about it.
    """
    survey = _Survey(environment)
    try:
        card = survey.card(index)
        survey.check_cupy()
    except GpuUnavailableError as error:
        raise error.locate(subject="", actual="", where=str(caller()))  # noqa: B904  # it is the same error
    return card


def describe(environment: Environment = THIS_MACHINE) -> list[Finding]:
    """Return what there is for ``device="cuda"``, a line each, and in the last whether it runs. Never raises.

    CuPy, whose import takes a second, is imported only where there is a card for it.
    """
    survey = _Survey(environment)
    findings = []
    try:
        findings.append(Finding("driver", "for CUDA {}.{}".format(*survey.cuda)))
        findings += [Finding(f"card {card.index}", str(card)) for card in survey.cards]
    except GpuUnavailableError as error:
        if not findings:
            findings.append(Finding("driver", f"none: {error.actual}"))
    cupy = ", ".join(f"{version} ({name})" for name, version in survey.distributions)
    try:
        card = survey.card(0)
        cupy += ", NVRTC {}.{}".format(*survey.check_cupy())
    except GpuUnavailableError as error:
        verdict = Finding('device="cuda"', f"can't run: {error.message}", error.hint)
    else:
        verdict = Finding('device="cuda"', f"runs on card {card.index}")
    return [*findings, Finding("CuPy", cupy or "not installed"), verdict]


class _Survey:
    """The questions, in the order in which they arise; the first one with a bad answer raises."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    @cached_property
    def driver(self) -> Driver:
        try:
            return Driver(self._environment.load_driver())
        except OSError as error:
            raise NoDriverError(
                "there is no NVIDIA driver",
                expected=f"a driver for CUDA {OLDEST_CUDA} or newer",
                actual=str(error),
                hint='install NVIDIA\'s driver; without a card of theirs, device="cpu" is what runs',
            ) from None

    @property
    def cuda(self) -> tuple[int, int]:
        """The newest CUDA that the driver can run."""
        return self._ask(lambda: self.driver.cuda)

    @property
    def cards(self) -> tuple[Gpu, ...]:
        """The cards that this process may use."""
        if self.cuda < (OLDEST_CUDA, 0):
            raise OldDriverError(
                "the NVIDIA driver is too old",
                expected=f"a driver for CUDA {OLDEST_CUDA} or newer",
                actual="a driver for CUDA {}.{}".format(*self.cuda),
                hint="update the driver",
            )
        return self._ask(lambda: self.driver.gpus)

    def card(self, index: int) -> Gpu:
        if index >= len(self.cards):
            raise self._no_card(index)
        card = self.cards[index]
        if card.architecture < OLDEST_ARCHITECTURE:
            fitting = [other for other in self.cards if other.architecture >= OLDEST_ARCHITECTURE]
            raise OldGpuError(
                f"the GPU {card.name} is too old",
                expected=f"compute capability {OLDEST_ARCHITECTURE / 10} or higher",
                actual=f"compute capability {card.architecture / 10}",
                hint=f"let CUDA_VISIBLE_DEVICES name the {fitting[0].name} only" if fitting else 'use device="cpu"',
            )
        return card

    @cached_property
    def distributions(self) -> tuple[tuple[str, str], ...]:
        """The packages that brought CuPy, with their versions."""
        versions = ((name, self._environment.version_of(name)) for name in DISTRIBUTIONS)
        return tuple((name, version) for name, version in versions if version)

    def check_cupy(self) -> tuple[int, int]:
        """Raise unless CuPy works here; return the version of NVRTC."""
        name = self._distribution()
        try:
            cupy = self._environment.load_cupy()
        except Exception as error:  # it loads libraries and makes folders: anything can go wrong
            cause = error.__cause__ or error
            raise NoCupyError(
                "CuPy can't be imported",
                expected=self._wanted,
                actual=f"{type(cause).__name__}: {cause}",
                hint=self._anew(name),
            ) from error
        self._check_cuda(name, DISTRIBUTIONS[name] or cupy.cuda.runtime.runtimeGetVersion() // 1000)
        try:
            major, minor = cupy.cuda.nvrtc.getVersion()
        except Exception as error:  # CuPy's own loader of libraries has errors of its own
            raise NoNvrtcError(
                "CuPy finds no NVRTC, the compiler of kernels",
                expected="NVRTC from NVIDIA's packages or from a CUDA toolkit",
                actual=f"{name}: {error}",
                hint="install the CUDA toolkit" if name == "cupy" else f'pip install "{name}[ctk]"',
            ) from error
        return major, minor

    def _distribution(self) -> str:
        """Return the package that brought CuPy, if it is one, new enough, and fits the driver."""
        if not self.distributions:
            actual = "no CuPy, a driver for CUDA {}.{}".format(*self.cuda)
            raise NoCupyError("CuPy is not installed", expected=self._wanted, actual=actual, hint=self._install)
        names = [name for name, _ in self.distributions]
        if len(names) > 1:
            raise SeveralCupyError(
                "CuPy is installed more than once, each over the files of the others",
                expected=f"one package: {self._wanted}",
                actual=", ".join(names),
                hint=self._anew(*names),
            )
        ((name, version),) = self.distributions
        if int(version.partition(".")[0]) < OLDEST_CUPY:
            raise OldCupyError("CuPy is too old", expected=self._wanted, actual=version, hint=self._anew(name))
        self._check_cuda(name, DISTRIBUTIONS[name])
        return name

    def _check_cuda(self, name: str, built_for: int) -> None:
        # The other way round works: a driver runs what was built for an earlier CUDA.
        if built_for > self.cuda[0]:
            raise CudaMismatchError(
                f"CuPy is built for CUDA {built_for}, but the driver is for CUDA {self.cuda[0]}",
                expected=f"{self._wanted}, or a driver for CUDA {built_for}",
                actual="{}, a driver for CUDA {}.{}".format(name, *self.cuda),
                hint=f"{self._anew(name)}; or update the driver",
            )

    def _no_card(self, index: int) -> GpuUnavailableError:
        visible = self._environment.variables.get("CUDA_VISIBLE_DEVICES")
        if visible is None:
            hint = "`nvidia-smi -L` lists the cards; a container must be started with `--gpus all`"
        else:
            hint = "unset CUDA_VISIBLE_DEVICES, or set it to the number of a card that `nvidia-smi -L` lists"
        return NoGpuError(
            f"there is no card {index} that this process may use" if self.cards else "no card is visible",
            expected="an NVIDIA GPU",
            actual=f"{len(self.cards)} visible" + ("" if visible is None else f", CUDA_VISIBLE_DEVICES={visible!r}"),
            hint=hint,
        )

    def _ask(self, question: Callable[[], Answer]) -> Answer:
        try:
            return question()
        except DriverError as error:
            raise NoDriverError(
                "the NVIDIA driver does not work",
                expected="a driver that answers",
                actual=str(error),
                hint="see what `nvidia-smi` says; after an update of the driver, restart the machine",
            ) from None

    @property
    def _wanted(self) -> str:
        return f"CuPy {OLDEST_CUPY} or newer for CUDA {self._fitting}"

    @property
    def _install(self) -> str:
        return f'pip install "graphnn[cuda{self._fitting}]"'

    @property
    def _fitting(self) -> int:
        """The CUDA of the newest CuPy that the driver can run."""
        return min(self.cuda[0], max(DISTRIBUTIONS.values()))

    def _anew(self, *names: str) -> str:
        return f"pip uninstall -y {' '.join(names)} && {self._install}"
