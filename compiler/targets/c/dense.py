"""Print a layer of one block of examples.

A layer is ``y[o] = Σ weight[o, i] · x[i]`` over vectors of examples: each number of the weight multiplies a whole
vector. The gradient by its input is one as well, with the weight read the other way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from graphnn.compiler.targets.c.register_tiles import Parts
from graphnn.compiler.targets.c.text import indented, linear, loop

TILE = 12
"""Results of a layer that are summed at a time: they fit into 16 registers and hide an addition's latency."""

UNROLLED_INPUTS = 16
"""Up to so many inputs a layer's loop over them is unrolled: leaving a short loop costs as much as running it."""

_SETS_BYTES = 4096  # addresses so far apart share a set of a first-level cache,
_WAYS = 6  # which holds so many lines of the weight beside what else is read


@dataclass(frozen=True)
class Dense:
    """A layer: `outputs` sums over `inputs` values; the weight's element (o, i) is ``o · by_output + i · by_input``."""

    inputs: int
    outputs: int
    by_output: int
    by_input: int


def print_dense(layer: Dense, name: str) -> str:
    """Print ``name(x, weight, y)``: one block of a layer."""
    at_most = _WAYS if layer.by_output * 4 % _SETS_BYTES == 0 else TILE
    lines = ["const vec *in = (const vec *)x;", "vec *restrict out = (vec *)y;"]
    for run in Parts.of(layer.outputs, at_most).runs:
        lines += loop("o", run, _outputs(layer, run.step))
    signature = f"static void {name}(const float *restrict x, const float *restrict weight, float *restrict y)"
    return "\n".join([signature, "{", *indented(lines), "}"])


def _outputs(layer: Dense, count: int) -> list[str]:
    """Print some neighbouring results. Where they are few, each has several sums, one for every second input, say."""
    chains = min(TILE // count, layer.inputs)
    sums = [
        [f"sum{place}" + (f"_{number}" if chains > 1 else "") for number in range(chains)] for place in range(count)
    ]
    short = layer.inputs <= UNROLLED_INPUTS
    steps = [_step(layer, [each[number] for each in sums], number, short) for number in range(chains)]
    end = layer.inputs - layer.inputs % chains
    rest = list(chain.from_iterable(steps[: layer.inputs - end]))
    return [
        *(f"vec {', '.join(f'{each} = {{0}}' for each in row)};" for row in sums),
        f"const float *w = weight + {linear(('o', layer.by_output))};",
        *([f"#pragma GCC unroll {UNROLLED_INPUTS}"] if short else []),
        *loop("i", range(0, end, chains), chain.from_iterable(steps)),
        *(["{", f"    const int i = {end};", *indented(rest), "}"] if rest else []),
        *(f"out[{linear(('o', 1), constant=place)}] = {' + '.join(row)};" for place, row in enumerate(sums)),
    ]


def _step(layer: Dense, sums: Sequence[str], after: int, short: bool) -> list[str]:
    """Print what the input that is `after` places after i adds to each result."""
    value, given = f"value{after}", f"in[{linear(('i', 1), constant=after)}]"
    lines = [f"const vec {value} = {f'in_register({given})' if short else given};"]
    for place, each in enumerate(sums):
        index = linear(("i", layer.by_input), constant=after * layer.by_input + place * layer.by_output)
        lines.append(f"{each} += w[{index}] * {value};")
    return lines
