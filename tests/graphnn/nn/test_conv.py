import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from error_form import refused
from graphnn import nn
from graphnn.ops import Graph, placeholder
from graphnn.ops.errors import GraphError, ShapeError

CompareWithTorch = Callable[[nn.Layer, Any, np.ndarray], None]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias": False},
        {"stride": 2, "padding": 1},
        {"stride": (2, 1), "padding": (0, 2), "dilation": (1, 2)},
        {"groups": 2},
        {"groups": 4, "padding": "same"},
        {"padding": "valid"},
    ],
)
@pytest.mark.parametrize("kernel_size", [3, (2, 3)])
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
def test_convolution_is_that_of_pytorch(
    torch: Any, assert_same_as_torch: CompareWithTorch, kernel_size: Any, options: dict[str, Any]
) -> None:
    x = np.random.default_rng(0).standard_normal((2, 4, 7, 6)).astype(np.float32)

    assert_same_as_torch(nn.Conv2d(4, 8, kernel_size, **options), torch.nn.Conv2d(4, 8, kernel_size, **options), x)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias": False},
        {"stride": 2, "padding": 1},
        {"stride": 3, "padding": 2, "dilation": 2},
        {"groups": 2},
        {"padding": "same"},
        {"padding": "valid"},
    ],
)
def test_convolution_of_sequences_is_that_of_pytorch(
    torch: Any, assert_same_as_torch: CompareWithTorch, options: dict[str, Any]
) -> None:
    x = np.random.default_rng(0).standard_normal((2, 4, 9)).astype(np.float32)

    assert_same_as_torch(nn.Conv1d(4, 6, 3, **options), torch.nn.Conv1d(4, 6, 3, **options), x)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias": False},
        {"stride": 2, "padding": 1},
        {"stride": (2, 3), "padding": (0, 1), "output_padding": (1, 2)},
        {"groups": 2, "dilation": (1, 2)},
    ],
)
@pytest.mark.parametrize("kernel_size", [4, (2, 3)])
def test_transposed_convolution_is_that_of_pytorch(
    torch: Any, assert_same_as_torch: CompareWithTorch, kernel_size: Any, options: dict[str, Any]
) -> None:
    x = np.random.default_rng(0).standard_normal((2, 4, 3, 5)).astype(np.float32)

    assert_same_as_torch(
        nn.ConvTranspose2d(4, 6, kernel_size, **options), torch.nn.ConvTranspose2d(4, 6, kernel_size, **options), x
    )


def test_positional_arguments_stand_in_the_order_of_pytorch(torch: Any, assert_same_as_torch: CompareWithTorch) -> None:
    x = np.random.default_rng(0).standard_normal((2, 4, 5, 5)).astype(np.float32)
    given: tuple[Any, ...] = (4, 6, 3, 2, 1, 1, 2, False, 2)

    assert_same_as_torch(nn.ConvTranspose2d(*given), torch.nn.ConvTranspose2d(*given), x)


def test_layers_show_what_they_were_made_with() -> None:
    assert repr(nn.Conv1d(4, 6, 3, padding="same")) == (
        "Conv1d(in_channels=4, out_channels=6, kernel_size=3, stride=1, "
        "padding='same', dilation=1, groups=1, bias=True)"
    )
    assert "output_padding=(1, 1), groups=2" in repr(nn.ConvTranspose2d(4, 6, 3, 2, output_padding=1, groups=2))


@pytest.mark.parametrize(
    ("layer", "shape", "fan_in"),
    [(nn.Conv1d(8, 300, 5, groups=2), (300, 4, 5), 20), (nn.ConvTranspose2d(60, 8, 5, groups=2), (60, 4, 5, 5), 100)],
)
def test_default_weights_of_the_other_layers(layer: nn.Layer, shape: tuple[int, ...], fan_in: int) -> None:
    with Graph(seed=3) as graph:
        layer(placeholder("x", (None, layer.in_channels, *(9,) * (len(shape) - 2))))  # type: ignore[attr-defined]
        variables = layer.variables()
    weight, bias = (graph.get_value(variables[name]) for name in ("weight", "bias"))

    assert weight.shape == shape
    bound = 1 / math.sqrt(fan_in)
    assert 0.95 * bound < np.abs(weight).max() <= np.float32(bound)
    assert np.abs(bias).max() <= np.float32(bound)
    assert math.isclose(weight.std(), bound / math.sqrt(3), rel_tol=0.03)


def test_default_weights_fill_the_bounds_of_pytorch() -> None:
    with Graph(seed=3) as graph:
        nn.Conv2d(8, 60, 5, groups=2)(placeholder("x", (None, 8, 5, 5)))

    weight, bias = graph.get_value("conv2d.weight"), graph.get_value("conv2d.bias")

    assert weight.shape == (60, 4, 5, 5)
    assert 0.095 < np.abs(weight).max() <= np.float32(0.1)  # 1 / sqrt(4 · 5 · 5)
    assert 0.09 < np.abs(bias).max() <= np.float32(0.1)
    assert math.isclose(weight.std(), 0.1 / math.sqrt(3), rel_tol=0.02)


