"""Offsets in one arena: where each buffer lies, so that buffers alive at the same time never overlap.

The arena is filled from the bottom up. The tops of what is placed so far form a skyline over time; again and again the
lowest valley of that skyline gets a buffer whose whole life lies inside the valley, or, where none fits, is lifted to
its lower neighbour, which wastes memory. Which buffer comes first is a priority order. The order "longest life first"
is optimal for nested lives, and the activations of a training graph, which die in the mirrored order of their birth,
are nearly nested: there the result is nearly always the lower bound itself.

Three things make it fast:

- Time is cut into *sections*, one for each maximal set of buffers that are alive together. Two buffers overlap in time
  if and only if they share a section, and there are fewer sections than steps.
- Sets of buffers are Python integers with one bit per buffer, numbered by priority. "The first unplaced buffer that
  starts at or after section a and stops by section b" is two ANDs and the lowest set bit.
- Most graphs reach the lower bound at the first order, and the work stops there.

When no order reaches the bound and the graph is small, a search follows: fill again, give up as soon as some section
can no longer stay below the best arena so far, move the buffers that were left standing there forward in the order, and
repeat. It counts its attempts, never the time, so that the same graph gives the same plan on every machine.

The skyline is the best-fit heuristic of Burke et al. (2004) for strips, used for memory by Sekiyama et al. (2018); the
sections and the early failure are ideas of MiniMalloc (Moffitt, 2023); the search is "squeaky wheel" optimisation
(Joslin and Clements, 1999).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import accumulate, cycle
from operator import or_

__all__ = ["Buffer", "align", "assign_offsets", "lower_bound"]

_SEARCHED_BUFFERS = 2_000  # larger graphs are not searched
_SEARCH_WORK = 60_000  # buffers placed by the whole search; decides its number of attempts
_CHAINS = 8  # orders that the search improves side by side
_LOOKAHEAD = 4  # candidates looked at for one valley
_GAIN = 0.003  # part of the lower bound that an attempt must gain at least
_PUSH = 0.1  # how far a blamed buffer moves forward, as a part of the whole order
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
        If it is empty, or stops before it starts.

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
        What it has to be a multiple of.

    Returns
    -------
    int
        The smallest multiple of `alignment` that is not below `nbytes`.

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
        The size of the arena, a multiple of `alignment`. It is never below the lower bound of the aligned sizes,
        mostly equal to it, but not always the least possible.

    Raises
    ------
    ValueError
        If the alignment is below 1.

    Notes
    -----
    The time is about linear in the number of buffers. The result depends on nothing but the arguments.

    Examples
    --------
    The last buffer starts when the first has died, and takes its place:

    >>> assign_offsets([Buffer(0, 2, 100), Buffer(1, 3, 50), Buffer(2, 4, 30)])
    ([0, 128, 0], 192)
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
    live, now, grown = [], 0, False
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
    areas = [size * life for size, life in zip(sizes, lives, strict=True)]
    crowds = [max(live[start:stop]) for start, stop in zip(first, last, strict=True)]
    everyone = range(len(sizes))
    yield sorted(everyone, key=lambda i: (-lives[i], -sizes[i]))
    yield sorted(everyone, key=lambda i: (-last[i], first[i], -sizes[i]))
    yield sorted(everyone, key=lambda i: (-crowds[i], -lives[i]))
    yield sorted(everyone, key=lambda i: (first[i], -last[i], -sizes[i]))
    yield sorted(everyone, key=lambda i: -areas[i])
    yield sorted(everyone, key=lambda i: (-crowds[i], -areas[i]))
    yield sorted(everyone, key=lambda i: (-sizes[i], -lives[i]))
    yield sorted(everyone, key=lambda i: (-crowds[i], -sizes[i]))


def _best_tops(problem: _Problem) -> list[int]:
    """Return where each buffer ends: the best of the plain orders, improved by a search where that may pay."""
    best: list[int] = []
    arena = _OPEN
    tried = []
    for order in _orders(problem):
        tops = _fill(problem, order)
        tried.append((max(tops, default=0), order))
        if tried[-1][0] < arena:
            best, arena = tops, tried[-1][0]
        if arena == problem.bound:
            return best
    if len(problem.sizes) <= _SEARCHED_BUFFERS:
        return _search(problem, tried, best)
    return best


class _Filling:
    """An arena being filled from the bottom up.

    A piece of the skyline from section a to section b has the height `height[a]` and the end `end[a]`; `begin[b]` is a.
    Where no piece begins, the height is -1. `lows` is a heap of pieces, some of them outdated.
    """

    __slots__ = ("begin", "end", "height", "lows", "order", "problem", "starting", "stopping", "stride", "tops", "waiting")

    def __init__(self, problem: _Problem, order: list[int]) -> None:
        self.problem = problem
        self.order = order
        self.waiting = (1 << len(order)) - 1  # bit k: order[k] is not placed yet
        self.tops = [0] * len(order)
        sections = len(problem.live)
        self.stride = stride = 1 + len(order) * sections // _MASK_BITS
        starting, stopping = [0] * (sections // stride + 2), [0] * (sections // stride + 2)
        first, last = problem.first, problem.last
        for k, i in enumerate(order):
            bit = 1 << k
            starting[first[i] // stride] |= bit
            stopping[-(-last[i] // stride)] |= bit
        self.starting = list(accumulate(reversed(starting), or_))[::-1]  # row r: who starts at section r*stride or after
        self.stopping = list(accumulate(stopping, or_))  # row r: who stops by section r*stride
        self.height = [0] + [-1] * (sections - 1) + [_OPEN, _OPEN]  # [sections] and [-1] are the walls
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
        """Return the waiting buffers that live between sections a and b, as bits."""
        if self.stride == 1:
            return self.starting[a] & self.stopping[b] & self.waiting
        rows = b if b == len(self.problem.live) else b - self.stride + 1
        return self.starting[-(-a // self.stride)] & self.stopping[-(-rows // self.stride)] & self.waiting

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


def _fill_below(problem: _Problem, order: list[int], limit: int, focused: bool) -> tuple[list[int], list[int]]:
    """Fill the arena up to `limit`, or return the buffers that were left standing at the section that can't keep it.

    `rest[t]` is the sum of waiting sizes at section t: the height there plus `rest[t]` may never pass the limit. With
    `focused`, only buffers that live at the valley's fullest section come into question, if there are any.
    """
    filling = _Filling(problem, order)
    rest = problem.live.copy()
    while filling.waiting:
        a, b = filling.valley()
        fullest = max(rest[a:b])
        peak = rest.index(fullest, a, b)
        alive = ~filling.starting[peak + 1] & ~filling.stopping[peak]
        fitting = filling.fitting(a, b)
        if focused:
            fitting = fitting & alive or fitting
        bit = _first_harmless(filling, rest, fitting, a, b, limit)
        if not bit and min(filling.height[filling.begin[a]], filling.height[b]) + fullest <= limit:
            filling.lift(a, b)
            continue
        if not bit and not fitting:
            return [], _members(filling.waiting & alive, order)
        i = filling.place(bit or fitting & -fitting, a, b)
        start, stop, size = problem.first[i], problem.last[i], problem.sizes[i]
        rest[start:stop] = [standing - size for standing in rest[start:stop]]
    return filling.tops, []


def _first_harmless(filling: _Filling, rest: list[int], fitting: int, a: int, b: int, limit: int) -> int:
    """Return the first candidate, as a bit, that leaves no gap at its sides which has to be wasted above the limit."""
    problem, height = filling.problem, filling.height
    floor, left, right = height[a], height[filling.begin[a]], height[b]
    for _ in range(_LOOKAHEAD):
        if not fitting:
            break
        bit = fitting & -fitting
        fitting ^= bit
        i = filling.order[bit.bit_length() - 1]
        start, stop, top = problem.first[i], problem.last[i], floor + problem.sizes[i]
        others = filling.waiting ^ bit
        if a < start and not filling.starting[a] & filling.stopping[start] & others:
            if min(left, top) + max(rest[a:start]) > limit:
                continue
        if stop < b and not filling.starting[stop] & filling.stopping[b] & others:
            if min(right, top) + max(rest[stop:b]) > limit:
                continue
        return bit
    return 0


def _members(bits: int, order: list[int]) -> list[int]:
    """Return the buffers whose bits are set."""
    members = []
    while bits:
        bit = bits & -bits
        bits ^= bit
        members.append(order[bit.bit_length() - 1])
    return members


def _search(problem: _Problem, tried: list[tuple[int, list[int]]], best: list[int]) -> list[int]:
    """Improve the best orders side by side, until the bound is reached or the work is done."""
    arena, buffers = max(best), len(problem.sizes)
    chains = [(order.copy(), focused) for _, order in sorted(tried)[: _CHAINS // 2] for focused in (True, False)]
    gain = max(1, int(_GAIN * problem.bound))
    jitter = 0.0
    for _, (order, focused) in zip(range(_SEARCH_WORK // buffers), cycle(chains), strict=False):
        tops, blamed = _fill_below(problem, order, max(problem.bound, arena - gain), focused)
        if tops:
            best, arena = tops, max(tops)
            if arena == problem.bound:
                break
            continue
        rank = [0.0] * buffers
        for k, i in enumerate(order):
            rank[i] = k
        for i in blamed:
            jitter = (jitter + 0.618034) % 1.0  # spread evenly over 0 … 1, without a random generator
            rank[i] -= _PUSH * buffers * (0.5 + jitter)
        order.sort(key=rank.__getitem__)
    return best
