"""graphnn beside PyTorch, JAX and TensorFlow: training small networks on the CPU.

Peers that are not installed are named and left out. Progress goes to standard error, the report to standard output.

    python -m benchmarks.cpu
    python -m benchmarks.cpu --networks lenet mnist_cnn --peers pytorch jax --rounds 5
    python -m benchmarks.cpu --peers

The last runs graphnn alone. The exit code is 1 if graphnn failed, or its losses differ from the others'.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.arguments import positive
from benchmarks.competitors import OURS, PEERS
from benchmarks.networks import NETWORKS
from benchmarks.processors import available_processors
from benchmarks.race import Race
from benchmarks.report import report
from benchmarks.result import Result

USUAL_THREADS = 2
"""These networks are too small to keep many processors busy."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what was asked for and print the report."""
    options = _parser().parse_args(arguments)
    networks = [NETWORKS[name] for name in options.networks]
    peers = [PEERS[name] for name in options.peers]
    absent = [peer for peer in peers if not peer.is_installed]
    competitors = [OURS, *(peer for peer in peers if peer.is_installed)]
    results: dict[str, Sequence[Result]] = {}
    for network in networks:
        with Race(network, competitors, options.threads) as race:
            results[network.name] = race.run(options.rounds)
    text = report(networks, results, absent, options.threads)
    print(text)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, encoding="utf-8")
    ours = [result for several in results.values() for result in several if result.competitor is OURS]
    return int(not all(result.counts for result in ours))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), metavar="NETWORK")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS), metavar="PEER")
    parser.add_argument("--rounds", type=positive, default=15, help="timed bursts of each competitor")
    parser.add_argument(
        "--threads",
        type=positive,
        default=min(USUAL_THREADS, len(available_processors())),
        help="of each competitor, and as many processors",
    )
    parser.add_argument("--out", type=Path, help="a file for the report, besides standard output")
    parser.epilog = f"networks: {', '.join(NETWORKS)}\n\npeers: {', '.join(PEERS)}"
    return parser


if __name__ == "__main__":
    sys.exit(main())
