"""What Python says about a kernel of a `.cu` file: its macros, its launch geometry and its workspace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graphnn.ops.spec import Extent, bind_extent


@dataclass(frozen=True)
class Blocks:
    """As many blocks as it takes to cover `extent` by pieces of `each`; an empty extent takes none.

    Examples
    --------
    >>> from graphnn.ops.spec import Dim
    >>> Blocks(Dim(784), 128).count(10), Blocks(6, 8).count(10)
    (62, 1)
    """

    extent: Extent
    each: int = 1

    def count(self, batch: int) -> int:
        """Return the number of blocks in a run over `batch` examples."""
        return -(-bind_extent(self.extent, batch) // self.each)


@dataclass(frozen=True)
class Instance:
    """One specialisation of a `.cu` file, launched once.

    Attributes
    ----------
    file : str
        Name of the file in `kernels/`.
    defines : mapping of str to str
        The macros that the file asks for, besides NAME, PARAMETERS, ARGUMENTS, INDEX and STORE.
    grid : three Blocks
        Blocks along x, y and z.
    threads : int
        Threads of a block.
    workspace : int
        Bytes of the parameter `w0` at the largest batch; 0: there is none.
    """

    file: str
    defines: Mapping[str, str]
    grid: tuple[Blocks, Blocks, Blocks]
    threads: int
    workspace: int = 0
