"""graphnn's kernels beside the machine's peaks: how fast each is in training, and how fast it could be.

Progress goes to standard error, the report to standard output and into a file.

    python -m benchmarks.kernels
    python -m benchmarks.kernels --networks lenet mnist_cnn --threads 1 --rounds 5
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.arguments import positive
from benchmarks.kernel_report import report
from benchmarks.kernel_times import KernelMeter, measure_in_turn
from benchmarks.networks import NETWORKS
from benchmarks.peaks import PeakMeter, triad_sizes
from benchmarks.processors import available_processors
from graphnn.compiler.targets.c.toolchain import find_compiler, unavailable_reason

RESULTS = Path(__file__).parent / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what was asked for and print the report; the exit code is 1 if there is no C compiler."""
    options = _parser().parse_args(arguments)
    compiler = find_compiler()
    if compiler is None:
        print(f"there are no compiled kernels to measure: {unavailable_reason()}", file=sys.stderr)
        return 1
    counts = sorted(set(options.threads)) if compiler.threads else [1]
    cache_bytes, memory_bytes = triad_sizes()
    memory_bytes = options.memory_megabytes * 10**6 if options.memory_megabytes else memory_bytes
    peaks = {threads: PeakMeter(compiler, threads, cache_bytes, memory_bytes) for threads in counts}
    networks = [KernelMeter(NETWORKS[name], threads) for name in options.networks for threads in counts]
    measure_in_turn(networks, peaks, options.rounds, options.repeats)
    medians = {threads: meter.median for threads, meter in peaks.items()}
    text = report([meter.times for meter in networks], medians, compiler, options.rounds)
    print(text)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text, encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), metavar="NETWORK")
    parser.add_argument("--rounds", type=positive, default=9, help="how often the networks take turns")
    parser.add_argument("--repeats", type=positive, default=20, help="timed steps of each network in a round")
    parser.add_argument(
        "--threads",
        type=positive,
        nargs="+",
        default=[1, len(available_processors())],
        help="numbers of threads; by default one, and as many as there are processors",
    )
    parser.add_argument(
        "--memory-megabytes",
        type=positive,
        help="size of the arrays that fit into no cache; by default twelve times the largest cache",
    )
    today = datetime.datetime.now(datetime.UTC).date()
    parser.add_argument("--out", type=Path, default=RESULTS / f"kernels-{today}.md", help="the file for the report")
    parser.epilog = f"networks: {', '.join(NETWORKS)}"
    return parser


if __name__ == "__main__":
    sys.exit(main())
