"""Offsets in one arena: where each buffer lies, so that buffers alive at the same time never overlap.

The arena is filled from the bottom up. The tops of what is placed so far form a skyline over time; again and again the
lowest valley of that skyline gets a buffer whose whole life lies inside the valley, or, where none fits, is lifted to
its lower neighbour, which wastes memory. Which of several buffers comes first is a priority order. "Longest life first"
is optimal for nested lives, and the activations of a training graph, which die in the mirrored order of their birth,
are nearly nested: there the arena is mostly as small as the lower bound.

Two things make it fast. Time is cut into *sections*, one for each maximal set of buffers that are alive together: two
buffers overlap in time if and only if they share a section. And sets of buffers are Python integers with one bit per
buffer, numbered by priority: the first waiting buffer that lives between two sections is two ANDs and the lowest bit.

When no order reaches the bound and the graph is small, a search follows: fill again, give up where the arena can no
longer become smaller than the best so far, move the buffers that were left standing there forward in the order, and
repeat. It counts its attempts, never the time: the same graph gives the same plan on every machine.

The skyline is the best-fit heuristic of Burke, Kendall and Whitwell (2004) for cutting strips, used for memory by
Sekiyama et al. (2018); sections and early failure are ideas of MiniMalloc (Moffitt, 2023); the search is "squeaky
wheel" optimisation (Joslin and Clements, 1999).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import accumulate, cycle
from operator import itemgetter, or_

__all__ = ["Buffer", "align", "assign_offsets", "lower_bound"]

_ORDER_WORK = 40_000  # no further order is tried when this many buffers were placed
_SEARCHED_BUFFERS = 1_000  # larger graphs are not searched
_SEARCH_WORK = 60_000  # buffers placed by all attempts of a search together
_ATTEMPTS = 400  # most attempts, however small the graph
_STARTS = 4  # orders that the search improves side by side
_LOOKAHEAD = 6  # candidates looked at for one valley
_PUSH = 0.05  # how far a blamed buffer moves forward, as a part of the whole order
_MASK_BITS = 1 << 28  # bits of one table of masks; 32 MiB
_OPEN = 1 << 200  # height of the walls at both ends of time: no buffer reaches it


@dataclass(frozen=True, slots=True)
class Buffer:
    """One piece of memory wanted from the arena.

    Parameters
    ----------
    start : int
        First step that needs it.
    stop : int
        One past the last step that needs it.
    nbytes : int
        Its size.

    Raises
    ------
    ValueError
        If it has no bytes, or stops before it starts.

    Examples
    --------
    >>> Buffer(start=0, stop=2, nbytes=400)
    Buffer(start=0, stop=2, nbytes=400)
    """

    start: int
    stop: int
    nbytes: int

    def __post_init__(self) -> None:
        if self.nbytes <= 0:
            raise ValueError(f"a buffer needs at least 1 byte, got nbytes={self.nbytes}: leave empty values out")
        if self.stop <= self.start:
            raise ValueError(
                f"a buffer must stop after it starts, got start={self.start}, stop={self.stop}: "
                "stop is one past the last step that needs it"
            )


def align(nbytes: int, alignment: int = 64) -> int:
    """Round a size up to a multiple of the alignment.

    Parameters
    ----------
    nbytes : int
        The size.
    alignment : int, optional
        What the result is a multiple of.

    Returns
    -------
    int
        The rounded size.

    Raises
    ------
    ValueError
        If the alignment is below 1.

    Examples
    --------
    >>> align(400), align(448), align(0)
    (448, 448, 0)
    """
    if alignment < 1:
        raise ValueError(f"an alignment is at least 1, got {alignment}")
    return -(-nbytes // alignment) * alignment


def lower_bound(buffers: Sequence[Buffer]) -> int:
    """Return the largest sum of live bytes at any step, which no arena can undercut.

    Sizes count as given; align them first to compare with :func:`assign_offsets`.

    Parameters
    ----------
    buffers : Sequence[Buffer]
        The buffers.

    Returns
    -------
    int
        The bytes; 0 without buffers.

    Examples
    --------
    >>> lower_bound([Buffer(0, 2, 100), Buffer(1, 3, 50), Buffer(2, 4, 30)])
    150
    """
    change: dict[int, int] = {}
    for buffer in buffers:
        change[buffer.start] = change.get(buffer.start, 0) + buffer.nbytes
        change[buffer.stop] = change.get(buffer.stop, 0) - buffer.nbytes
    return max(accumulate(change[step] for step in sorted(change)), default=0)


def assign_offsets(buffers: Sequence[Buffer], alignment: int = 64) -> tuple[list[int], int]:
    """Place buffers in one arena so that no two that are alive at the same step overlap.

    Parameters
    ----------
    buffers : Sequence[Buffer]
        The buffers.
    alignment : int, optional
        Every offset is a multiple of it, and every size is rounded up to one.

    Returns
    -------
    offsets : list[int]
        The first byte of each buffer, in the order of `buffers`.
    arena_bytes : int
        The size of the arena, a multiple of `alignment`: mostly the lower bound of the aligned sizes, never less.

    Raises
    ------
    ValueError
        If the alignment is below 1.

    Examples
    --------
    The last buffer starts when the first has died, and takes its place:

    >>> assign_offsets([Buffer(0, 2, 100), Buffer(1, 3, 50), Buffer(2, 4, 30)])
    ([64, 0, 64], 192)
    """
    units = [align(buffer.nbytes, alignment) // alignment for buffer in buffers]
    problem = _sections(buffers, units)
    tops = _best_tops(problem)
    offsets = [(top - size) * alignment for top, size in zip(tops, units, strict=True)]
    return offsets, max(tops, default=0) * alignment


@dataclass(frozen=True, slots=True)
class _Problem:
    """The buffers over sections of time: buffer i lives from section first[i] up to, but not in, section last[i]."""

    first: list[int]
    last: list[int]
    sizes: list[int]  # in units of the alignment
    live: list[int]  # per section, the sum of the live sizes
    bound: int  # the largest of them


def _sections(buffers: Sequence[Buffer], sizes: list[int]) -> _Problem:
    """Cut time into maximal sets of live buffers: a section ends with the first stop after a start."""
    events = [(buffer.start, 1, i) for i, buffer in enumerate(buffers)]
    events += [(buffer.stop, 0, i) for i, buffer in enumerate(buffers)]
    first, last = [0] * len(buffers), [0] * len(buffers)
    live: list[int] = []
    now, grown = 0, False
    for _, starts, i in sorted(events):
        if starts:
            first[i] = len(live)
            now, grown = now + sizes[i], True
        else:
            if grown:
                live.append(now)
            last[i] = len(live)
            now, grown = now - sizes[i], False
    return _Problem(first, last, sizes, live, max(live, default=0))


def _orders(problem: _Problem) -> Iterator[list[int]]:
    """Priority orders, the most promising first."""
    first, last, sizes, live = problem.first, problem.last, problem.sizes, problem.live
    lives = [stop - start for start, stop in zip(first, last, strict=True)]
    everyone = range(len(sizes))
    yield sorted(everyone, key=lambda i: (-lives[i], -sizes[i]))
    yield sorted(everyone, key=lambda i: (-last[i], first[i], -sizes[i]))
    yield sorted(everyone, key=lambda i: (first[i], -last[i], -sizes[i]))
    crowds = [max(live[start:stop]) for start, stop in zip(first, last, strict=True)]
    areas = [size * life for size, life in zip(sizes, lives, strict=True)]
    yield sorted(everyone, key=lambda i: (-crowds[i], -lives[i]))
    yield sorted(everyone, key=lambda i: -areas[i])
    yield sorted(everyone, key=lambda i: (-crowds[i], -areas[i]))
    yield sorted(everyone, key=lambda i: (-sizes[i], -lives[i]))
    yield sorted(everyone, key=lambda i: (-crowds[i], -sizes[i]))


def _best_tops(problem: _Problem) -> list[int]:
    """Return where each buffer ends: by the best of the plain orders, or by a search where that may pay."""
    tried: list[tuple[int, list[int], list[int]]] = []
    for order in _orders(problem):
        tops = _fill(problem, order)
        tried.append((max(tops, default=0), order, tops))
        if tried[-1][0] == problem.bound or len(tried) * len(order) >= _ORDER_WORK:
            break
    tried.sort(key=itemgetter(0))
    arena, _, best = tried[0]
    if arena == problem.bound or len(best) > _SEARCHED_BUFFERS:
        return best
    return _search(problem, [order for _, order, _ in tried[:_STARTS]], best)


class _Filling:
    """An arena being filled from the bottom up.

    A piece of the skyline from section a to section b has the height `height[a]` and the end `end[a]`; `begin[b]` is a.
    Where no piece begins, the height is -1. `lows` is a heap of pieces, some of them outdated. In very large graphs,
    only every `stride`-th section has a row of masks.
    """

    def __init__(self, problem: _Problem, order: list[int]) -> None:
        self.problem = problem
        self.order = order
        self.waiting = (1 << len(order)) - 1  # bit k: order[k] is not placed yet
        self.tops = [0] * len(order)
        sections = len(problem.live)
        self.stride = 1 + len(order) * sections // _MASK_BITS
        starting = [0] * (-(-sections // self.stride) + 1)
        stopping = starting.copy()
        for k, i in enumerate(order):
            bit = 1 << k
            starting[problem.first[i] // self.stride] |= bit
            stopping[-(-problem.last[i] // self.stride)] |= bit
        # Row r: who starts at section r * stride or later, and who stops by it.
        self.starting: list[int] = list(accumulate(reversed(starting), or_))[::-1]
        self.stopping: list[int] = list(accumulate(stopping, or_))
        self.height = [0] + [-1] * (sections - 1) + [_OPEN, _OPEN]  # walls at [sections] and at [-1]
        self.end = [sections] * (sections + 1)
        self.begin = [-1] + [0] * sections
        self.lows = [(0, 0)]

    def valley(self) -> tuple[int, int]:
        """Return the lowest piece of the skyline, leftmost first."""
        while True:
            low, a = heappop(self.lows)
            if self.height[a] == low:
                return a, self.end[a]

    def fitting(self, a: int, b: int) -> int:
        """Return the waiting buffers that live between sections a and b, as bits. A stride may hide some of them."""
        row = b // self.stride if b < len(self.problem.live) else -1
        return self.starting[-(-a // self.stride)] & self.stopping[row] & self.waiting

    def place(self, bit: int, a: int, b: int) -> int:
        """Place a fitting buffer on the floor of the valley from a to b and return its number."""
        self.waiting ^= bit
        i = self.order[bit.bit_length() - 1]
        start, stop, floor = self.problem.first[i], self.problem.last[i], self.height[a]
        self.tops[i] = top = floor + self.problem.sizes[i]
        height = self.height
        height[a] = -1
        if a < start:
            self.piece(a, start, floor)
        elif height[self.begin[a]] == top:
            start = self.begin[a]
        if stop < b:
            self.piece(stop, b, floor)
        elif height[b] == top:
            height[b], stop = -1, self.end[b]
        self.piece(start, stop, top)
        return i

    def lift(self, a: int, b: int) -> None:
        """Raise the valley from a to b to its lower neighbour and join them."""
        height = self.height
        left, right = height[self.begin[a]], height[b]
        height[a] = -1
        if left <= right:
            a = self.begin[a]
        if right <= left:
            height[b], b = -1, self.end[b]
        self.piece(a, b, min(left, right))

    def piece(self, a: int, b: int, height: int) -> None:
        self.height[a], self.end[a], self.begin[b] = height, b, a
        heappush(self.lows, (height, a))


def _fill(problem: _Problem, order: list[int]) -> list[int]:
    """Fill the arena, placing in each valley the first of the order that fits."""
    filling = _Filling(problem, order)
    while filling.waiting:
        a, b = filling.valley()
        fitting = filling.fitting(a, b)
        if fitting:
            filling.place(fitting & -fitting, a, b)
        else:
            filling.lift(a, b)
    return filling.tops


def _fill_below(problem: _Problem, order: list[int], limit: int, tidy: bool) -> tuple[list[int], list[int]]:
    """Fill the arena up to `limit`, or return the buffers that were left standing where it can't be kept.

    `rest[t]` is the sum of the waiting sizes at section t. The height there plus `rest[t]` must stay within the limit;
    placing leaves that sum as it is, only lifting raises it. Among the buffers that fit a valley, the tidy style
    prefers one that leaves no gap beside it, the other style one that lives where most is waiting.
    """
    filling = _Filling(problem, order)
    rest = problem.live.copy()
    while filling.waiting:
        a, b = filling.valley()
        most = max(rest[a:b])
        peak = rest.index(most, a, b)
        alive = filling.waiting & ~filling.starting[peak + 1] & ~filling.stopping[peak]
        fitting = filling.fitting(a, b)
        if not tidy:
            fitting = fitting & alive or fitting
        bit = _first_harmless(filling, rest, fitting, a, b, limit, tidy)
        if bit:
            i = filling.place(bit, a, b)
            start, stop, size = problem.first[i], problem.last[i], problem.sizes[i]
            rest[start:stop] = [waiting - size for waiting in rest[start:stop]]
        elif min(filling.height[filling.begin[a]], filling.height[b]) + most <= limit:
            filling.lift(a, b)
        else:
            return [], [i for k, i in enumerate(order) if alive >> k & 1]
    return filling.tops, []


def _first_harmless(filling: _Filling, rest: list[int], fitting: int, a: int, b: int, limit: int, tidy: bool) -> int:
    """Return the first of the fitting buffers, as a bit, beside which no gap remains that would break the limit.

    A gap is a piece of the valley where buffers wait but none fits, so that it will be lifted. With `tidy`, a buffer
    without gaps goes before one with harmless gaps.
    """
    problem, height = filling.problem, filling.height
    floor, left, right = height[a], height[filling.begin[a]], height[b]
    harmless = 0
    for _ in range(_LOOKAHEAD):
        if not fitting:
            break
        bit = fitting & -fitting
        fitting ^= bit
        i = filling.order[bit.bit_length() - 1]
        start, stop, top = problem.first[i], problem.last[i], floor + problem.sizes[i]
        before = max(rest[a:start]) if a < start and not filling.fitting(a, start) else 0
        after = max(rest[stop:b]) if stop < b and not filling.fitting(stop, b) else 0
        if (before and min(left, top) + before > limit) or (after and min(right, top) + after > limit):
            continue
        if not (tidy and (before or after)):
            return bit
        harmless = harmless or bit
    return harmless


def _search(problem: _Problem, starts: list[list[int]], best: list[int]) -> list[int]:
    """Improve the orders side by side, each in both styles, until the bound is reached or the work is done.

    A success blames nobody: the same order is filled again, with a lower limit.
    """
    arena, buffers = max(best), len(best)
    chains = cycle([(order.copy(), tidy) for order in starts for tidy in (False, True)])
    jitter = 0.0
    for _ in range(min(_ATTEMPTS, _SEARCH_WORK // buffers)):
        order, tidy = next(chains)
        tops, blamed = _fill_below(problem, order, arena - 1, tidy)
        if tops:
            best, arena = tops, max(tops)
            if arena == problem.bound:
                break
        rank = {i: float(k) for k, i in enumerate(order)}
        for i in blamed:
            jitter = (jitter + 0.618034) % 1.0  # spread evenly over 0 … 1, without a random generator
            rank[i] -= _PUSH * buffers * (0.5 + jitter)
        order.sort(key=rank.__getitem__)
    return best
