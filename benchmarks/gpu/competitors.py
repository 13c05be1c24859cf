"""Who competes in the GPU benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from benchmarks.competitors import Competitor

_TORCH_MODES = {
    "eager": ("pytorch", "PyTorch, eager"),
    "graph": ("pytorch-graph", "PyTorch, torch.cuda.graph"),
    "reduce-overhead": ("pytorch-reduce-overhead", "PyTorch, torch.compile(reduce-overhead)"),
    "max-autotune": ("pytorch-max-autotune", "PyTorch, torch.compile(max-autotune)"),
}
"""By variant, names on the command line and in the report."""

_JAX_MODES = {"step": ("jax", "JAX, a jitted step"), "scan": ("jax-scan", "JAX, a jitted epoch (lax.scan)")}


def _pytorch() -> list[Competitor]:
    peers = []
    for variant, (name, label) in _TORCH_MODES.items():
        caches = variant in ("reduce-overhead", "max-autotune")
        peers += [
            Competitor(name, label, "torch", "pytorch", variant, caches),
            Competitor(
                f"{name}-channels-last",
                f"{label}, channels last",
                "torch",
                "pytorch",
                f"{variant} channels-last",
                caches,
            ),
        ]
    return peers


def _jax() -> list[Competitor]:
    peers = [
        Competitor(name, label, "jax", "jax", variant, caches=False) for variant, (name, label) in _JAX_MODES.items()
    ]
    name, label = _JAX_MODES["scan"]
    last = Competitor(
        f"{name}-channels-last", f"{label}, channels last", "jax", "jax", "scan channels-last", caches=False
    )
    return [*peers, last]


PEERS: Mapping[str, Competitor] = MappingProxyType({peer.name: peer for peer in (*_pytorch(), *_jax())})
"""The peers by name."""

USUAL_PEERS = tuple(name for name, peer in PEERS.items() if not (peer.caches and name.endswith("channels-last")))
"""Those that compete if nothing else is asked for: inductor chooses its layouts by itself."""

NEEDS_GPU = frozenset(name for name, peer in PEERS.items() if peer.variant.startswith("graph"))
"""Those that do not run on a CPU."""
