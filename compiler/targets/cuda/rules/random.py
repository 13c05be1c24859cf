"""Random numbers on the GPU: each element draws its own."""

from __future__ import annotations

from collections.abc import Callable

from graphnn.compiler.targets.c.random import number_text
from graphnn.compiler.targets.cuda.instance import Instance
from graphnn.compiler.targets.cuda.rules.macros import flat
from graphnn.ops.node import Node
from graphnn.ops.op import Op
from graphnn.ops.random import Random, RandomNormal, RandomUniform
from graphnn.ops.spec import product


def _random(node: Node, max_batch: int) -> list[Instance]:
    op = node.op
    assert isinstance(op, Random)
    defines = {"NUMBER": number_text(op, "words.w{}"), "SEED": f"{op.seed}u", "STREAM": f"{op.stream}u"}
    return [flat("random.cu", defines, product(node.shape))]


RULES: dict[type[Op], Callable[[Node, int], list[Instance] | None]] = {RandomUniform: _random, RandomNormal: _random}
