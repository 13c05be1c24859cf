"""Pooling: one vectorised pass over all windows for each place within a window."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from graphnn.compiler.targets.numpy.registry import Run, kernel
from graphnn.ops import dtypes
from graphnn.ops.avg_pool import AvgPool2d, AvgPool2dGradient
from graphnn.ops.max_pool import MaxPool2d, MaxPool2dGather, MaxPool2dGradient, MaxPool2dIndices
from graphnn.ops.pool import Pool2d
from graphnn.ops.spec import TensorSpec
from graphnn.ops.window import Pair, Window, spatial


@dataclass(frozen=True)
class Place:
    """One place within the window: its number, and where all windows that have it inside the image find it.

    Attributes
    ----------
    number : int
        Row-major position within the window.
    seen : tuple of slice
        The elements of the image, for the windows in `windows`.
    windows : tuple of slice
        The windows for which the place is not in the padding.
    """

    number: int
    seen: tuple[slice, slice]
    windows: tuple[slice, slice]

    def of_image(self, x: np.ndarray) -> np.ndarray:
        """Return the image's elements at this place."""
        return x[:, :, self.seen[0], self.seen[1]]

    def of_windows(self, y: np.ndarray) -> np.ndarray:
        """Return the results of the windows concerned."""
        return y[:, :, self.windows[0], self.windows[1]]


def places(op: Pool2d, size: Pair, positions: Pair) -> list[Place]:
    """Return the places of a window that any window has inside the image, in row-major order."""
    rows, columns = op.windows
    return [
        Place(ky * columns.kernel + kx, (seen_y, seen_x), (windows_y, windows_x))
        for ky, seen_y, windows_y in _inside(rows, size[0], positions[0])
        for kx, seen_x, windows_x in _inside(columns, size[1], positions[1])
    ]


