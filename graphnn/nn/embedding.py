"""Embedding layers."""

from __future__ import annotations

from operator import index

import numpy as np

from graphnn.nn import init
from graphnn.nn.arguments import at_least_one
from graphnn.nn.init import Initializer
from graphnn.nn.layer import Layer
from graphnn.ops.comparison import equal, where
from graphnn.ops.errors import GraphError
from graphnn.ops.index import take
from graphnn.ops.node import Node
from graphnn.ops.shape import expand_dims
from graphnn.ops.source import caller
from graphnn.ops.state import stop_gradient


class Embedding(Layer):
    """Replace each index by a row of a trained table: ``y[..., d] = weight[x[...], d]``.

    Parameters
    ----------
    num_embeddings : int
        Rows of the table: legal indices are 0 … num_embeddings - 1; negative ones count from the end.
    embedding_dim : int
        Size of a row.
    padding_idx : int, optional
        A row that begins as zeros and gets no gradient. Negative ones count from the end.
    weight_init : callable, optional
        Initial values, see `graphnn.nn.init`. By default PyTorch's: normal with standard deviation 1.
    name : str, optional
        Scope to use instead of the attribute's name or the key.

    Variables
    ---------
    weight : (num_embeddings, embedding_dim)

    Raises
    ------
    GraphError
        For sizes that are not positive, or a padding_idx outside of the table.
    DTypeError
        At the call, if the input is not of an integer type.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph(seed=0) as graph:
    ...     y = gn.nn.Embedding(1000, 64)(gn.placeholder("words", (None, 20), "int32"))
    >>> y.shape, graph["embedding.weight"].shape
    ((N, 20, 64), (1000, 64))
    """

    shown = ("num_embeddings", "embedding_dim", "padding_idx")

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        weight_init: Initializer | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.num_embeddings = rows = at_least_one("Embedding", "num_embeddings", num_embeddings)
        self.embedding_dim = at_least_one("Embedding", "embedding_dim", embedding_dim)
        if padding_idx is not None and not -rows <= index(padding_idx) < rows:
            raise GraphError(
                f"Embedding: padding_idx is {padding_idx}",
                expected=f"an index from {-rows} to {rows - 1}",
                where=str(caller()),
                hint="num_embeddings counts the padding's row, too",
            )
        self.padding_idx = None if padding_idx is None else padding_idx % rows
        self.weight_init = weight_init or init.normal()

    def forward(self, x: Node) -> Node:
        """Return the table's row for each index."""
        weight = self.variable("weight", (self.num_embeddings, self.embedding_dim), self._initial)
        y = take(weight, x)
        if self.padding_idx is None:
            return y
        row = x.astype("int64")
        row = where(row < 0, row + self.num_embeddings, row)
        return where(expand_dims(equal(row, self.padding_idx), -1), stop_gradient(y), y)

    def _initial(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        values = np.array(self.weight_init(generator, shape))
        if self.padding_idx is not None:
            values[self.padding_idx] = 0
        return values
