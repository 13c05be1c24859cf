"""The trainings of the GPU benchmark as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.competitors import OURS
from benchmarks.gpu.training_race import CHECKED_STEPS, WAKING_STEPS, EpochResult
from benchmarks.gpu.workloads import PRECISIONS, Workload
from benchmarks.report import best_peer, table
from benchmarks.result import Result

_METHOD = f"""\
An epoch goes once through all images, in steps of forward, backward and the optimiser's update for one batch; what
does not fill a batch is left out. All competitors start from the same float32 weights; the data set lies on the card
before the clock runs, and all take its rows in the same orders. Peers have the orders there as well; graphnn sends each
epoch's order inside of the clock. Nobody waits for the card between two steps: the losses are added up there and read
at the end of the epoch, where the clock stops. Each competitor is a process. They take turns, an epoch each a round;
{WAKING_STEPS} steps before each wake the card, and a first epoch is not timed.

*First step* is the time from the described network to the end of its first step, without imports; compiled code that an
earlier network left on disk is found there. *Losses* tells how far those of the first {CHECKED_STEPS} steps are from
the median of all competitors, relative to it; *last* is the mean loss over the last epoch. Precisions:

{chr(10).join(f"- {name}: {meaning}" for name, meaning in PRECISIONS.items())}

For fp32, PyTorch has `allow_tf32` off for matrix products and for cuDNN, JAX has `jax_default_matmul_precision`
"float32", and `NVIDIA_TF32_OVERRIDE` is 0 for all; for tf32 PyTorch has both on, and JAX its default. PyTorch's
optimisers are fused, `cudnn.benchmark` is on."""

Raced = tuple[Workload, Sequence[EpochResult]]


def training_parts(races: Sequence[Raced]) -> list[str]:
    """Return the parts of the report about trainings."""
    summary = ("network", "graphnn ms", "best peer", "its ms", "times faster")
    return [
        "## Training, a whole epoch",
        _METHOD,
        table(summary, (_summary_row(workload, results) for workload, results in races)),
        *(part for workload, results in races for part in _race_parts(workload, results)),
    ]


def _summary_row(workload: Workload, results: Sequence[EpochResult]) -> Sequence[str]:
    ours = next(result for result in results if result.competitor is OURS)
    peer = best_peer(results)
    return (
        workload.title,
        _milliseconds(ours.median * workload.steps) if ours.counts else "failed",
        peer.competitor.label if peer else "–",
        _milliseconds(peer.median * workload.steps) if peer else "–",
        f"{peer.median / ours.median:.2f}" if peer and ours.counts else "–",
    )


def _race_parts(workload: Workload, results: Sequence[EpochResult]) -> Iterator[str]:
    yield f"### {workload.title}"
    images = workload.steps * workload.network.batch
    yield f"{workload.network.summary}; {images:,} images, {workload.steps} steps an epoch"
    header = (
        *("competitor", "median ms", "minimum ms", "µs a step", "× best peer"),
        *("first step s", "losses", "last"),
    )
    peer = best_peer(results)
    yield table(header, (_row(workload, result, peer) for result in results))
    remarks = [f"- {one.competitor.label} failed: {one.failure}" for one in results if one.failure]
    remarks += [f"- {one.competitor.label}: {one.note}" for one in results if one.note and not one.failure]
    if remarks:
        yield "\n".join(remarks)


def _row(workload: Workload, result: EpochResult, peer: Result | None) -> Sequence[str]:
    if result.failure:
        return (result.competitor.label, "failed", *("–",) * 6)
    return (
        result.competitor.label,
        _milliseconds(result.median * workload.steps),
        _milliseconds(min(result.step_seconds) * workload.steps),
        f"{result.median * 1e6:.1f}",
        f"{result.median / peer.median:.2f}" if peer else "–",
        f"{result.cold_seconds:.2f}",
        f"±{result.deviation:.0e}" if result.agrees else f"**failed: ±{result.deviation:.0e}**",
        f"{result.last_loss:.4f}",
    )


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.2f}"
