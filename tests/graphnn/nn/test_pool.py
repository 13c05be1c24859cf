from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphnn import nn
from graphnn.ops.errors import ShapeError

CompareWithTorch = Callable[[nn.Layer, Any, np.ndarray], None]


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((2, 3, 7, 6)).astype(np.float32)


@pytest.mark.parametrize(
    ("kernel_size", "options"),
    [
        (2, {}),
        ((3, 2), {"stride": 1}),
        (3, {"stride": (2, 1), "padding": (1, 0)}),
        (2, {"dilation": 2, "stride": 1}),
        (2, {"ceil_mode": True}),
    ],
)
def test_max_pooling_is_that_of_pytorch(
    torch: Any, assert_same_as_torch: CompareWithTorch, images: np.ndarray, kernel_size: Any, options: dict[str, Any]
) -> None:
    assert_same_as_torch(nn.MaxPool2d(kernel_size, **options), torch.nn.MaxPool2d(kernel_size, **options), images)


@pytest.mark.parametrize(
    ("kernel_size", "options"),
    [
        (2, {}),
        ((3, 2), {"stride": 1}),
        (3, {"stride": (2, 1), "padding": (1, 0)}),
        (3, {"padding": 1, "count_include_pad": False}),
        (2, {"ceil_mode": True}),
    ],
)
def test_average_pooling_is_that_of_pytorch(
    torch: Any, assert_same_as_torch: CompareWithTorch, images: np.ndarray, kernel_size: Any, options: dict[str, Any]
) -> None:
    assert_same_as_torch(nn.AvgPool2d(kernel_size, **options), torch.nn.AvgPool2d(kernel_size, **options), images)


@pytest.mark.parametrize(
    ("kernel_size", "options"),
    [(2, {}), (3, {"stride": 2, "padding": 1}), (2, {"dilation": 2, "stride": 1}), (2, {"ceil_mode": True})],
)
def test_max_pooling_of_sequences_is_that_of_pytorch(
    torch: Any, assert_same_as_torch: CompareWithTorch, images: np.ndarray, kernel_size: int, options: dict[str, Any]
) -> None:
    x = images[:, :, :, 0]
    assert_same_as_torch(nn.MaxPool1d(kernel_size, **options), torch.nn.MaxPool1d(kernel_size, **options), x)


@pytest.mark.parametrize(
    ("kernel_size", "options"),
    [
        (2, {}),
        (3, {"stride": 2, "padding": 1}),
        (3, {"padding": 1, "count_include_pad": False}),
        (2, {"ceil_mode": True}),
    ],
)
def test_average_pooling_of_sequences_is_that_of_pytorch(
    torch: Any, assert_same_as_torch: CompareWithTorch, images: np.ndarray, kernel_size: int, options: dict[str, Any]
) -> None:
    x = images[:, :, :, 0]
    assert_same_as_torch(nn.AvgPool1d(kernel_size, **options), torch.nn.AvgPool1d(kernel_size, **options), x)


def test_pooling_layers_of_sequences_pass_all_they_were_given() -> None:
    assert repr(nn.MaxPool1d(3, 2, (1, 0), 2, True)) == (
        "MaxPool1d(kernel_size=3, stride=2, padding=(1, 0), dilation=2, ceil_mode=True)"
    )
    assert repr(nn.AvgPool1d(3, None, 1, True, False)) == (
        "AvgPool1d(kernel_size=3, stride=3, padding=(1, 1), ceil_mode=True, count_include_pad=False)"
    )


@pytest.mark.parametrize("layer", [nn.MaxPool1d, nn.AvgPool1d, nn.MaxPool2d, nn.AvgPool2d])
def test_pairs_are_checked_when_the_layer_is_made(layer: Any) -> None:
    with pytest.raises(ShapeError, match=rf"{layer.__name__}: the kernel_size is 'two'(.|\n)*at: .*test_pool\.py"):
        layer("two")
