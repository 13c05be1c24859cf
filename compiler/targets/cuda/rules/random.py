"""Random numbers on the GPU: each element draws its own."""

from __future__ import annotations

from collections.abc import Callable

from graphnn.compiler.targets.cuda.instance import Instance
from graphnn.compiler.targets.cuda.rules.macros import flat
from graphnn.ops import dtypes
from graphnn.ops.node import Node
from graphnn.ops.op import Op
from graphnn.ops.random import Random, RandomNormal, RandomUniform
from graphnn.ops.spec import product

_SUFFIXES = {dtypes.float16: "f16", dtypes.bfloat16: "bf16", dtypes.float32: "f32", dtypes.float64: "f64"}


def _random(node: Node, max_batch: int) -> list[Instance]:
    op = node.op
    assert isinstance(op, Random)
    if isinstance(op, RandomUniform):
        draw = f"gn_uniform_{_SUFFIXES[op.dtype]}"
    else:
        draw = "gn_normal_f64" if op.dtype is dtypes.float64 else "gn_normal_f32"
    defines = {"DRAW": draw, "SEED": f"{op.seed}u", "STREAM": f"{op.stream}u"}
    return [flat("random.cu", defines, product(node.shape))]


RULES: dict[type[Op], Callable[[Node, int], list[Instance] | None]] = {RandomUniform: _random, RandomNormal: _random}
