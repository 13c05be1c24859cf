import csv
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphnn.compiler.plan import offsets as module
from graphnn.compiler.plan.offsets import Buffer, align, assign_offsets, lower_bound

MINIMALLOC = Path(__file__).parents[2] / "data" / "minimalloc"

# The arena divided by the lower bound, rounded up. All instances fit 1048576 bytes; the lower bound itself is only
# 0.991 of that in C, 0.940 in D and 0.943 in J, so that 1.063 in D and 1.060 in J are all that the benchmark asks.
RATIOS = {
    "A": 1.025,
    "B": 1.037,
    "C": 1.045,
    "D": 1.085,
    "E": 1.066,
    "F": 1.043,
    "G": 1.033,
    "H": 1.007,
    "I": 1.046,
    "J": 1.068,
    "K": 1.106,
}


def clashes(buffers: list[Buffer], offsets: list[int]) -> list[tuple[int, int]]:
    """Pairs of buffers that share a step and a byte, found by comparing all of them."""
    return [
        (i, j)
        for i, one in enumerate(buffers)
        for j, two in enumerate(buffers[:i])
        if max(one.start, two.start) < min(one.stop, two.stop)
        and max(offsets[i], offsets[j]) < min(offsets[i] + one.nbytes, offsets[j] + two.nbytes)
    ]


def aligned(buffers: list[Buffer], alignment: int = 64) -> list[Buffer]:
    return [Buffer(buffer.start, buffer.stop, align(buffer.nbytes, alignment)) for buffer in buffers]


def check_placement(buffers: list[Buffer], offsets: list[int], arena: int, alignment: int = 64) -> None:
    """Assert all that a placement promises, however large its arena is."""
    assert len(offsets) == len(buffers)
    assert not clashes(aligned(buffers, alignment), offsets)
    assert all(offset >= 0 and offset % alignment == 0 for offset in offsets)
    ends = [offset + align(buffer.nbytes, alignment) for buffer, offset in zip(buffers, offsets, strict=True)]
    assert arena == max(ends, default=0)


def checked_ratio(buffers: list[Buffer], alignment: int = 64) -> float:
    """Place the buffers, check the placement, and return the arena divided by the lower bound."""
    offsets, arena = assign_offsets(buffers, alignment)
    check_placement(buffers, offsets, arena, alignment)
    bound = lower_bound(aligned(buffers, alignment))
    return arena / bound if bound else 1.0


def sections_of(buffers: list[Buffer]) -> module._Problem:
    return module._sections(buffers, [buffer.nbytes for buffer in buffers])


def offsets_of(tops: list[int], buffers: list[Buffer]) -> list[int]:
    return [top - buffer.nbytes for top, buffer in zip(tops, buffers, strict=True)]


def training_graph(layers: int, seed: int, keep_gradients: bool = False) -> list[Buffer]:
    """Activations that live until their mirrored backward step, gradients, workspaces, short temporaries."""
    draw = random.Random(seed)
    end = 6 * layers + 2

    def nbytes() -> int:
        return int(2 ** draw.uniform(6, 20))

    def generate() -> Iterator[Buffer]:
        for layer in range(layers):
            forward, backward, size = 3 * layer, end - 3 * layer - 3, nbytes()
            saved_until = backward + 1 if draw.random() < 0.7 else forward + 4
            if draw.random() < 0.2:  # a skip connection
                saved_until = max(saved_until, forward + 3 * draw.randint(2, 6) + 1)
            yield Buffer(forward, saved_until, size)
            yield Buffer(backward - 1, backward + 3, size)
            yield Buffer(backward, end + 1 if keep_gradients else backward + draw.randint(1, 3), nbytes())
            for start in (forward, backward):
                if draw.random() < 0.5:
                    yield Buffer(start, start + 1, nbytes())
                if draw.random() < 0.5:
                    yield Buffer(start + 1, start + draw.randint(2, 4), nbytes())

    return list(generate())


