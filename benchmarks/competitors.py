"""Who competes in the CPU benchmark."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Competitor:
    """One way to train a network.

    Attributes
    ----------
    name : str
        As on the command line.
    label : str
        As in the report.
    package : str
        What has to be installed.
    module : str
        Where in `benchmarks.peers` it is.
    variant : str
        What its module's `start` is told.
    caches : bool
        Whether it keeps compiled code on disk, so that a second process starts warm.
    """

    name: str
    label: str
    package: str
    module: str
    variant: str
    caches: bool

    @property
    def is_installed(self) -> bool:
        """Whether the package can be found; it is not loaded."""
        return importlib.util.find_spec(self.package) is not None


OURS = Competitor("graphnn", "graphnn", "graphnn", "graphnn", "", caches=True)

PEERS: Mapping[str, Competitor] = MappingProxyType(
    {
        peer.name: peer
        for peer in (
            Competitor("pytorch", "PyTorch", "torch", "pytorch", "eager", caches=False),
            Competitor(
                "pytorch-channels-last", "PyTorch, channels last", "torch", "pytorch", "channels-last", caches=False
            ),
            Competitor("pytorch-compile", "PyTorch, torch.compile", "torch", "pytorch", "compile", caches=True),
            Competitor(
                "pytorch-compile-channels-last",
                "PyTorch, torch.compile, channels last",
                "torch",
                "pytorch",
                "compile-channels-last",
                caches=True,
            ),
            Competitor("jax", "JAX, jit", "jax", "jax", "channels-first", caches=True),
            Competitor("jax-channels-last", "JAX, jit, channels last", "jax", "jax", "channels-last", caches=True),
            Competitor(
                "tensorflow-function", "TensorFlow, tf.function", "tensorflow", "tensorflow", "function", caches=False
            ),
            Competitor(
                "tensorflow-xla", "TensorFlow, tf.function through XLA", "tensorflow", "tensorflow", "xla", caches=False
            ),
            Competitor(
                "tensorflow-session", "TensorFlow 1, Session", "tensorflow", "tensorflow", "session", caches=False
            ),
        )
    }
)
"""The peers by name."""
