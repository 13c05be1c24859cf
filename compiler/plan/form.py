"""The plan: kernel calls over views of storages whose place and size are known before the first run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from graphnn.compiler.plan.report import describe
from graphnn.compiler.subgraph import Subgraph
from graphnn.ops.node import Node
from graphnn.ops.spec import Extent, Shape, TensorSpec, bind_extent, product

StorageKind = Literal["arena", "variable", "feed", "constant", "private", "cache"]
Layout = Literal["row-major", "batch-lanes", "output-lanes", "channel-lanes", "packed-weights"]


@dataclass(frozen=True)
class Storage:
    """A piece of memory.

    Attributes
    ----------
    index : int
        Its number in the plan.
    kind : str
        ``arena`` (a part of the plan's one allocation), ``variable`` (the graph's store), ``feed`` (the user's data),
        ``constant``, ``private`` (one per block or thread of a region) or ``cache`` (a packed copy of a variable).
    nbytes : int
        Size at the largest batch.
    node : Node
        The first node whose value it holds.
    is_workspace : bool
        Whether it holds a kernel's intermediate results rather than a node's value.
    offset : int
        Bytes from the start of the arena.
    first, last : int
        The first and the last step that use it; for the arena alone.
    """

    index: int
    kind: StorageKind
    nbytes: int
    node: Node
    is_workspace: bool = False
    offset: int = 0
    first: int = 0
    last: int = 0

    def placed(self, offset: int) -> Storage:
        """Return the same with its place in the arena."""
        return replace(self, offset=offset)


@dataclass(frozen=True)
class View:
    """A value's elements inside a storage.

    Attributes
    ----------
    storage : int
        Number of the storage.
    spec : TensorSpec
        Shape and element type, with the batch dimension.
    offset : int or Dim
        Elements from the start of the storage.
    strides : tuple of (int or Dim), or None
        Elements from one index to the next on each axis. None: row-major without gaps.
    layout : str
        How elements follow one another; other layouts than row-major are for compiled targets.
    """

    storage: int
    spec: TensorSpec
    offset: Extent = 0
    strides: tuple[Extent, ...] | None = None
    layout: Layout = "row-major"

    def bound_strides(self, batch: int) -> tuple[int, ...]:
        """Return the strides in elements in a run over `batch` examples."""
        if self.strides is not None:
            return tuple(bind_extent(stride, batch) for stride in self.strides)
        shape = self.spec.bind(batch).static_shape
        return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))

    def bound_offset(self, batch: int) -> int:
        """Return the offset in elements in a run over `batch` examples."""
        return bind_extent(self.offset, batch)

    def byte_range(self, batch: int) -> tuple[int, int]:
        """Return the bytes of the storage that the view's elements span, first and one past the last."""
        shape = self.spec.bind(batch).static_shape
        start = self.bound_offset(batch)
        if 0 in shape:
            return start * self.spec.dtype.itemsize, start * self.spec.dtype.itemsize
        reaches = [(size - 1) * stride for size, stride in zip(shape, self.bound_strides(batch), strict=True)]
        low = start + sum(reach for reach in reaches if reach < 0)
        high = start + sum(reach for reach in reaches if reach > 0) + 1
        return low * self.spec.dtype.itemsize, high * self.spec.dtype.itemsize


def row_major_strides(shape: Shape) -> tuple[Extent, ...]:
    """Return the strides of a shape without gaps; a ShapeError where one would depend on the batch squared."""
    return tuple(product(shape[axis + 1 :]) for axis in range(len(shape)))


@dataclass(frozen=True)
class InnerStep:
    """A step inside a kernel call that is a whole program: what a native segment does, one line each.

    Attributes
    ----------
    kernel : str
        What it computes, in the names of ops; ``pack`` or ``unpack`` where it moves a value into the layout that
        compiled code keeps it in, or out of it.
    nodes : tuple of Node
        The nodes that it computes; none where it moves a value.
    reads, writes : tuple of Node
        The values that it reads and those that it leaves behind.
    place : str
        When it runs, and where its result lies.
    """

    kernel: str
    nodes: tuple[Node, ...]
    reads: tuple[Node, ...]
    writes: tuple[Node, ...]
    place: str

    @property
    def node(self) -> Node:
        """The node that it stands for."""
        return self.writes[-1]


@dataclass(frozen=True)
class KernelCall:
    """One step: a kernel reads views and writes views.

    Attributes
    ----------
    kernel : str
        The kernel's name.
    nodes : tuple of Node
        What it computes; the last one's op and attributes choose the code.
    reads : tuple of View
        One per input of the last node.
    writes : tuple of View
        Its results.
    workspaces : tuple of int
        Storages for intermediate results.
    group : int
        Number of the schedule's group that it belongs to.
    inner : tuple of InnerStep
        What a native segment does.
    """

    kernel: str
    nodes: tuple[Node, ...]
    reads: tuple[View, ...]
    writes: tuple[View, ...]
    workspaces: tuple[int, ...] = ()
    group: int = 0
    inner: tuple[InnerStep, ...] = ()

    @property
    def node(self) -> Node:
        """The node whose value the call writes."""
        return self.nodes[-1]


@dataclass(frozen=True)
class Plan:
    """Everything a target needs to run: the steps, the memory, where inputs go and results are.

    Attributes
    ----------
    steps : tuple of KernelCall
        In order.
    storages : tuple of Storage
        All memory.
    views : dict of Node to View
        Where each node's value is while it is alive.
    subgraph : Subgraph
        What the plan computes.
    feeds : dict of Node to View
        Placeholders.
    fetches : tuple of View
        Results in the user's order.
    target : str
        Name of the target that the plan is for.
    max_batch : int
        The largest batch; sizes are meant for it.
    arena_bytes : int
        Size of the plan's one allocation.
    lower_bound_bytes : int
        The largest sum of bytes alive at one step: no plan of these steps can do with less.
    flops : int
        Arithmetic operations of a run at the largest batch.
    """

    steps: tuple[KernelCall, ...]
    storages: tuple[Storage, ...]
    views: dict[Node, View]
    subgraph: Subgraph
    feeds: dict[Node, View]
    fetches: tuple[View, ...]
    target: str
    max_batch: int
    arena_bytes: int
    lower_bound_bytes: int
    flops: int

    @property
    def written_variables(self) -> tuple[str, ...]:
        """Names of the variables that a run changes."""
        return tuple(update.inputs[0].name for update in self.subgraph.updates)

    def __str__(self) -> str:
        return describe(self)


def arena_storages(storages: Sequence[Storage]) -> list[Storage]:
    """Return the storages that share the arena."""
    return [storage for storage in storages if storage.kind == "arena"]
