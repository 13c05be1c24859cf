"""The error of this folder."""

from graphnn.ops.errors import GraphError


class DataError(GraphError):
    """A data file that cannot be read, or arrays that cannot be cut into batches."""
