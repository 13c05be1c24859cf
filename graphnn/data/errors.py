"""The error of this folder."""

from graphnn.ops.errors import GraphError


class DataError(GraphError):
    """Data that cannot be fetched or read, or arrays that cannot be made into batches."""
