"""A convolution whose max-pool takes its values from registers, and whose weight's gradient reads what pools keep."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from cuda_devices import DEVICES, NO_MACHINE, check
from graphnn import ops
from graphnn.compiler.pipeline import Options, compile_graph
from graphnn.compiler.targets.cuda.rules.direct import DirectConvolution, Strip
from graphnn.compiler.targets.cuda.rules.direct_weight import DirectWeightGradient
from graphnn.compiler.targets.cuda.target import CudaTarget

Nodes = tuple[list[gn.Node], list[gn.Node]]


@dataclass(frozen=True)
class Case:
    """A convolution and a pool whose windows lie side by side."""

    size: tuple[int, int] = (8, 9)
    channels: int = 2
    outputs: int = 3
    kernel: tuple[int, int] = (3, 3)
    pool: tuple[int, int] = (2, 2)
    dtype: str = "float32"
    options: dict[str, Any] = field(default_factory=dict)

    def build(self, by_image: bool = True, by_weight: bool = True) -> Nodes:
        """Return the pool and its gradients by the inputs of the convolution, as wanted."""
        groups = self.options.get("groups", 1)
        x = gn.placeholder("x", (None, self.channels, *self.size), self.dtype)
        drawn = np.random.default_rng(5).standard_normal((self.outputs, self.channels // groups, *self.kernel))
        weight = gn.variable("weight", drawn.astype(self.dtype))
        y = ops.max_pool2d(ops.conv2d(x, weight, **self.options), self.pool)
        wanted = [node for node, is_wanted in ((x, by_image), (weight, by_weight)) if is_wanted]
        return [y, *(gn.gradients(ops.tanh(y).sum(), wanted) if wanted else [])], []


CASES = {
    "as in LeNet": Case(size=(10, 10), channels=1, outputs=6, kernel=(5, 5), options={"padding": 2}),
    "rows and columns left over": Case(size=(9, 10), options={"padding": 0}),
    "larger windows": Case(size=(11, 12), pool=(3, 2)),
    "one row": Case(size=(7, 9), pool=(1, 3)),
    "one window": Case(size=(4, 4), pool=(2, 2)),
    "a kernel of one place": Case(kernel=(1, 1), outputs=5),
    "stride": Case(size=(13, 15), options={"stride": (2, 3), "padding": 1}),
    "dilation": Case(size=(12, 13), options={"dilation": (2, 3), "padding": (1, 2)}),
    "stride and dilation": Case(size=(16, 15), options={"stride": (3, 2), "dilation": (2, 1), "padding": (2, 1)}),
    "uneven padding": Case(options={"padding": ((0, 2), (3, 1))}),
    "groups": Case(channels=4, outputs=6, options={"groups": 2}),
    "a group for each channel": Case(channels=5, outputs=5, options={"groups": 5, "padding": 1}),
    "more outputs than a thread takes": Case(channels=3, outputs=11),
    "float64": Case(dtype="float64"),
}


def labels(executor: gn.Executor) -> list[str]:
    return [" ".join(node.op.label for node in step.nodes) for step in executor.plan.steps]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_values_positions_and_gradients(case: Case, device: str) -> None:
    steps = labels(check(case.build, device, (3, 1)))
    assert steps[0].startswith("conv2d max_pool2d_indices max_pool2d")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_weight_gradient_reads_what_the_pool_kept(case: Case, device: str) -> None:
    steps = labels(check(lambda: case.build(by_image=False), device, (3, 1)))
    assert "max_pool2d_gradient conv2d_weight_gradient" in steps
    steps = labels(check(case.build, device, (2,)))
    assert "max_pool2d_gradient" in steps  # which two read


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 2e-5), ("tf32", 2e-3)])
def test_tiles_read_what_the_pool_kept(
    precision: str, tolerance: float, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A product of matrices with terms of more than one step of a tile, and more than one split of them."""
    case = Case(size=(29, 31), channels=3, outputs=6, kernel=(5, 5), options={"padding": 2})
    image = np.random.default_rng(2).standard_normal((5, 3, 29, 31)).astype(np.float32)
    monkeypatch.setattr(DirectWeightGradient, "of", lambda node, unpooled: None)

    def slopes_on(device: str, **options: str) -> np.ndarray:
        with gn.Graph():
            (_, slopes), _ = case.build(by_image=False)
            executor = gn.Executor([slopes], device=device, max_batch=5, **options)  # type: ignore[arg-type]  # as given
        if device != "numpy":
            assert "max_pool2d_gradient conv2d_weight_gradient" in labels(executor)
            assert "TILE_M" in executor.source
        (value,) = executor.run({"x": image})
        return value

    expected, found = slopes_on("numpy"), slopes_on(device, precision=precision)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * abs(expected).max())


