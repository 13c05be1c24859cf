"""Single kernels of the GPU benchmark as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.gpu.kernel_race import KernelRow, Side
from benchmarks.report import table

_METHOD = """\
graphnn's kernels, as its plans have them for graphs of one op, beside PyTorch's calls: cuDNN's convolutions, in the
better of both layouts, and PyTorch's own pooling. Each is repeated in a CUDA graph, whose replays are timed by events
on the card; medians of the rounds. *MB* counts each value that is read or written once (max-pooling: and a byte for the
position of each window's largest element). The roofline is the longer of two times: FLOPs at the peak of the precision,
and MB at the bandwidth of a copy. Repetitions find in the second-level cache what fits there, so that shares above
100 % are possible. TF32 is off for fp32 and on for tf32. *Difference* is that of some elements of graphnn's result from
PyTorch's, ‖a - b‖ / ‖b‖."""

_PEAKS = """\
Measured by PyTorch in the same run, on a GPU with a copy of 1 GiB (bytes read and written) and products of 8192 × 8192
matrices of random numbers."""


def kernel_parts(rows: Sequence[KernelRow], peaks: Mapping[str, float]) -> list[str]:
    """Return the parts of the report about single kernels."""
    parts = ["## Kernels beside cuDNN and the roofline", _METHOD]
    if peaks:
        units = {"copy": ("GB/s", 1e9)}
        cells = [(name, units.get(name, ("TFLOP/s", 1e12)), rate) for name, rate in peaks.items()]
        parts += [
            _PEAKS,
            table(("peak", "rate"), ((name, f"{rate / scale:.1f} {unit}") for name, (unit, scale), rate in cells)),
        ]
    header = (
        *("kernel", "pass", "precision", "GFLOP", "MB", "roofline µs"),
        *("graphnn µs", "of roofline", "PyTorch µs", "its layout", "of roofline, PyTorch"),
        *("times faster", "difference"),
    )
    parts.append(table(header, (_row(row, peaks) for row in rows)))
    failures = dict.fromkeys(
        f"- {row.case.title}, {row.precision}: {who} failed: {side.failure}"
        for row in rows
        for who, side in (("graphnn", row.ours), ("PyTorch", row.theirs))
        if side.failure
    )
    return [*parts, "\n".join(failures)] if failures else parts


def roofline(row: KernelRow, peaks: Mapping[str, float]) -> float | None:
    """Return the least seconds that the measured peaks allow, if there are any."""
    if not peaks:
        return None
    return max(row.work.flops / peaks[row.precision], row.work.nbytes / peaks["copy"])


def pool_loop_parts(answer: Mapping[str, float]) -> list[str]:
    """Return the part about the gradient of max-pooling."""
    ratio = answer["loop"] / answer["kernel"]
    return [
        "## Gradient of max-pooling: a plain loop against CUDA",
        "LeNet's first pooling: one thread of the card that goes through all windows, and graphnn's kernel, in which\n"
        "each element of the images adds up what flows to it. The results are "
        f"{'the same' if answer['equal'] else '**different**'}.",
        table(
            ("what", "ms", "times faster"),
            (
                ("loop, one thread", f"{answer['loop'] * 1e3:.3f}", "1"),
                ("kernel", f"{answer['kernel'] * 1e3:.4f}", f"{ratio:.0f}"),
            ),
        ),
    ]


def launch_parts(answers: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return the part about what a node of a CUDA graph takes at least."""
    rows = [
        (who, str(int(answer["kernels"])), _microseconds(answer["seconds"]), _per_kernel(answer), _run(answer))
        for who, answer in answers.items()
    ]
    return [
        "## Launches",
        "A CUDA graph of tiny kernels, each of which needs the one before: its time on the card, divided by their\n"
        "number, is the gap from one node to the next with the kernel's own microsecond. *Run* is the wall-clock\n"
        "time of a plan with a single step, with all that Python does.",
        table(("who", "kernels", "graph µs", "µs a kernel", "run µs"), rows),
    ]


def _per_kernel(answer: Mapping[str, float]) -> str:
    return f"{answer['seconds'] / answer['kernels'] * 1e6:.2f}"


def _run(answer: Mapping[str, float]) -> str:
    return _microseconds(answer["run"]) if "run" in answer else "–"


def _row(row: KernelRow, peaks: Mapping[str, float]) -> Sequence[str]:
    least = roofline(row, peaks)
    ours, theirs = row.ours.best, row.theirs.best
    return (
        row.case.title,
        row.which,
        row.precision,
        f"{row.work.flops / 1e9:.3f}",
        f"{row.work.nbytes / 1e6:.2f}",
        _microseconds(least) if least else "–",
        _time(row.ours) + (f" ({ours[0]})" if ours and ours[0] else ""),
        _share(least, ours),
        _time(row.theirs),
        theirs[0] if theirs else "–",
        _share(least, theirs),
        f"{theirs[1] / ours[1]:.2f}" if ours and theirs else "–",
        _difference(row),
    )


def _difference(row: KernelRow) -> str:
    if row.difference is None:
        return "–"
    return f"{row.difference:.0e}" if row.is_fine else f"**{row.difference:.0e}**"


def _time(side: Side) -> str:
    if side.best:
        return _microseconds(side.best[1])
    return "failed" if side.failure else "–"


def _share(least: float | None, best: tuple[str, float] | None) -> str:
    return f"{least / best[1]:.0%}" if least and best else "–"


def _microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:.1f}"
