"""Instances of `gemm.cu` and `split_sum.cu`: a product of two operands, each described by the places that it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from graphnn.compiler.targets.cuda.elements import SIXTEEN_BITS, extent_text, loaded, value_type
from graphnn.compiler.targets.cuda.instance import Blocks, Instance
from graphnn.compiler.targets.cuda.rules.tiles import Tile, Work
from graphnn.ops import dtypes
from graphnn.ops.dtypes import DType
from graphnn.ops.errors import ShapeError
from graphnn.ops.spec import Extent, bind_extent, product

Precision = Literal["float32", "tf32"]

LARGEST_GRID = 65535
"""Of blocks along y and z."""


@dataclass(frozen=True)
class Operand:
    """What `gemm.cu` reads where a line (a row of A, a column of B) and a term meet.

    Attributes
    ----------
    line, term : str
        The places (see `place`) of line ``i`` and of term ``k`` of the product ``z``.
    source : str
        The parameter that is read.
    along_k : bool
        Whether neighbouring terms, rather than lines, are neighbours in memory.
    inside : str
        When there is an element, an expression of the places ``line`` and ``term``; it counts as 0 otherwise. Empty:
        always.
    """

    line: str
    term: str
    source: str
    along_k: bool
    inside: str = ""


def place(offset: str, y: str = "0", x: str = "0") -> str:
    """Return the list that initialises a place: an offset in elements, and a row and a column where these matter.

    Examples
    --------
    >>> place("i * 12")
    '{i * 12, 0, 0}'
    """
    return f"{{{offset}, {y}, {x}}}"


@dataclass(frozen=True)
class Uneven:
    """In what products of one kernel differ.

    Attributes
    ----------
    terms : str
        Number of terms of the product ``z``.
    empty : int
        How many products have none; their results are 0.
    exists : str
        When there is a result, an expression of ``z``, ``{m}`` and ``{j}``, for `str.format`. Empty: always.
    results : int or Dim
        How many there are.
    macros : mapping of str to str
        What the expressions of this and of the product use.
    """

    terms: str
    empty: int
    exists: str
    results: Extent
    macros: Mapping[str, str]


@dataclass(frozen=True)
class Product:
    """A product as `gemm.cu` understands it.

    Attributes
    ----------
    batches, m, n, k : int or Dim
        Number of products; rows, columns and terms of each. Where products are uneven: rows of the largest, terms of an
        average one that has any.
    a, b : Operand
        What is multiplied.
    output_index : str
        Where a result goes: an expression of ``z``, ``{m}`` and ``{j}``, for `str.format`.
    output_along_m : bool
        Whether neighbouring rows, rather than columns, are neighbours in the output.
    dtype : DType
        Of all three.
    precision : {"float32", "tf32"}
        What float32 may be multiplied in.
    uneven : Uneven or None
        In what the products differ.
    """

    batches: Extent
    m: Extent
    n: Extent
    k: Extent
    a: Operand
    b: Operand
    output_index: str
    output_along_m: bool
    dtype: DType
    precision: str
    uneven: Uneven | None = None

    @cached_property
    def count(self) -> Extent | None:
        """Number of results; None where that would be the batch size squared."""
        if self.uneven is not None:
            return self.uneven.results
        try:
            return product((self.batches, self.m, self.n))
        except ShapeError:
            return None

    @property
    def mma(self) -> int:
        """How tensor cores multiply, the macro MMA."""
        if self.dtype in SIXTEEN_BITS:
            return 2 if self.dtype is dtypes.bfloat16 else 3
        return int(self.dtype is dtypes.float32 and self.precision == "tf32")

    def work(self, max_batch: int) -> Work:
        """Return the sizes at the largest batch."""
        batches, m, n, k = (bind_extent(extent, max_batch) for extent in (self.batches, self.m, self.n, self.k))
        itemsize = 8 if self.dtype.itemsize == 8 else 4
        empty = 0 if self.uneven is None else self.uneven.empty
        may_split = self.count is not None and empty == 0  # splits would keep sums of empty products, too
        return Work(batches - empty, m, n, k, itemsize, 2 if self.mma >= 2 else 1, self.mma > 0, may_split)

    def instances(self, max_batch: int) -> list[Instance]:
        """Return the kernels: one, or two where blocks share the terms of a result."""
        form = min((self, self.turned()), key=lambda form: form.cycles(max_batch))
        tile, splits, _ = form.work(max_batch).choose()
        return form.tiled(tile, splits, max_batch)

    def cycles(self, max_batch: int) -> float:
        """Estimate the time in clock cycles."""
        return self.work(max_batch).choose()[2]

    def turned(self) -> Product:
        """Return the same with rows and columns in each other's place."""
        return replace(
            self,
            m=self.n,
            n=self.m,
            a=self.b,
            b=self.a,
            output_index=_turned(self.output_index),
            output_along_m=not self.output_along_m,
            uneven=self.uneven and replace(self.uneven, exists=_turned(self.uneven.exists)),
        )

    def tiled(self, tile: Tile, splits: int, max_batch: int) -> list[Instance]:
        """Return the kernels for a given tile and number of splits."""
        work = self.work(max_batch)
        threads = tile.threads(work.tensor_cores)
        rows, columns = Blocks(self.m, tile.m), Blocks(self.n, tile.n)
        rows_along_y = columns.count(max_batch) > rows.count(max_batch)
        turns = self.batches * splits
        each = max(1, -(-bind_extent(turns, max_batch) // LARGEST_GRID))
        across = (columns, rows) if rows_along_y else (rows, columns)
        workspace = splits * self._results(max_batch) * work.itemsize if splits > 1 else 0
        inner = "WARP" if work.tensor_cores else "THREAD"
        sizes = {
            "GEMM_BATCHES": extent_text(self.batches),
            "GEMM_M": extent_text(self.m),
            "GEMM_N": extent_text(self.n),
            "GEMM_K": extent_text(self.k) if self.uneven is None else self.uneven.terms,
            "EACH_Z": str(each),
            "ROWS_ALONG_Y": str(int(rows_along_y)),
            "TILE_M": str(tile.m),
            "TILE_N": str(tile.n),
            "TILE_K": str(tile.words * work.word_terms),
            f"{inner}_M": str(tile.inner_m),
            f"{inner}_N": str(tile.inner_n),
            "SLICES": str(tile.slices),
            "SPLITS": str(splits),
            "THREADS": str(threads),
            "MMA": str(self.mma),
        }
        macros = {} if self.uneven is None else self.uneven.macros
        defines = {**macros, **sizes, **self._reading("A", self.a), **self._reading("B", self.b), **self._writing()}
        gemm = Instance("gemm.cu", defines, (*across, Blocks(turns, each)), threads, workspace)
        if splits == 1:
            return [gemm]
        assert self.count is not None
        return [gemm, split_sum(self.count, splits, self.dtype, workspace)]

    def _results(self, max_batch: int) -> int:
        assert self.count is not None
        return bind_extent(self.count, max_batch)

    def _reading(self, letter: str, operand: Operand) -> dict[str, str]:
        place = f"{operand.source}[line.offset + term.offset]"
        value = place if self.mma >= 2 else f"(SUM)({loaded(place, self.dtype)})"
        return {
            f"{letter}_LINE(z, i)": operand.line,
            f"{letter}_TERM(z, k)": operand.term,
            f"{letter}_VALUE(line, term)": f"({operand.inside} ? {value} : 0)" if operand.inside else value,
            f"{letter}_ALONG_K": str(int(operand.along_k)),
        }

    def _writing(self) -> dict[str, str]:
        exists = "" if self.uneven is None else self.uneven.exists
        return {
            "OUTPUT_INDEX(z, m, j)": self.output_index.format(m="m", j="j"),
            **({"OUTPUT_EXISTS(z, m, j)": exists.format(m="m", j="j")} if exists else {}),
            "OUTPUT_COUNT": "0" if self.count is None else extent_text(self.count),
            "OUTPUT_ALONG_M": str(int(self.output_along_m)),
            **result_types(self.dtype),
        }


def split_sum(count: Extent, splits: int, dtype: DType, workspace: int) -> Instance:
    """Return the kernel that adds what `splits` parts of the terms gave for each of `count` results."""
    threads = 256
    slices = max(share for share in (1, 2, 4, 8, 16, 32) if share == 1 or share * 4 <= splits)
    defines = {
        "THREADS": str(threads),
        "OUTPUT_COUNT": extent_text(count),
        "SPLITS": str(splits),
        "SLICES": str(slices),
        **result_types(dtype),
    }
    grid = (Blocks(count, threads // slices), Blocks(1), Blocks(1))
    return Instance("split_sum.cu", defines, grid, threads, workspace)


def _turned(expression: str) -> str:
    """Return an expression of rows and columns with these in each other's place."""
    return expression.format(m="{j}", j="{m}")


def result_types(dtype: DType) -> dict[str, str]:
    """Return the macros for the type of sums and of results; integers are summed modulo their range, without a sign."""
    if dtype.is_floating:
        kind = value_type(dtype)
        return {"SUM": kind, "RESULT": kind}
    return {"SUM": "uint64_t" if dtype is dtypes.int64 else "uint32_t", "RESULT": value_type(dtype)}