def minimalloc(name: str) -> list[Buffer]:
    with (MINIMALLOC / f"{name}.1048576.csv").open(encoding="utf-8") as file:
        return [Buffer(int(row["lower"]), int(row["upper"]), int(row["size"])) for row in csv.DictReader(file)]


@st.composite
def any_buffers(draw: st.DrawFn) -> list[Buffer]:
    steps = draw(st.integers(1, 30))
    rows = draw(st.lists(st.tuples(st.integers(0, steps), st.integers(1, steps), st.integers(1, 2000)), max_size=40))
    return [Buffer(start, start + life, nbytes) for start, life, nbytes in rows]


@st.composite
def nested_buffers(draw: st.DrawFn) -> list[Buffer]:
    """Lives of which any two are either disjoint or one inside the other."""
    buffers: list[Buffer] = []
    pieces = [(0, draw(st.integers(1, 64)))]
    while pieces and len(buffers) < 40:
        start, stop = pieces.pop()
        start, stop = draw(st.integers(start, stop - 1)), draw(st.integers(start + 1, stop))
        if start >= stop:
            continue
        buffers.append(Buffer(start, stop, draw(st.integers(1, 2000))))
        cut = draw(st.integers(start, stop))
        pieces += [(a, b) for a, b in ((start, cut), (cut, stop)) if a < b]
    return draw(st.permutations(buffers))


class TestChecker:
    """The checker sees the faults that it is there for."""

    @pytest.mark.parametrize("offsets", [[0, 0], [0, 99], [49, 0]])
    def test_reports_shared_bytes(self, offsets: list[int]) -> None:
        assert clashes([Buffer(0, 2, 100), Buffer(1, 3, 50)], offsets) == [(1, 0)]

    @pytest.mark.parametrize("offsets", [[0, 100], [50, 0]])
    def test_accepts_neighbours(self, offsets: list[int]) -> None:
        assert not clashes([Buffer(0, 2, 100), Buffer(1, 3, 50)], offsets)

    def test_accepts_the_same_bytes_at_other_steps(self) -> None:
        assert not clashes([Buffer(0, 2, 100), Buffer(2, 3, 50)], [0, 0])

    def test_reports_faults_planted_in_a_placement(self) -> None:
        buffers = training_graph(10, seed=0)
        offsets, arena = assign_offsets(buffers)
        check_placement(buffers, offsets, arena)
        highest = offsets.index(max(offsets))
        moved_down, misaligned, negative = offsets.copy(), offsets.copy(), offsets.copy()
        moved_down[highest] -= 64
        misaligned[highest] += 1
        negative[highest] = -64 * 10**6
        for wrong in (moved_down, misaligned, negative, offsets[:-1]):
            with pytest.raises(AssertionError):
                check_placement(buffers, wrong, arena)
        for wrong_arena in (arena - 64, arena + 64):
            with pytest.raises(AssertionError):
                check_placement(buffers, offsets, wrong_arena)


class TestBuffer:
    @pytest.mark.parametrize("nbytes", [0, -1])
    def test_without_bytes(self, nbytes: int) -> None:
        with pytest.raises(ValueError, match=f"at least 1 byte, got nbytes={nbytes}"):
            Buffer(0, 1, nbytes)

    @pytest.mark.parametrize("stop", [3, 2])
    def test_without_steps(self, stop: int) -> None:
        with pytest.raises(ValueError, match=f"must stop after it starts, got start=3, stop={stop}"):
            Buffer(3, stop, 8)


class TestAlign:
    @given(st.integers(0, 10**12), st.integers(1, 4096))
    def test_is_the_next_multiple(self, nbytes: int, alignment: int) -> None:
        result = align(nbytes, alignment)
        assert result % alignment == 0
        assert 0 <= result - nbytes < alignment

    @pytest.mark.parametrize("alignment", [0, -64])
    def test_rejects_alignments_below_one(self, alignment: int) -> None:
        with pytest.raises(ValueError, match=f"at least 1, got {alignment}"):
            align(8, alignment)
        with pytest.raises(ValueError, match=f"at least 1, got {alignment}"):
            assign_offsets([Buffer(0, 1, 8)], alignment)


