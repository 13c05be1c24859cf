"""The kernel benchmark's results as Markdown."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.kernel_times import Kernel, NetworkTimes
from benchmarks.peaks import Peaks
from benchmarks.report import table
from benchmarks.timing import machine
from graphnn.compiler.targets.c.build import Compiler

SMALL_SHARE = 0.005
"""Kernels with less of a step's time than this, whatever the number of threads, share one row."""

_METHOD = """\
The peaks: *FMA* is the rate of twelve independent vector multiply-adds in registers; *cache* and *memory* are the
bytes a second that a triad `a = b + s · c` reads and writes, in arrays of the size of half a second-level cache for
each thread, and far beyond all caches. The best of several bursts counts. A kernel's FLOPs and bytes are those of its
ops: each value that it reads or writes counts once, however often the kernel comes back to it. It is held against the
peak that it would need longer at: *arithmetic* kernels against FMA (GFLOP/s), *data* kernels against the cache (GB/s).
*Threads* stands for combining the threads' sums and waiting for each other. An exponential or a comparison counts as
one FLOP: kernels with many such stay far from both peaks.

Times are of one thread, the last, which has the most blocks of examples; FLOPs and bytes are those of all threads. Each
round measures the peaks and then the kernels of each network; all figures are medians of the rounds, those of kernels
of medians over the steps of a round."""

_SUMMARY = """\
A step's time in its kernels beside the time that its FLOPs would take at the FMA peak. Then the share of the time
that each kind of kernel takes, and in parentheses how near to its peak it is as a whole; the largest share bounds
the step."""


def report(networks: Sequence[NetworkTimes], peaks: Mapping[int, Peaks], compiler: Compiler, rounds: int) -> str:
    """Return the whole report, with the peaks by number of threads."""
    by_name: dict[str, list[NetworkTimes]] = {}
    for times in networks:
        by_name.setdefault(times.network.name, []).append(times)
    parts = [
        "# graphnn's kernels beside the machine's peaks",
        _conditions(compiler, rounds),
        _METHOD,
        "## Peaks",
        table(("threads", "FMA GFLOP/s", "cache GB/s", "memory GB/s"), _peak_rows(peaks)),
        "## Summary",
        _SUMMARY,
        table(
            (
                "network",
                "threads",
                "MFLOP",
                "ms at FMA peak",
                "ms in C",
                "share of peak",
                "arithmetic",
                "data",
                "threads' share",
                "bound by",
            ),
            (_summary_row(times, peaks[times.threads]) for times in networks),
        ),
        *(part for several in by_name.values() for part in _network_parts(several, peaks)),
    ]
    return "\n\n".join(parts) + "\n"


def _conditions(compiler: Compiler, rounds: int) -> str:
    return "\n".join(
        [
            f"- {datetime.datetime.now(datetime.UTC).date()}",
            f"- {machine()}",
            f"- {compiler.version}, vectors of {compiler.vector_bytes} bytes",
            f"- {rounds} rounds",
        ]
    )


def _peak_rows(peaks: Mapping[int, Peaks]) -> Iterator[Sequence[str]]:
    for threads, reached in peaks.items():
        rates = (reached.flops, reached.cache_bytes, reached.memory_bytes)
        yield (str(threads), *(f"{rate / 1e9:.1f}" for rate in rates))


def _summary_row(times: NetworkTimes, peaks: Peaks) -> Sequence[str]:
    kinds = times.by_resource(peaks)
    seconds = {resource: sum(kernel.median for kernel in kernels) for resource, kernels in kinds.items()}
    shares = {resource: f"{part / times.seconds:.0%}" for resource, part in seconds.items()}
    for resource in ("arithmetic", "data"):
        least = sum(kernel.least_seconds(peaks)[resource] for kernel in kinds[resource])
        if seconds[resource]:
            shares[resource] += f" ({least / seconds[resource]:.0%})"
    at_peak = times.flops / peaks.flops
    return (
        times.network.title,
        str(times.threads),
        f"{times.flops / 1e6:.2f}",
        f"{at_peak * 1e3:.3f}",
        f"{times.seconds * 1e3:.3f}",
        f"{at_peak / times.seconds:.1%}",
        *shares.values(),
        max(seconds, key=lambda resource: seconds[resource]),
    )


def _network_parts(several: Sequence[NetworkTimes], peaks: Mapping[int, Peaks]) -> Sequence[str]:
    network = several[0].network
    header = ["kernel", "node"]
    for times in several:
        threads = f"{times.threads} {'thread' if times.threads == 1 else 'threads'}"
        header += [f"µs, {threads}", f"rate, {threads}", f"of peak, {threads}"]
    return [f"## {network.title}", network.summary, table(header, _kernel_rows(several, peaks))]


def _kernel_rows(several: Sequence[NetworkTimes], peaks: Mapping[int, Peaks]) -> Iterator[Sequence[str]]:
    """Yield a row for each kernel, the slowest first, and one for all that are small."""
    first = several[0]
    shown = {
        key: None
        for times in several
        for key, kernel in times.kernels.items()
        if kernel.median >= SMALL_SHARE * times.seconds
    }
    order = sorted(shown, key=lambda key: -first.kernels[key].median if key in first.kernels else 0.0)
    for key in order:
        cells = [_cells(times.kernels.get(key), peaks[times.threads]) for times in several]
        yield (*key, *(cell for three in cells for cell in three))
    small = [[kernel.median for key, kernel in times.kernels.items() if key not in shown] for times in several]
    if any(small):
        cells = [(_microseconds(sum(medians)), "–", "–") for medians in small]
        yield (f"{max(map(len, small))} smaller ones", "", *(cell for three in cells for cell in three))


def _cells(kernel: Kernel | None, peaks: Peaks) -> tuple[str, str, str]:
    """Return a kernel's time, its rate and its share of the peak."""
    if kernel is None:
        return "–", "–", "–"
    resource = kernel.resource(peaks)
    if resource == "threads" or not kernel.median:
        return _microseconds(kernel.median), "–", "–"
    amount, unit = (kernel.flops, "GFLOP/s") if resource == "arithmetic" else (kernel.nbytes, "GB/s")
    share = kernel.least_seconds(peaks)[resource] / kernel.median
    return _microseconds(kernel.median), f"{amount / kernel.median / 1e9:.1f} {unit}", f"{share:.0%}"


def _microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:.1f}"
