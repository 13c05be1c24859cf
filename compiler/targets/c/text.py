"""Small pieces of C text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence


def indented(lines: Iterable[str]) -> list[str]:
    """Return lines one level further in; pragmas stay where they are."""
    return [line if line.startswith("#") else f"    {line}" for line in lines]


def loop(variable: str, over: range, body: Iterable[str]) -> list[str]:
    """Return a loop over a range.

    Examples
    --------
    >>> loop("i", range(0, 8, 4), ["f(i);"])
    ['for (int i = 0; i < 8; i += 4) {', '    f(i);', '}']
    """
    step = f"{variable}++" if over.step == 1 else f"{variable} += {over.step}"
    return [f"for (int {variable} = {over.start}; {variable} < {over.stop}; {step}) {{", *indented(body), "}"]


def linear(*terms: tuple[str, int], constant: int = 0) -> str:
    """Return the sum of expressions times numbers.

    Examples
    --------
    >>> linear(("row", 28), ("group", 0), ("i - 2", 3), ("j", 1), constant=-3)
    'row * 28 + (i - 2) * 3 + j - 3'
    """
    texts = []
    for expression, factor in terms:
        grouped = f"({expression})" if " " in expression else expression
        if factor:
            texts.append(expression if factor == 1 else f"{grouped} * {factor}")
    if not texts:
        return str(constant)
    return " + ".join(texts) + (f" {'-' if constant < 0 else '+'} {abs(constant)}" if constant else "")


def row_major(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the elements from one index to the next on each axis, where there are no gaps.

    Examples
    --------
    >>> row_major((2, 3, 4))
    (12, 4, 1)
    """
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def function(signature: str, body: Iterable[str]) -> list[str]:
    """Return a function of its unit alone, and an empty line."""
    return [f"static void {signature}", "{", *indented(body), "}", ""]


class Table:
    """Numbers that a C function looks up by an index, or computes from it where they lie on a line.

    Examples
    --------
    >>> Table("first", [0, 0, 1, 2]).at("row")
    'first[row]'
    >>> Table("first", [1, 3, 5]).at("row")
    'row * 2 + 1'
    """

    def __init__(self, name: str, numbers: Sequence[int]) -> None:
        self.name = name
        self.numbers = numbers
        self.step = numbers[1] - numbers[0] if len(numbers) > 1 else 0
        self.is_line = all(number == numbers[0] + i * self.step for i, number in enumerate(numbers))

    @property
    def declaration(self) -> list[str]:
        """The array, where one is needed."""
        if self.is_line:
            return []
        return [f"static const int {self.name}[{len(self.numbers)}] = {{{', '.join(map(str, self.numbers))}}};"]

    def at(self, index: str) -> str:
        """Return the C expression of the number at an index."""
        return linear((index, self.step), constant=self.numbers[0]) if self.is_line else f"{self.name}[{index}]"