class TestLowerBound:
    @given(any_buffers())
    def test_is_the_largest_live_sum(self, buffers: list[Buffer]) -> None:
        steps = range(max((buffer.stop for buffer in buffers), default=0))
        live = [sum(b.nbytes for b in buffers if b.start <= step < b.stop) for step in steps]
        assert lower_bound(buffers) == max(live, default=0)

    def test_counts_no_buffer_at_its_stop(self) -> None:
        assert lower_bound([Buffer(0, 2, 10), Buffer(2, 4, 10)]) == 10
        assert lower_bound([Buffer(0, 3, 10), Buffer(2, 4, 10)]) == 20


class TestTinyCases:
    def test_no_buffers(self) -> None:
        assert assign_offsets([]) == ([], 0)

    def test_one_buffer(self) -> None:
        assert assign_offsets([Buffer(5, 9, 100)]) == ([0], 128)

    def test_one_after_the_other_share(self) -> None:
        assert assign_offsets([Buffer(0, 2, 128), Buffer(2, 3, 64)]) == ([0, 0], 128)

    def test_at_the_same_time_do_not_share(self) -> None:
        offsets, arena = assign_offsets([Buffer(0, 3, 128), Buffer(2, 4, 64)])
        assert sorted(offsets) in ([0, 64], [0, 128])
        assert arena == 192

    def test_alignment_of_one_wastes_nothing(self) -> None:
        assert assign_offsets([Buffer(0, 1, 3), Buffer(0, 1, 5), Buffer(1, 2, 8)], alignment=1)[1] == 8

    def test_a_hole_is_used(self) -> None:
        # The second dies early; the fourth needs exactly its place, below the third, which lives on.
        buffers = [Buffer(0, 9, 64), Buffer(0, 3, 192), Buffer(0, 9, 64), Buffer(3, 9, 192)]
        assert assign_offsets(buffers)[1] == 320

    def test_negative_steps_and_large_sizes(self) -> None:
        buffers = [Buffer(-5, -2, 10**15), Buffer(-3, 10**9, 10**15), Buffer(-2, 10**9, 10**15)]
        assert assign_offsets(buffers, alignment=1)[1] == 2 * 10**15

    def test_up_to_nine_random_buffers_reach_the_bound(self) -> None:
        draw = random.Random(0)
        for _ in range(400):
            starts = [draw.randrange(8) for _ in range(draw.randint(2, 9))]
            buffers = [Buffer(start, draw.randint(start + 1, 9), draw.randint(1, 9)) for start in starts]
            assert checked_ratio(buffers, alignment=1) == 1.0


@given(any_buffers(), st.sampled_from([1, 16, 64, 100]))
def test_placements_are_valid(buffers: list[Buffer], alignment: int) -> None:
    assert checked_ratio(buffers, alignment) >= 1.0


@given(nested_buffers())
def test_nested_lives_reach_the_bound(buffers: list[Buffer]) -> None:
    assert checked_ratio(buffers) == 1.0


