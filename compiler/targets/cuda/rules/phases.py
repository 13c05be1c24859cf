"""Phases of the images of a strided convolution: along an axis, the pixels that meet the same places of the kernel.

Pixel i of x meets pixel j of y by tap p where ``i + before = j · stride + p · dilation``. With ``common`` the greatest
common divisor of stride and dilation, ``step = stride / common`` and ``shift = dilation / common``, phase f of the
``stride`` ones has the pixels ::

    i = v · stride + (f mod step) · dilation + f div step - before,    for all whole v that lead into x

They meet taps ``p = f + t · step``, t = 0, 1, …, and by such a tap pixel ``v - t · shift`` of y. Phases from ``step``
on meet none. Those that meet many come first.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import ceil, gcd

EXACT = 2**31
"""A division by ``d`` is a product by a reciprocal as long as the dividend times ``d - 1`` is below this."""


@dataclass(frozen=True)
class PhasedAxis:
    """The phases along one axis of x; the sizes are those of the forward convolution.

    Attributes
    ----------
    size, positions : int
        Pixels of x and of y.
    kernel, stride, dilation : int
        As in `conv2d`.
    before : int
        Zeros before the first pixel of x.

    Examples
    --------
    >>> axis = PhasedAxis(size=7, positions=4, kernel=3, stride=2, dilation=1, before=1)
    >>> [axis.taps(phase) for phase in range(axis.stride)]
    [2, 1]
    """

    size: int
    positions: int
    kernel: int
    stride: int
    dilation: int
    before: int

    @property
    def step(self) -> int:
        """Taps from one that a phase meets to the next."""
        return self.stride // gcd(self.stride, self.dilation)

    @property
    def shift(self) -> int:
        """Pixels of y between these."""
        return self.dilation // gcd(self.stride, self.dilation)

    @property
    def pixels(self) -> int:
        """Pixels of a phase; some phases lack the last one."""
        return ceil(self.size / self.stride)

    @property
    def is_even(self) -> bool:
        """Whether no phase lacks a pixel."""
        return self.size % self.stride == 0

    @cached_property
    def counts(self) -> set[int]:
        """Numbers of taps that phases meet, other than 0."""
        return {self.taps(phase) for phase in range(self.step)} - {0}

    @property
    def leaves(self) -> bool:
        """Whether a phase's pixels and taps meet outside of y."""
        return any(
            self.met(phase) - (self.taps(phase) - 1) * self.shift < 0
            or self.met(phase) + self.pixels - 1 >= self.positions
            for phase in range(self.stride)
            if self.taps(phase) > 0
        )

    def taps(self, phase: int) -> int:
        """Return how many taps a phase meets."""
        return (self.kernel - 1 - phase) // self.step + 1 if phase < min(self.step, self.kernel) else 0

    def met(self, phase: int) -> int:
        """Return which pixel of y the first pixel of a phase meets by its first tap."""
        return -((phase % self.step * self.dilation + phase // self.step - self.before) // self.stride)

    def macros(self, axis: str, inner: int) -> dict[str, str]:
        """Return the same as macros of z, whose quotient by `inner` counts phases."""
        phase, first_tap, step, stride = f"PHASE_{axis}(z)", f"FIRST_TAP_{axis}(z)", self.step, self.stride
        turns = ceil(self.before / stride)  # so that what is divided is not below 0
        start = f"({first_tap} * {self.dilation} + {phase} / {step} + {turns * stride - self.before})"
        taps = f"({self.kernel + step - 1} - {phase}) / {step}"
        return {
            phase: f"(z / {inner} % {stride})",
            first_tap: f"({phase} % {step})",
            f"TAPS_{axis}(z)": f"({taps})" if step == stride else f"({phase} < {step} ? {taps} : 0)",
            f"FIRST_{axis}(z)": f"({start} % {stride})",
            f"MET_{axis}(z)": f"({turns} - {start} / {stride})",
        }


@dataclass(frozen=True)
class Phases:
    """The phases of both axes; product z is that of group ``z mod groups``, the others follow row by row.

    Attributes
    ----------
    y, x : PhasedAxis
        The height and the width.
    groups : int
        Groups of channels.
    outputs : int
        Channels of y in a group.
    """

    y: PhasedAxis
    x: PhasedAxis
    groups: int
    outputs: int

    @cached_property
    def terms(self) -> list[int]:
        """Terms of each phase: the channels of y times the taps that it meets."""
        both = product(range(self.y.stride), range(self.x.stride))
        return [self.outputs * self.y.taps(row) * self.x.taps(column) for row, column in both]

    @property
    def mean_terms(self) -> int:
        """Terms of a phase on average, of those that have any."""
        return ceil(sum(self.terms) / (len(self.terms) - self.terms.count(0)))

    def macros(self) -> dict[str, str]:
        """Return macros that split z, and term k of product z into a channel of y and a tap."""
        counts = {one * other for one, other in product(self.y.counts, self.x.counts)}
        taps, taps_x = _value(counts, "(TAPS_Y(z) * TAPS_X(z))"), _value(self.x.counts, "TAPS_X(z)")
        return {
            "GROUP(z)": f"(z % {self.groups})",
            **self.y.macros("Y", self.groups * self.x.stride),
            **self.x.macros("X", self.groups),
            "OUTPUT_CHANNEL(z, k)": quotient("k", taps, counts, max(self.terms)),
            "TAP(z, k)": f"((int)(k - OUTPUT_CHANNEL(z, k) * {taps}))",
            "TAP_Y(z, k)": quotient("TAP(z, k)", taps_x, self.x.counts, max(counts)),
            "TAP_X(z, k)": f"(TAP(z, k) - TAP_Y(z, k) * {taps_x})",
        }


def _value(values: Collection[int], text: str) -> str:
    """Return the text of a number that is one of some values: of the value, if there is one alone."""
    return str(max(values)) if len(values) == 1 else text


def quotient(dividend: str, divisor: str, divisors: Collection[int], end: int) -> str:
    """Return a dividend below `end` by one of few divisors: a product by a reciprocal, which a loop chooses once.

    Examples
    --------
    >>> quotient("k", "3", {3}, 100)
    '(k / 3)'
    >>> quotient("k", "d", {2, 3}, 100)
    '((int)((uint64_t)(uint32_t)k * (d == 2 ? 1073741824u : 715827883u) >> 31))'
    >>> quotient("k", "d", {2, 3}, 2**31)
    '(k / d)'
    """
    *others, largest = sorted(divisors)
    if not others or (end - 1) * (largest - 1) >= EXACT:
        return f"({dividend} / {divisor})"
    choice = "".join(f"{divisor} == {each} ? {reciprocal(each)}u : " for each in others)
    return f"((int)((uint64_t)(uint32_t){dividend} * ({choice}{reciprocal(largest)}u) >> 31))"


def reciprocal(divisor: int) -> int:
    """Return the reciprocal of a divisor in units of 2^-31, rounded up."""
    return -(-(2**31) // divisor)
