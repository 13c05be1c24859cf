"""What the compiler asks of a target, and what the executor asks of a loaded plan."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from graphnn.ops.node import Node
from graphnn.ops.op import Op
from graphnn.ops.spec import TensorSpec

if TYPE_CHECKING:
    from graphnn.compiler.index_checks import IndexCheck
    from graphnn.compiler.plan.form import Plan
    from graphnn.compiler.schedule.form import Schedule


@dataclass(frozen=True)
class KernelNeeds:
    """What placing a kernel's result in memory must respect.

    Attributes
    ----------
    name : str
        The kernel's name in plans and profiles.
    workspaces : tuple of TensorSpec
        Intermediate results, at the batch asked for.
    in_place : tuple of int
        The inputs whose memory the result may take, element by element.
    strided_output : bool
        Whether the result may have gaps, as a part of a concatenation has.
    row_major : tuple of int
        The inputs that must lie in memory without gaps; views that do not are copied first.
    """

    name: str
    workspaces: tuple[TensorSpec, ...] = ()
    in_place: tuple[int, ...] = ()
    strided_output: bool = False
    row_major: tuple[int, ...] = ()


@dataclass(frozen=True)
class StepTime:
    """How long a step took.

    A step that is a whole program says where its time went: `inner` and `between` add up to `seconds`. Where several
    threads run it together, these are the times of one thread, the last: where the work does not divide evenly, it has
    the most.

    Attributes
    ----------
    seconds : float
        The whole step.
    inner : tuple of float
        One for each of the step's inner steps.
    between : mapping of str to float
        Seconds that none of them took, by what they went to, such as waiting for other threads.
    """

    seconds: float
    inner: tuple[float, ...] = ()
    between: Mapping[str, float] = field(default_factory=dict)


class ResidentRuns(ABC):
    """Runs that take their feeds from data sets which lie where the plan runs."""

    @abstractmethod
    def begin(self, order: np.ndarray) -> None:
        """Set the order, as long as the data sets or one batch at most; the next run takes the first rows in it."""

    @abstractmethod
    def run(self, batch: int, fetch: bool) -> list[np.ndarray] | None:
        """Carry out one run on the next `batch` rows; return what is fetched, if that is wanted.

        The caller holds the lock of the graph's store.
        """

    @abstractmethod
    def wait(self) -> None:
        """Wait for the end of all runs."""


class LoadedPlan(ABC):
    """A plan with its memory allocated, ready to run.

    A run copies its feeds into memory of its own, looks at the indices there, so that what is checked is what is read,
    gives the variables that it writes their next version, and only then begins. No interrupt ends it with some of
    them written and others not.

    Attributes
    ----------
    has_own_memory : bool
        Whether it runs in another memory than the host's.
    """

    has_own_memory: ClassVar[bool] = False

    @abstractmethod
    def run(self, feeds: Mapping[Node, np.ndarray], batch: int, check_numerics: bool = False) -> list[np.ndarray]:
        """Carry out one run; return fresh arrays, one per fetch, in storage form.

        The caller holds the lock of the graph's store and has checked the feeds' shapes and types.

        Raises
        ------
        FeedError
            If an index that is fed is out of range; nothing has changed then.
        NumericsError
            With `check_numerics`, at the first step whose result is not finite; no variable has changed then.
        """

    @abstractmethod
    def time_steps(self, feeds: Mapping[Node, np.ndarray], batch: int) -> list[StepTime]:
        """Carry out one run; return the time of each step."""

    def reside(self, data: Mapping[Node, np.ndarray]) -> ResidentRuns | None:
        """Copy whole data sets to where the plan runs.

        Returns
        -------
        ResidentRuns or None
            None: that is where they are already, or there is no room for them.
        """
        return None


class Target(ABC):
    """One kind of machine."""

    name: str

    @abstractmethod
    def needs(self, op: Op, out: TensorSpec, inputs: Sequence[TensorSpec]) -> KernelNeeds:
        """Return what the kernel for an op needs; the specs' batch is bound."""

    @abstractmethod
    def build(self, schedule: Schedule, max_batch: int, writes_last: bool) -> Plan:
        """Return the plan of a schedule, for batches of 1 to `max_batch`.

        With `writes_last`, no variable is written before all else is done, since a step may fail.
        """

    @abstractmethod
    def verify(self, plan: Plan) -> None:
        """Raise a CompileError if a plan of this target breaks a rule."""

    @abstractmethod
    def load(self, plan: Plan, checks: Sequence[IndexCheck] = ()) -> LoadedPlan:
        """Allocate a plan's memory and make it ready to run; each run begins with the checks."""

    @abstractmethod
    def source(self, plan: Plan) -> str:
        """Return the program that a run carries out, for reading."""