def test_initialisers_can_be_chosen() -> None:
    with Graph() as graph:
        layer = nn.Conv2d(1, 2, 3, weight_init=nn.init.zeros, bias_init=nn.init.constant(2.0))
        layer(placeholder("x", (None, 1, 3, 3)))

    assert not graph.get_value("conv2d.weight").any()
    assert np.array_equal(graph.get_value("conv2d.bias"), [2, 2])


@pytest.mark.parametrize(
    ("channels", "shape", "hint"),
    [
        (3, (None, 4, 5, 5), r"Conv2d\(in_channels=4, …\) would take it"),
        (3, (None, 5, 5, 3), r"channels come first: \.transpose\(0, 3, 1, 2\)"),
        (1, (None, 5, 5), r"\.expand_dims\(1\)"),
        (3, (None, 75), r"reshape the input to \(N, C, H, W\)"),
    ],
)
def test_a_wrong_shape_is_named_with_the_layer(channels: int, shape: tuple[int | None, ...], hint: str) -> None:
    with Graph():
        x = placeholder("x", shape)
        with pytest.raises(ShapeError, match=hint) as raised:
            nn.Sequential({"conv1": nn.Conv2d(channels, 2, 3)})(x)

    error = raised.value
    assert error.message == "Conv2d 'conv1' can't take this input"
    assert error.expected == f"(N, C, H, W) with C = in_channels = {channels}"
    assert error.actual == f"{x.spec} ('x')"
    assert "test_conv.py" in error.where


@pytest.mark.parametrize(
    ("layer", "shape", "expected", "hint"),
    [
        (nn.Conv1d(3, 2, 3), (None, 4, 9), "(N, C, L)", "Conv1d(in_channels=4, …) would take it"),
        (nn.Conv1d(3, 2, 3), (None, 9, 3), "(N, C, L)", ".transpose(0, 2, 1) turns (N, L, C) into (N, C, L)"),
        (nn.Conv1d(1, 2, 3), (None, 9), "(N, C, L)", ".expand_dims(1)"),
        (nn.Conv1d(3, 2, 3), (None, 3, 9, 9), "(N, C, L)", "reshape the input to (N, C, L)"),
        (nn.ConvTranspose2d(3, 2, 3), (None, 4, 5, 5), "(N, C, H, W)", "ConvTranspose2d(in_channels=4, …)"),
    ],
)
def test_wrong_shapes_of_the_other_layers(layer: nn.Layer, shape: Any, expected: str, hint: str) -> None:
    with Graph():
        x = placeholder("x", shape)
        with refused(ShapeError, "can't take this input", at="layer(x)", expected=expected, hint=hint):
            layer(x)


def test_groups_divide_the_channels() -> None:
    with pytest.raises(GraphError, match=r"Conv2d: 2 groups do not divide the channels\n.*\n.*in_channels = 3"):
        nn.Conv2d(3, 4, 3, groups=2)


@pytest.mark.parametrize(
    ("arguments", "options", "name"),
    [
        ((0, 1, 3), {}, "in_channels"),
        ((1, 0, 3), {}, "out_channels"),
        ((1, 1, 0), {}, "kernel_size"),
        ((1, 1, (3, -1)), {}, "kernel_size"),
        ((1, 1, 3), {"groups": 0}, "groups"),
    ],
)
def test_sizes_are_positive(arguments: Any, options: dict[str, Any], name: str) -> None:
    with pytest.raises(GraphError, match=rf"Conv2d: {name} is .*\n  expected: an integer of 1 or more"):
        nn.Conv2d(*arguments, **options)


def test_numbers_of_the_other_layers_are_checked_when_they_are_made() -> None:
    with pytest.raises(ShapeError, match=r"Conv1d: the stride is \(2,\)(.|\n)*at: .*test_conv\.py"):
        nn.Conv1d(1, 1, 3, stride=(2,))  # type: ignore[arg-type]
    with pytest.raises(GraphError, match="Conv1d: kernel_size is 0"):
        nn.Conv1d(1, 1, 0)
    with pytest.raises(ShapeError, match="ConvTranspose2d: the output_padding is 'one'"):
        nn.ConvTranspose2d(1, 1, 3, output_padding="one")  # type: ignore[arg-type]
    with pytest.raises(GraphError, match="ConvTranspose2d: 2 groups do not divide the channels"):
        nn.ConvTranspose2d(2, 3, 3, groups=2)


def test_pairs_are_checked_when_the_layer_is_made() -> None:
    with pytest.raises(ShapeError, match=r"Conv2d: the stride is \(1, 2, 3\)(.|\n)*at: .*test_conv\.py"):
        nn.Conv2d(1, 1, 3, stride=(1, 2, 3))
