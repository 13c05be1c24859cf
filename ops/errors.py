"""Every error that graphnn raises on purpose, in one form.

A message names the op and the node, what was expected, what came, the user's own file and line, and one thing to
do. Code that knows only part of that (a shape rule, say) raises with what it knows; whoever creates the node adds
the rest through `GraphError.locate`.
"""

from __future__ import annotations

from typing import Self


class GraphError(Exception):
    """Base of all errors of graphnn: a mistake in a graph or in its use.

    Parameters
    ----------
    message : str
        What is wrong, in one line.
    expected, actual : str
        What was wanted and what came instead.
    where : str
        The user's file and line.
    hint : str
        One thing to do about it.

    Examples
    --------
    >>> print(GraphError("the graph has no node 'x'", hint="graph.nodes lists the names"))
    the graph has no node 'x'
      try:      graph.nodes lists the names
    """

    def __init__(self, message: str, *, expected: str = "", actual: str = "", where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.expected = expected
        self.actual = actual
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        rows = (("expected:", self.expected), ("actual:", self.actual), ("at:", self.where), ("try:", self.hint))
        return self.message + "".join(f"\n  {label:<9} {text}" for label, text in rows if text)

    def locate(self, *, subject: str, actual: str, where: str) -> Self:
        """Add the op and node name, the inputs and the user's line, where they are not yet known; return the error."""
        if subject and not self.message.startswith(subject):
            self.message = f"{subject}: {self.message}"
        self.actual = self.actual or actual
        self.where = self.where or where
        return self


class ShapeError(GraphError):
    """Shapes that do not fit an op."""


class DTypeError(GraphError):
    """Element types that do not fit an op or a variable."""


class FeedError(GraphError):
    """A value given to `Executor.run` that does not fit its placeholder."""


class CompileError(GraphError):
    """The compiler could not turn the graph into a plan."""


class NumericsError(GraphError):
    """A NaN or an infinity, found because ``check_numerics=True`` asked for the search."""


class CheckpointError(GraphError):
    """A file of saved weights that cannot be read or does not fit the graph."""
