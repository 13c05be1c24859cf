"""graphnn beside PyTorch and JAX on an NVIDIA GPU: training, single kernels, a loop against a kernel, launches.

Peers that are not installed are named and left out. Progress goes to standard error, the report to standard output and
into a file, part by part.

    python -m benchmarks.gpu
    python -m benchmarks.gpu --parts training --networks lenet stack --peers pytorch-graph jax-scan --rounds 5
    python -m benchmarks.gpu --parts kernels --kernels lenet-conv1 resnet-256 --precisions fp32
    python -m benchmarks.gpu --device cuda-emulator --peers --images 4 --batch 2 --networks lenet --kernels lenet-pool1

Parts: "training", an epoch with resident data; "kernels", each convolution and pooling beside PyTorch's (cuDNN's) and
the measured peaks; "pool-loop", the gradient of max-pooling by a plain loop; "launches", the time that a kernel of a
CUDA graph takes at least. The last example needs no GPU: it shows that everything runs. The exit code is 1 if
something of graphnn's failed, or its losses differ from the others'.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.arguments import positive

RESULTS = Path(__file__).parent.parent / "results"
NEEDED = ("numpy", "networkx", "platformdirs")
"""What graphnn can't run without; a machine that can reach no registry may lack some."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what was asked for and print the report."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(f"graphnn needs what is not installed here: {', '.join(missing)}", file=sys.stderr)
        return 1
    from benchmarks.gpu.parts import Session  # not before: it imports all that

    options = _parser().parse_args(arguments)
    out: Path | None = options.out
    if out is None and options.device == "cuda":
        out = RESULTS / f"gpu-{datetime.datetime.now(datetime.UTC).date()}.md"
    with tempfile.TemporaryDirectory(prefix="graphnn-gpu-benchmark-") as folder:
        return Session(options, Path(folder), out).run()


def _parser() -> argparse.ArgumentParser:
    from benchmarks.gpu.competitors import PEERS, USUAL_PEERS
    from benchmarks.gpu.kernel_cases import CASES
    from benchmarks.gpu.parts import DEVICES, PARTS
    from benchmarks.gpu.workloads import GPU_NETWORKS, PRECISIONS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument(
        "--device", choices=DEVICES, default="cuda", help="graphnn's; without a GPU, peers take the CPU"
    )
    parser.add_argument("--networks", nargs="+", choices=GPU_NETWORKS, default=list(GPU_NETWORKS), metavar="NETWORK")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(USUAL_PEERS), metavar="PEER")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS), metavar="PRECISION")
    parser.add_argument("--kernels", nargs="+", choices=CASES, default=list(CASES), metavar="KERNEL")
    parser.add_argument("--rounds", type=positive, default=5, help="timed epochs, or measurements of a kernel")
    parser.add_argument("--images", type=positive, help="of an epoch, at most as many as the data set has")
    parser.add_argument("--batch", type=positive, help="instead of that of each network, or of each kernel")
    parser.add_argument("--out", type=Path, help="the file for the report; on a GPU, by default one in results/")
    names: dict[str, Iterable[str]] = {
        "parts": PARTS,
        "networks": GPU_NETWORKS,
        "peers": PEERS,
        "precisions": PRECISIONS,
        "kernels": CASES,
    }
    parser.epilog = "\n\n".join(f"{name}: {', '.join(values)}" for name, values in names.items())
    return parser


if __name__ == "__main__":
    sys.exit(main())
