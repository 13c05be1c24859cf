"""Einstein sums: products of values summed over axes that are named by letters.

A sum of several operands is one of pairs, from left to right. A pair is a matrix product where axes are summed over,
an elementwise product where none is.
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from graphnn.ops import dtypes
from graphnn.ops.broadcasting import Value, broadcast_shapes, promoted
from graphnn.ops.diagonal import diagonal
from graphnn.ops.errors import DTypeError, GraphError, ShapeError
from graphnn.ops.matmul import matmul
from graphnn.ops.node import Node
from graphnn.ops.shape import located, reshape, transpose
from graphnn.ops.spec import Dim, Extent, product

Labels = tuple[str, ...]
"""Names of axes: letters, and for what an ellipsis stands for ``...1``, ``...2``, counted from its last axis."""


@dataclass(frozen=True)
class Term:
    """A value whose axes have names."""

    node: Node
    labels: Labels

    def size(self, label: str) -> Extent:
        """Return the size of a named axis."""
        return self.node.shape[self.labels.index(label)]

    def sizes(self, labels: Iterable[str]) -> tuple[Extent, ...]:
        """Return the sizes of named axes."""
        return tuple(map(self.size, labels))

    def arranged(self, labels: Sequence[str]) -> Node:
        """Return the value with all its axes in this order."""
        return transpose(self.node, map(self.labels.index, labels))

    def summed(self, kept: Collection[str]) -> Term:
        """Return the sum over all axes but these, in the value's own element type."""
        dropped = [axis for axis, label in enumerate(self.labels) if label not in kept]
        if not dropped:
            return self
        rest = tuple(label for label in self.labels if label in kept)
        return Term(self.node.sum(dropped).astype(self.node.dtype), rest)

    def without_repeats(self) -> Term:
        """Return the diagonal of axes that share a name."""
        for label, count in Counter(self.labels).items():
            if count > 1:
                first = self.labels.index(label)
                second = self.labels.index(label, first + 1)
                others = tuple(name for axis, name in enumerate(self.labels) if axis not in (first, second))
                return Term(diagonal(self.node, 0, first, second), (*others, label)).without_repeats()
        return self


def einsum(equation: str, *operands: Value) -> Node:
    """Multiply values and sum over axes, named by letters (ONNX Einsum).

    ``einsum("bik,bkj->bij", a, b)`` is ``y[b, i, j] = Σ over k of a[b, i, k] · b[b, k, j]``.

    Parameters
    ----------
    equation : str
        A letter for each axis of each operand, operands separated by commas, then ``->`` and the letters of the
        result; what is missing there is summed over. Without ``->`` the result has the letters that occur once, in
        alphabetical order. A letter twice in one operand takes the diagonal. ``...`` stands for further axes, which
        broadcast; they come first where there is no ``->``.
    *operands : Node or array
        At least one node. Element types are promoted. They are combined in pairs from left to right, so that their
        order decides how much arithmetic it takes.

    Raises
    ------
    GraphError
        If the equation can't be read or does not have a part for each operand.
    ShapeError
        If an operand has another number of axes than letters, or axes of one letter differ in size.
    DTypeError
        If the operands are bool.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     queries, keys = (gn.placeholder(name, (None, 10, 4, 16)) for name in ("queries", "keys"))
    ...     gn.ops.einsum("bqhd,bkhd->bhqk", queries, keys).shape
    (N, 4, 10, 10)
    """
    nodes = promoted("einsum", *operands)
    with located("einsum", *nodes):
        if nodes[0].dtype is dtypes.bool:
            raise DTypeError(
                "bool values can't be summed",
                expected="an integer or floating type",
                hint="convert them with .astype('int32')",
            )
        labels, output = _parse(equation, [node.rank for node in nodes])
        terms = [Term(*pair) for pair in zip(nodes, labels, strict=True)]
        _require_equal_sizes(terms)
        first, *others = (term.without_repeats() for term in terms)
        for position, term in enumerate(others, start=1):
            later = {label for other in others[position:] for label in other.labels}
            first = _contracted(first, term, later.union(output))
        return first.summed(output).arranged(output)


# What the equation says.