@pytest.mark.parametrize("device", DEVICES)
def test_positions_of_large_windows_are_integers_of_32_bits(device: str) -> None:
    case = Case(size=(20, 37), channels=1, outputs=2, pool=(17, 16))
    assert "max_pool2d_gradient conv2d_weight_gradient" in labels(
        check(lambda: case.build(by_image=False), device, (2,))
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("slices", [2, 4])
@pytest.mark.parametrize("name", ["more outputs than a thread takes", "larger windows", "groups", "float64", "stride"])
def test_threads_share_channels(name: str, slices: int, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[Strip] = []

    def choose(form: DirectConvolution, max_batch: int) -> tuple[Strip, float]:
        strips = [strip for strip in form.strips() if strip.slices == min(slices, form.sizes.channels // 2 * 2)]
        used.append(strips[len(used) % len(strips)])
        return used[-1], 0.0

    monkeypatch.setattr(DirectConvolution, "choose", choose)
    case = CASES[name]
    wide = replace(case, channels=5 * case.options.get("groups", 1))
    steps = labels(check(wide.build, device, (3, 1)))
    assert steps[0].startswith("conv2d max_pool2d_indices max_pool2d")
    assert used


@pytest.mark.parametrize("device", DEVICES)
def test_without_gradients_no_position_is_kept(device: str) -> None:
    assert labels(check(lambda: Case().build(by_image=False, by_weight=False), device)) == ["conv2d max_pool2d"]


@pytest.mark.parametrize("device", DEVICES)
def test_what_follows_the_pool_is_stored_by_the_same_kernel(device: str) -> None:
    def build() -> Nodes:
        x, weight = gn.placeholder("x", (None, 1, 6, 6)), gn.constant(np.ones((2, 1, 3, 3), np.float32))
        bias = gn.variable("bias", np.array([[[1.0]], [[-2.0]]], np.float32))
        return [ops.relu(ops.max_pool2d(ops.conv2d(x, weight), 2) + bias)], []

    assert labels(check(build, device)) == ["conv2d max_pool2d add relu"]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf, 0.0])
def test_of_equals_the_first_wins_and_nan_over_numbers(special: float, device: str) -> None:
    """A kernel of one place hands the image on as it is."""
    image = np.zeros((1, 1, 4, 6), np.float32)
    image[0, 0, 1, 1] = image[0, 0, 2, 5] = image[0, 0, 3, 4] = special
    with gn.Graph():
        x = gn.placeholder("x", (None, 1, 4, 6))
        y = ops.max_pool2d(ops.conv2d(x, gn.constant(np.ones((1, 1, 1, 1), np.float32))), 2)
        (slope,) = gn.gradients(y.sum(), [x])
        executor = gn.Executor([y, slope], device=device, max_batch=1)
    assert labels(executor)[0].startswith("conv2d max_pool2d_indices max_pool2d")
    found, slopes = executor.run({x: image})
    winner = [[(0, 0), (0, 0), (0, 0)], [(0, 0), (0, 0), (0, 0)]]
    if special != 0 and special != -np.inf:
        winner[0][0], winner[1][2] = (1, 1), (0, 1)
    expected = np.zeros_like(image)
    for i, line in enumerate(winner):
        for j, (p, q) in enumerate(line):
            expected[0, 0, 2 * i + p, 2 * j + q] = 1
    np.testing.assert_array_equal(slopes, expected)
    won = special if special != -np.inf else 0.0
    np.testing.assert_array_equal(found[0, 0], [[won, 0, 0], [0, 0, won]])


def steps_of(nodes: list[gn.Node], max_batch: int = 8, precision: str = "float32") -> list[str]:
    options = Options(CudaTarget(NO_MACHINE, precision), max_batch, training=False)
    plan = compile_graph(nodes, [], options).plan
    return [" ".join(node.op.label for node in step.nodes) for step in plan.steps]


@pytest.mark.parametrize(
    "pool",
    [
        {"kernel_size": 3, "stride": 2},
        {"kernel_size": 2, "padding": 1},
        {"kernel_size": 2, "dilation": 2},
        {"kernel_size": 2, "ceil_mode": True},
    ],
    ids=str,
)
def test_windows_that_do_not_lie_side_by_side_are_pooled_apart(pool: dict[str, Any]) -> None:
    with gn.Graph():
        x, weight = gn.placeholder("x", (None, 1, 9, 9)), gn.constant(np.ones((2, 1, 3, 3), np.float32))
        y = ops.conv2d(x, weight)
        assert steps_of([ops.max_pool2d(y, **pool)]) == ["conv2d", "max_pool2d"]
        assert steps_of([ops.max_pool2d(y, 2)]) == ["conv2d max_pool2d"]


def test_a_convolution_that_others_need_is_stored() -> None:
    with gn.Graph():
        x, weight = gn.placeholder("x", (None, 1, 8, 8)), gn.constant(np.ones((2, 1, 3, 3), np.float32))
        y = ops.conv2d(x, weight)
        pooled = ops.max_pool2d(y, 2)
        assert "conv2d" in steps_of([pooled, y])
        assert "conv2d" in steps_of([pooled, y.sum()])
        assert "conv2d" in steps_of([pooled, ops.max_pool2d(y, 3)])
        assert "conv2d" not in steps_of([pooled])


def test_sixteen_bits_are_rounded_before_they_compete() -> None:
    with gn.Graph():
        x, weight = gn.placeholder("x", (None, 1, 8, 8), "float16"), gn.constant(np.ones((2, 1, 3, 3), np.float16))
        assert steps_of([ops.max_pool2d(ops.conv2d(x, weight), 2)]) == ["conv2d", "max_pool2d"]


def test_tensor_cores_multiply_many_channels() -> None:
    """Their kernel and one of pools are faster than strips of pixels, which know no tensor cores."""
    with gn.Graph():
        x, weight = gn.placeholder("x", (None, 128, 16, 16)), gn.constant(np.ones((128, 128, 3, 3), np.float32))
        y = ops.max_pool2d(ops.conv2d(x, weight), 2)
        assert steps_of([y], 64, "tf32") == ["conv2d", "max_pool2d"]
        assert steps_of([y], 64) == ["conv2d max_pool2d"]
