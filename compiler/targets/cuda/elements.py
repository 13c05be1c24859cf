"""How element types and sizes are written in CUDA text."""

from __future__ import annotations

from graphnn.compiler.targets.c.expressions import C_TYPES
from graphnn.ops import dtypes
from graphnn.ops.dtypes import DType
from graphnn.ops.spec import Dim, Extent

SIXTEEN_BITS: dict[DType, str] = {dtypes.float16: "f16", dtypes.bfloat16: "bf16"}
"""The floats that are kept as bit patterns and computed with as float32."""


def stored_type(dtype: DType) -> str:
    """Return the type of an element in memory."""
    return "uint16_t" if dtype in SIXTEEN_BITS else C_TYPES[dtype]


def value_type(dtype: DType) -> str:
    """Return the type in which an element is computed with."""
    if dtype in SIXTEEN_BITS:
        return "float"
    return "bool" if dtype is dtypes.bool else C_TYPES[dtype]


def computed_dtype(dtype: DType) -> DType:
    """Return the element type whose arithmetic is used."""
    return dtypes.float32 if dtype in SIXTEEN_BITS else dtype


def loaded(place: str, dtype: DType) -> str:
    """Return the expression of the value that lies at a place in memory."""
    return f"gn_load_{SIXTEEN_BITS[dtype]}({place})" if dtype in SIXTEEN_BITS else place


def as_stored(value: str, dtype: DType) -> str:
    """Return the expression of what is put into memory for a value."""
    return f"gn_store_{SIXTEEN_BITS[dtype]}({value})" if dtype in SIXTEEN_BITS else value


def rounded(value: str, dtype: DType) -> str:
    """Return the expression of a value as precise as its type can hold: a fused op rounds as one on its own does."""
    return loaded(as_stored(value, dtype), dtype) if dtype in SIXTEEN_BITS else value


def extent_text(extent: Extent) -> str:
    """Return a size, which may depend on the batch size ``n``, as an expression of type INDEX.

    Examples
    --------
    >>> extent_text(Dim(784)), extent_text(Dim(1)), extent_text(10)
    ('((INDEX)n * 784)', '(INDEX)n', '10')
    """
    if isinstance(extent, Dim):
        return "(INDEX)n" if extent.multiple == 1 else f"((INDEX)n * {extent.multiple})"
    return str(extent)