def _parse(equation: str, ranks: Sequence[int]) -> tuple[list[Labels], Labels]:
    """Return the labels of each operand and of the result."""
    if not isinstance(equation, str):
        raise _equation_error(f"the equation is {equation!r}", 'a text such as "ij,jk->ik", then the operands')
    left, arrow, right = equation.replace(" ", "").partition("->")
    parts = left.split(",")
    if len(parts) != len(ranks):
        raise _equation_error(
            f"{equation!r} is about {len(parts)} operands, {len(ranks)} are given", "a part for each operand"
        )
    inputs = [_labels(part, rank) for part, rank in zip(parts, ranks, strict=True)]
    named = Counter(label for labels in inputs for label in labels)
    hidden = sorted((label for label in named if len(label) > 1), key=lambda label: -int(label[3:]))
    if not arrow:
        return inputs, (*hidden, *sorted(label for label in named if len(label) == 1 and named[label] == 1))
    output = _labels(right, len(right.replace("...", "")) + len(hidden) * ("..." in right))
    unknown = [label for label in output if label not in named or output.count(label) > 1]
    if unknown:
        raise _equation_error(
            f"{unknown[0]!r} in the result of {equation!r}", "letters of the operands, each at most once"
        )
    if hidden and "..." not in right:
        raise _equation_error(f"the result of {equation!r} lacks the axes of the ellipsis", "'...' in the result")
    return inputs, output


def _labels(part: str, rank: int) -> Labels:
    """Return the name of each axis of an operand."""
    head, dots, tail = part.partition("...")
    if not all(letter in string.ascii_letters for letter in head + tail):
        raise _equation_error(f"{part!r} can't be read", "letters, and at most one '...' for each operand")
    hidden = rank - len(head + tail)
    if hidden < 0 or (hidden and not dots):
        raise ShapeError(
            f"{part!r} names {len(head + tail)} axes, the operand has {rank}",
            expected="a letter for each axis",
            hint="'...' stands for any number of axes",
        )
    return (*head, *(f"...{number}" for number in range(hidden, 0, -1)), *tail)


def _equation_error(message: str, expected: str) -> GraphError:
    return GraphError(message, expected=expected, hint="such as ops.einsum('bij,bjk->bik', a, b)")


def _require_equal_sizes(terms: Sequence[Term]) -> None:
    sizes: dict[str, Extent] = {}
    for term in terms:
        for label, size in zip(term.labels, term.node.shape, strict=True):
            known = sizes.setdefault(label, size)
            if len(label) > 1:
                (sizes[label],) = broadcast_shapes((known,), (size,))
            elif known != size:
                raise ShapeError(
                    f"axes {label!r} have the sizes {known} and {size}",
                    expected="one size for each letter",
                    hint="only the axes of an ellipsis broadcast; another letter keeps axes apart",
                )


# Products of two.


def _contracted(a: Term, b: Term, kept: Collection[str]) -> Term:
    """Return the product of two terms, summed over all axes that nobody needs any more."""
    a, b = a.summed({*kept, *b.labels}), b.summed({*kept, *a.labels})
    summed = [label for label in a.labels if label not in kept]  # all of them are in b, too
    rows = [label for label in a.labels if label not in b.labels]
    columns = [label for label in b.labels if label not in a.labels]
    groups = (a.sizes(summed), a.sizes(rows), b.sizes(columns))
    if not summed or any(sum(isinstance(size, Dim) for size in sizes) > 1 for sizes in groups):
        return _multiplied(a, b).summed(kept)  # N · N can't be one axis of a matrix
    common = [label for label in a.labels if label in b.labels and label in kept]
    y = matmul(_matrices(a, common, rows, summed), _matrices(b, common, summed, columns))
    shape = (*y.shape[:-2], *a.sizes(rows), *b.sizes(columns))
    return Term(reshape(y, shape), (*common, *rows, *columns))


def _matrices(term: Term, common: Sequence[str], rows: Sequence[str], columns: Sequence[str]) -> Node:
    arranged = term.arranged([*common, *rows, *columns])
    return reshape(arranged, (*term.sizes(common), product(term.sizes(rows)), product(term.sizes(columns))))


def _multiplied(a: Term, b: Term) -> Term:
    """Return the product element by element, with the axes of both."""
    labels = (*a.labels, *(label for label in b.labels if label not in a.labels))
    return Term(_spread(a, labels) * _spread(b, labels), labels)


def _spread(term: Term, labels: Labels) -> Node:
    """Return a value with an axis for each of the labels, of size 1 where it has none."""
    own = [label for label in labels if label in term.labels]
    return reshape(term.arranged(own), [term.size(label) if label in own else 1 for label in labels])