def _inside(window: Window, size: int, positions: int) -> Iterator[tuple[int, slice, slice]]:
    for offset in range(window.kernel):
        start = offset * window.dilation - window.padding[0]
        first = max(0, -(start // window.stride))
        stop = min(positions, (size - 1 - start) // window.stride + 1)
        if first < stop:
            low = start + first * window.stride
            yield offset, slice(low, start + (stop - 1) * window.stride + 1, window.stride), slice(first, stop)


@kernel(MaxPool2d)
def bind_max_pool(op: MaxPool2d, out: np.ndarray, inputs: Sequence[np.ndarray], _: Sequence[np.ndarray]) -> Run:
    """The larger of what there is and each place's element."""
    (x,) = inputs
    pairs = [(place.of_windows(out), place.of_image(x)) for place in places(op, spatial(x.shape), spatial(out.shape))]
    complete = pairs[0][0].shape == out.shape if pairs else False
    lowest = -np.inf if out.dtype.kind == "f" else np.iinfo(out.dtype).min

    def run() -> None:
        if complete:
            np.copyto(*pairs[0])
        else:
            out.fill(lowest)
        for result, element in pairs[complete:]:
            np.maximum(result, element, out=result)

    return run


def _index_workspaces(_: MaxPool2dIndices, out: TensorSpec, inputs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    values = inputs[0].with_shape(out.shape)
    return values, values, out.with_dtype(dtypes.bool), out


@kernel(MaxPool2dIndices, workspaces=_index_workspaces)
def bind_max_pool_indices(
    op: MaxPool2dIndices, out: np.ndarray, inputs: Sequence[np.ndarray], workspaces: Sequence[np.ndarray]
) -> Run:
    """Record each place whose element beats all before it. Places come in ascending order, so the largest number wins.

    The elements of a place are collected first: the arithmetic that follows then runs over memory without gaps.
    """
    (x,) = inputs
    largest, collected, wins, numbers = workspaces
    found = places(op, spatial(x.shape), spatial(out.shape))
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    views = [
        (place.number, place.of_image(x), [place.of_windows(part) for part in (out, largest, collected, wins, numbers)])
        for place in found
    ]
    first_number = np.zeros(out.shape, out.dtype)
    for place in reversed(found):
        place.of_windows(first_number)[...] = place.number

    def run() -> None:
        # A window's first place counts until another is larger: `lowest` itself may be the largest value there is.
        np.copyto(out, first_number)
        largest.fill(lowest)
        for number, seen, (position, best, element, better, numbered) in views:
            np.copyto(element, seen)
            np.greater(element, best, out=better)
            np.maximum(best, element, out=best)
            np.multiply(better, out.dtype.type(number), out=numbered)
            np.maximum(position, numbered, out=position)
        if has_nan(largest):
            np.copyto(out, op.evaluate(TensorSpec(out.shape, op.index_dtype), x))

    return run


def has_nan(x: np.ndarray) -> bool:
    """Whether an array holds NaN; a sum that infinities made NaN counts too, which costs time but is never wrong."""
    return x.dtype.kind == "f" and math.isnan(np.add.reduce(x, axis=None))


def _gradient_workspaces(_: MaxPool2dGradient, __: TensorSpec, inputs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    dy, _indices = inputs
    return dy.with_dtype(dtypes.bool), dy, dy


@kernel(MaxPool2dGradient, workspaces=_gradient_workspaces)
def bind_max_pool_gradient(
    op: MaxPool2dGradient, out: np.ndarray, inputs: Sequence[np.ndarray], workspaces: Sequence[np.ndarray]
) -> Run:
    """Put dy to where the largest value stood; where windows overlap, add.

    dy is multiplied by 0 or 1 as the integers that its bits are: exact, NaN and infinity included, and several times
    faster than a masked copy.
    """
    dy, indices = inputs
    chosen, ones, shares = workspaces
    bits = np.dtype(f"i{dy.itemsize}")
    found = places(op, op.size, spatial(dy.shape))
    overlap = any(window.stride < window.span for window in op.windows)
    views = [(p.number, p.of_image(out), p.of_windows(shares)) for p in found]
    dy_bits, one_bits, share_bits = dy.view(bits), ones.view(bits), shares.view(bits)

    def run() -> None:
        out.fill(0)
        for number, target, share in views:
            np.equal(indices, number, out=chosen)
            np.copyto(one_bits, chosen)
            np.multiply(dy_bits, one_bits, out=share_bits)
            if overlap:
                np.add(target, share, out=target)
            else:
                np.copyto(target, share)

    return run


def _gather_mask(_: MaxPool2dGather, out: TensorSpec, __: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    return (out.with_dtype(dtypes.bool),)


@kernel(MaxPool2dGather, workspaces=_gather_mask)
def bind_max_pool_gather(
    op: MaxPool2dGather, out: np.ndarray, inputs: Sequence[np.ndarray], workspaces: Sequence[np.ndarray]
) -> Run:
    """Copy each place's elements to the windows that name it."""
    x, indices = inputs
    (chosen,) = workspaces
    found = places(op, spatial(x.shape), spatial(out.shape))
    views = [(p.number, p.of_windows(out), p.of_image(x), p.of_windows(indices), p.of_windows(chosen)) for p in found]

    def run() -> None:
        out.fill(0)
        for number, result, element, index, mask in views:
            np.equal(index, number, out=mask)
            np.copyto(result, element, where=mask)

    return run


@kernel(AvgPool2d)
def bind_avg_pool(op: AvgPool2d, out: np.ndarray, inputs: Sequence[np.ndarray], _: Sequence[np.ndarray]) -> Run:
    """Add up each place's elements, then divide."""
    (x,) = inputs
    divisors = op.divisors(spatial(x.shape), spatial(out.shape)).astype(out.dtype)
    pairs = [(p.of_windows(out), p.of_image(x)) for p in places(op, spatial(x.shape), spatial(out.shape))]

    def run() -> None:
        out.fill(0)
        for result, element in pairs:
            np.add(result, element, out=result)
        np.divide(out, divisors, out=out)

    return run


def _shares(_: AvgPool2dGradient, __: TensorSpec, inputs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    return (inputs[0],)


@kernel(AvgPool2dGradient, workspaces=_shares)
def bind_avg_pool_gradient(
    op: AvgPool2dGradient, out: np.ndarray, inputs: Sequence[np.ndarray], workspaces: Sequence[np.ndarray]
) -> Run:
    """Divide, then add each window's share to each of its places."""
    (dy,) = inputs
    (shares,) = workspaces
    divisors = op.divisors(op.size, spatial(dy.shape)).astype(out.dtype)
    pairs = [(p.of_image(out), p.of_windows(shares)) for p in places(op, op.size, spatial(dy.shape))]

    def run() -> None:
        np.divide(dy, divisors, out=shares)
        out.fill(0)
        for target, share in pairs:
            np.add(target, share, out=target)

    return run