@given(any_buffers(), st.integers(1, 3000))
def test_coarse_masks_of_huge_graphs_are_valid(buffers: list[Buffer], bits: int) -> None:
    problem = sections_of(buffers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MASK_BITS", bits)
        for order in module._orders(problem):
            tops = module._fill(problem, order)
            assert not clashes(buffers, offsets_of(tops, buffers))


@given(any_buffers(), st.booleans(), st.integers(0, 10_000))
def test_a_limited_filling_keeps_its_limit_or_blames_somebody(buffers: list[Buffer], tidy: bool, room: int) -> None:
    problem = sections_of(buffers)
    for order in module._orders(problem):
        tops, blamed = module._fill_below(problem, order, problem.bound + room, tidy)
        if buffers:
            assert bool(tops) != bool(blamed)
        if tops:
            assert max(tops) <= problem.bound + room
            assert not clashes(buffers, offsets_of(tops, buffers))


class TestTrainingGraphs:
    @pytest.mark.parametrize("keep_gradients", [False, True])
    @pytest.mark.parametrize("layers", [3, 10, 30, 100])
    def test_stay_near_the_bound(self, layers: int, keep_gradients: bool) -> None:
        for seed in range(3):
            assert checked_ratio(training_graph(layers, seed, keep_gradients)) <= 1.02

    def test_ten_thousand_buffers(self) -> None:
        buffers = training_graph(2_000, seed=0)
        assert 9_000 < len(buffers) < 11_000
        began = time.perf_counter()
        _, arena = assign_offsets(buffers)
        assert time.perf_counter() - began < 10  # takes 0.2 s
        assert arena <= 1.02 * lower_bound(aligned(buffers))

    def test_work_grows_linearly(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pieces = 0
        piece = module._Filling.piece

        def counted(self: module._Filling, a: int, b: int, height: int) -> None:
            nonlocal pieces
            pieces += 1
            piece(self, a, b, height)

        monkeypatch.setattr(module._Filling, "piece", counted)
        for layers in (100, 400, 1_600):
            problem = sections_of(training_graph(layers, seed=0))
            pieces = 0
            for count, order in enumerate(module._orders(problem), start=1):
                module._fill(problem, order)
                # A placing makes at most three pieces, and each lift removes one for good.
                assert pieces <= 5 * count * len(order)

    def test_stops_at_the_bound(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fillings = 0
        fill = module._fill

        def counted(problem: module._Problem, order: list[int]) -> list[int]:
            nonlocal fillings
            fillings += 1
            return fill(problem, order)

        monkeypatch.setattr(module, "_fill", counted)
        monkeypatch.setattr(module, "_search", None)
        assert checked_ratio([Buffer(i, 100 - i, 64 * (i + 1)) for i in range(50)]) == 1.0
        assert fillings == 1


class TestSearch:
    @pytest.mark.parametrize("name", RATIOS)
    def test_minimalloc(self, name: str) -> None:
        assert checked_ratio(minimalloc(name)) <= RATIOS[name]

    def test_improves_the_plain_orders(self, monkeypatch: pytest.MonkeyPatch) -> None:
        buffers = minimalloc("A")
        _, searched = assign_offsets(buffers)
        monkeypatch.setattr(module, "_ATTEMPTS", 0)
        _, plain = assign_offsets(buffers)
        assert searched < plain

    def test_stops_at_the_bound(self, monkeypatch: pytest.MonkeyPatch) -> None:
        limits: list[int] = []
        fill_below = module._fill_below

        def recorded(problem: module._Problem, order: list[int], limit: int, tidy: bool) -> tuple[list[int], list[int]]:
            limits.append(limit)
            return fill_below(problem, order, limit, tidy)

        monkeypatch.setattr(module, "_fill_below", recorded)
        draw = random.Random(1)
        starts = [draw.randrange(60) for _ in range(100)]
        buffers = [Buffer(start, start + draw.randint(1, 20), draw.randint(1, 100)) for start in starts]
        assert checked_ratio(buffers, alignment=1) == 1.0
        assert 0 < len(limits) < module._ATTEMPTS
        assert min(limits) >= lower_bound(buffers)

    def test_leaves_large_graphs_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "_SEARCHED_BUFFERS", 153)
        monkeypatch.setattr(module, "_search", None)
        assert checked_ratio(minimalloc("A")) < 1.3

    def test_gives_the_same_result_again(self) -> None:
        for name in "AE":
            assert assign_offsets(minimalloc(name)) == assign_offsets(minimalloc(name))

    def test_reads_no_clock_and_no_random_numbers(self) -> None:
        assert not {"time", "random", "os"} & set(vars(module))
