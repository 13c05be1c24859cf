"""Softmax, its logarithm and losses of class numbers on the GPU: threads share the lines along an axis."""

from __future__ import annotations

from collections.abc import Callable

from graphnn.compiler.targets.cuda.elements import extent_text
from graphnn.compiler.targets.cuda.instance import Blocks, Instance
from graphnn.compiler.targets.cuda.rules.macros import (
    ONE,
    THREADS,
    WARP,
    Lines,
    element,
    power_of_two,
    working_type,
)
from graphnn.ops import dtypes
from graphnn.ops.loss import CrossEntropy, NegativeLogLikelihood
from graphnn.ops.node import Node
from graphnn.ops.norm import LogSoftmax, Normalization, Softmax
from graphnn.ops.op import Op
from graphnn.ops.spec import product

LENGTH_OF_A_WARP = 1024
"""Up to this length a warp works on a line, beyond it a block."""

HELD = 16
"""In how many registers a thread of a block keeps elements."""

LARGEST_BLOCK = 1024
FEW_LINES = 2048
"""With fewer lines, a thread for each would leave most of a large card idle."""


def losses_and_softmax(losses: Node, max_batch: int) -> list[Instance]:
    """Return the kernel that gives a `CrossEntropy` and the `Softmax` of its logits along their last axis.

    Parameters
    ----------
    losses : Node
        The cross-entropy. STORE takes the losses, STORE1 the softmax.
    max_batch : int
        The largest batch.
    """
    return [_instance(losses, -1, max_batch, softmax=True, loss=True)]


def _team(lines: Lines, max_batch: int, dtype: dtypes.DType) -> tuple[int, int, int]:
    """Return the threads of a line, those of a block, and how many elements a thread keeps."""
    count, length, inner = lines.bind(max_batch)
    static = isinstance(lines.length, int)
    if inner > 1 and (count >= FEW_LINES or length <= WARP):
        # Neighbouring lines lie side by side, so that a thread for each reads them in step.
        return 1, THREADS, length if static and length <= WARP else 0
    if length <= LENGTH_OF_A_WARP:
        team = min(WARP, power_of_two(length))
        return team, THREADS // 2, -(-length // team) if static else 0
    registers = max(4, dtype.itemsize) // 4  # of a number
    most = LARGEST_BLOCK // registers  # 64 registers a thread are left with 1024 threads
    threads = min(most, max(THREADS, power_of_two(-(-length * registers // HELD))))
    return threads, threads, -(-length // threads) if static and length * registers <= threads * HELD else 0


def _instance(
    node: Node, axis: int, max_batch: int, *, softmax: bool = False, log_softmax: bool = False, loss: bool = False
) -> Instance:
    given = node.inputs[0]
    lines = Lines.of(given.shape, axis)
    team, threads, held = _team(lines, max_batch, given.dtype)
    wanted = {"SOFTMAX": softmax, "LOG_SOFTMAX": log_softmax, "LOSS": loss}
    defines = {
        **{name: str(int(want)) for name, want in wanted.items()},
        "HELD": str(held),
        "VALUE": working_type(given.dtype),
        **element(node, 0),
    }
    return lines.instance("rows.cu", defines, team, threads)


def _normalization(node: Node, max_batch: int) -> list[Instance]:
    op = node.op
    assert isinstance(op, Normalization)
    is_softmax = isinstance(op, Softmax)
    return [_instance(node, op.axis, max_batch, softmax=is_softmax, log_softmax=not is_softmax)]


def _cross_entropy(node: Node, max_batch: int) -> list[Instance]:
    return [_instance(node, -1, max_batch, loss=True)]


def _negative_log_likelihood(node: Node, max_batch: int) -> list[Instance]:
    scores = node.inputs[0]
    count = product(node.shape)
    defines = {
        "LINES": extent_text(count),
        "LENGTH": extent_text(scores.shape[-1]),
        "VALUE": working_type(scores.dtype),
        "THREADS": str(THREADS),
        **element(node, 0),
    }
    return [Instance("negative_log_likelihood.cu", defines, (Blocks(count, THREADS), ONE, ONE), THREADS)]


RULES: dict[type[Op], Callable[[Node, int], list[Instance] | None]] = {
    Softmax: _normalization,
    LogSoftmax: _normalization,
    CrossEntropy: _cross_entropy,
    NegativeLogLikelihood: _negative_log_likelihood,
}
