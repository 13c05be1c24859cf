"""How much of a kernel's result is computed at a time, so that it stays in the machine's vector registers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

STATEMENTS = 400
"""Vector statements that one straight-line body may have: a compiler's time grows with them."""

ALL_STATEMENTS = 4 * STATEMENTS
"""What all bodies of a kernel may have together."""

_LATENCY = 4.2
"""Cycles from one multiply-add to the next on the same accumulator: 4, and a little to spare."""

_PER_CYCLE = 2
"""Multiply-adds, and loads, that today's cores start in a cycle."""


def vector_registers(lanes: int) -> int:
    """Return how many vector registers the machines have whose vectors hold so many floats."""
    return 32 if lanes >= 16 else 16


@dataclass(frozen=True)
class Parts:
    """A count split into parts of nearly equal size: some of `size + 1`, then some of `size`.

    Examples
    --------
    >>> list(Parts.of(10, at_most=4))
    [range(0, 4), range(4, 7), range(7, 10)]
    """

    size: int
    larger: int
    smaller: int

    @classmethod
    def of(cls, count: int, at_most: int) -> Parts:
        """Split a count into as few parts as possible."""
        number = -(-count // at_most)
        size, larger = divmod(count, number)
        return cls(size, larger, number - larger)

    def __iter__(self) -> Iterator[range]:
        for run in self.runs:
            for start in run:
                yield range(start, start + run.step)

    @property
    def runs(self) -> list[range]:
        """Where the parts of each size start, as ranges whose step is the size."""
        end = self.larger * (self.size + 1)
        ranges = range(0, end, self.size + 1), range(end, end + self.smaller * self.size, self.size)
        return [run for run in ranges if run]

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Each size and how many parts have it."""
        return [(run.step, len(run)) for run in self.runs]


def cycles(rows: int, columns: int, chains: int = 1) -> float:
    """Return an estimate of the time of one step of a tile: every row times every column, each loaded once.

    Examples
    --------
    >>> cycles(4, 3) / (4 * 3) < cycles(2, 3) / (2 * 3)
    True
    """
    products, loads = rows * columns, rows + columns
    return max(products / _PER_CYCLE, loads / _PER_CYCLE, _LATENCY / chains) + 0.05 * loads


def fits(rows: int, columns: int, registers: int, chains: int = 1) -> bool:
    """Return whether the accumulators of a tile, its shorter side and another operand fit into the registers.

    One register stays free: compilers that have none left move numbers to and fro.
    """
    return rows * columns * chains + min(rows, columns) + 1 < registers


def outer_product(
    sums: Sequence[Sequence[str]], row: str, rows: Sequence[str], column: str, columns: Sequence[str]
) -> list[str]:
    r"""Print the multiply-adds of one step of a tile: the operands of its shorter side are kept, the others stream.

    Parameters
    ----------
    sums : sequence of sequence of str
        Accumulators.
    row, column : str
        Names of the two kinds of operands.
    rows, columns : sequence of str
        C expressions of the operands.

    Examples
    --------
    >>> print(*outer_product([["a"], ["b"]], "w", ["w[0]", "w[3]"], "s", ["s[0]"]), sep="\n")
    {
        const vec s0 = in_register(s[0]);
        const vec w0 = w[0]; a += w0 * s0;
        const vec w1 = w[3]; b += w1 * s0;
    }
    """
    if len(rows) < len(columns):
        turned = [list(each) for each in zip(*sums, strict=True)]
        return outer_product(turned, column, columns, row, rows)
    kept = [f"{column}{j}" for j in range(len(columns))]
    lines = [f"    const vec {name} = {_loaded(text, len(rows))};" for name, text in zip(kept, columns, strict=True)]
    for i, (each, text) in enumerate(zip(sums, rows, strict=True)):
        products = " ".join(f"{name} += {row}{i} * {other};" for name, other in zip(each, kept, strict=True))
        lines.append(f"    const vec {row}{i} = {_loaded(text, len(columns))}; {products}")
    return ["{", *lines, "}"]


def _loaded(operand: str, uses: int) -> str:
    """Return an operand; one that is read from memory for several uses is kept from being read for each."""
    return operand if uses == 1 or operand.startswith("splat") else f"in_register({operand})"
