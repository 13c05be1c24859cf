"""The CPU benchmark's results as Markdown."""

from __future__ import annotations

import datetime
import statistics
from collections.abc import Iterable, Mapping, Sequence

from benchmarks.competitors import OURS, Competitor
from benchmarks.networks import Network
from benchmarks.result import Result
from benchmarks.timing import machine

Results = Mapping[str, Sequence[Result]]
"""The results of all competitors, by network."""

_METHOD = """\
A step is forward, backward and the optimiser's update for one batch. All competitors start from the same float32
weights and take the same MNIST batches, converted to float32 and placed as each likes them before the clock runs;
graphnn and the Session are fed NumPy arrays. Each competitor is a process, held to as many processors as it has
threads. They take turns with bursts of the same number of steps, the others waiting; it is enough that all results
are there at the end of a burst. Median and minimum are of the bursts' mean times a step.

*First step* is the time from the described network to the end of its first step, without imports: cold with nothing
compiled on disk; warm in a second process after the first (a dash: nothing is kept on disk). *Peak* is the most memory
that the process which compiled ever held. *Losses* tells how far those of the first steps are from the median
of all competitors, relative to it."""


def report(networks: Sequence[Network], results: Results, absent: Sequence[Competitor], threads: int) -> str:
    """Return the whole report."""
    everything = [result for several in results.values() for result in several]
    parts = [
        "# graphnn beside its peers: training on the CPU",
        _conditions(everything, absent, threads),
        _METHOD,
        "## Summary",
        table(
            ("network", "graphnn ms", "best peer", "its ms", "times faster"),
            (_summary_row(network, results[network.name]) for network in networks),
        ),
        *(part for network in networks for part in _network_parts(network, results[network.name])),
        "## Import",
        "The time of importing all that the training needs, median of all processes.",
        table(("competitor", "import s"), _import_rows(everything)),
    ]
    return "\n\n".join(parts) + "\n"


def best_peer(results: Iterable[Result]) -> Result | None:
    """Return the fastest peer among those that finished and agree."""
    peers = [result for result in results if result.competitor is not OURS and result.counts]
    return min(peers, key=lambda result: result.median, default=None)


def _conditions(results: Sequence[Result], absent: Sequence[Competitor], threads: int) -> str:
    versions = dict.fromkeys(result.about for result in results if result.about)
    idle = max((result.idle_share for result in results), default=0.0)
    lines = [
        f"- {datetime.datetime.now(datetime.UTC).date()}",
        f"- {machine()}",
        f"- threads of each competitor: {threads}",
        f"- {', '.join(versions)}",
    ]
    if len(versions) > 1:
        lines.append(f"- a waiting competitor used at most {idle:.1%} of one processor")
    lines += [f"- {competitor.label}: not installed" for competitor in absent]
    return "\n".join(lines)


def _summary_row(network: Network, results: Sequence[Result]) -> Sequence[str]:
    ours = next(result for result in results if result.competitor is OURS)
    peer = best_peer(results)
    return (
        network.title,
        _milliseconds(ours.median) if ours.counts else "failed",
        peer.competitor.label if peer else "–",
        _milliseconds(peer.median) if peer else "–",
        f"{peer.median / ours.median:.2f}" if peer and ours.counts else "–",
    )


def _network_parts(network: Network, results: Sequence[Result]) -> Sequence[str]:
    ours = next(result for result in results if result.competitor is OURS)
    header = (
        "competitor",
        "median ms",
        "minimum ms",
        "× graphnn",
        "first step cold s",
        "warm s",
        "peak MB",
        "losses",
    )
    rows = [_row(result, ours) for result in results]
    parts = [f"## {network.title}", network.summary, table(header, rows)]
    failures = [f"- {result.competitor.label} failed: {result.failure}" for result in results if result.failure]
    return [*parts, "\n".join(failures)] if failures else parts


def _row(result: Result, ours: Result) -> Sequence[str]:
    if result.failure:
        return (result.competitor.label, "failed", *("–",) * 6)
    return (
        result.competitor.label,
        _milliseconds(result.median),
        _milliseconds(min(result.step_seconds)),
        f"{result.median / ours.median:.2f}" if ours.counts else "–",
        f"{result.cold_seconds:.2f}",
        f"{result.warm_seconds:.2f}" if result.competitor.caches else "–",
        f"{result.peak_bytes / 1e6:.0f}",
        f"±{result.deviation:.0e}" if result.agrees else f"**failed: ±{result.deviation:.0e}**",
    )


def _import_rows(results: Sequence[Result]) -> Iterable[Sequence[str]]:
    seconds: dict[str, list[float]] = {}
    for result in results:
        seconds.setdefault(result.about, []).extend(result.import_seconds)
    for about, values in seconds.items():
        if values:
            yield about, f"{statistics.median(values):.2f}"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3f}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
