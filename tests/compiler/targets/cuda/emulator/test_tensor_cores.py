"""Products of the tensor cores: fragments as PTX lays them out, products as NumPy has them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

Emulate = Callable[..., list[np.ndarray]]

PRODUCT = """
GN_KERNEL(32) product(const uint32_t *x0, const uint32_t *x1, float *y0, int n)
{
    const int lane = threadIdx.x;
    for (int i = 0; i < n; i++) NAME(y0 + lane * 4, x0 + lane * 4, x1 + lane * 2);
}
"""

ROUND = """
GN_KERNEL(32) round(const float *x0, uint32_t *y0, int n)
{
    for (int i = threadIdx.x; i < n; i += 32) y0[i] = gn_to_tf32(x0[i]);
}
"""

LANE = np.arange(32)[:, None]
GROUP, MEMBER = LANE // 4, LANE % 4


def bits_of(values: np.ndarray, kind: str) -> np.ndarray:
    """Return numbers of few bits as the bits of a 16-bit type, or of tf32."""
    if kind == "f16":
        return values.astype(np.float16).view(np.uint16).astype(np.uint32)
    bits = values.astype(np.float32).view(np.uint32)
    return bits >> 16 if kind == "bf16" else bits


def beside(base: np.ndarray, *offsets: int) -> np.ndarray:
    return base + np.array(offsets)


def fragments(a: np.ndarray, b: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the registers of each lane: the tables of PTX for mma.m16n8k8 (tf32) and mma.m16n8k16 (the others)."""
    if kind == "tf32":
        of_a = a[beside(GROUP, 0, 8, 0, 8), beside(MEMBER, 0, 0, 4, 4)]
        of_b = b[beside(MEMBER, 0, 4), beside(GROUP, 0, 0)]
        return bits_of(of_a, kind), bits_of(of_b, kind)
    of_a = a[beside(GROUP, 0, 0, 8, 8, 0, 0, 8, 8), beside(2 * MEMBER, 0, 1, 0, 1, 8, 9, 8, 9)]
    of_b = b[beside(2 * MEMBER, 0, 1, 8, 9), beside(GROUP, 0, 0, 0, 0)]
    return packed(bits_of(of_a, kind)), packed(bits_of(of_b, kind))


def packed(bits: np.ndarray) -> np.ndarray:
    """Return two neighbours in one register, the first in the lower half."""
    return np.ascontiguousarray(bits[:, ::2] | bits[:, 1::2] << 16)


@pytest.mark.parametrize("order", ["forward", "reverse", 4])
@pytest.mark.parametrize("kind", ["tf32", "bf16", "f16"])
def test_products_of_tiles(emulate: Emulate, kind: str, order: str) -> None:
    depth = 8 if kind == "tf32" else 16
    generator = np.random.default_rng(depth)
    a = generator.integers(-127, 128, (16, depth)) / 64  # few enough bits for all types, and for exact sums
    b = generator.integers(-127, 128, (depth, 8)) / 64
    d = generator.integers(-127, 128, (16, 8)) / 64
    rows, columns = beside(GROUP, 0, 0, 8, 8), beside(2 * MEMBER, 0, 1, 0, 1)
    text = PRODUCT.replace("NAME", f"gn_mma_{kind}")
    *_, out = emulate(text, "product", *fragments(a, b, kind), d[rows, columns].astype(np.float32), n=3, order=order)
    np.testing.assert_array_equal(out, (d + 3 * (a @ b))[rows, columns])


@pytest.mark.parametrize("value", [6e-8, -6.1e-5, 65504, np.inf, np.nan, -0.0, 1 / 3])
def test_every_kind_of_half_is_read(emulate: Emulate, value: float) -> None:
    a, b = np.zeros((16, 16)), np.zeros((16, 8))
    a[:, 0], b[0] = value, 1
    text = PRODUCT.replace("NAME", "gn_mma_f16")
    *_, out = emulate(text, "product", *fragments(a, b, "f16"), np.zeros((32, 4), np.float32), n=1)
    np.testing.assert_array_equal(out, np.full((32, 4), np.float32(np.float16(value))))


def test_what_was_not_rounded_to_tf32_is_cut(emulate: Emulate) -> None:
    a, b = np.zeros((16, 8)), np.zeros((8, 8))
    a[:, 0], b[0] = 1 + 2.0**-10 + 2.0**-11, -1 - 2.0**-12
    text = PRODUCT.replace("NAME", "gn_mma_tf32")
    *_, out = emulate(text, "product", *fragments(a, b, "tf32"), np.zeros((32, 4), np.float32), n=1)
    np.testing.assert_array_equal(out, np.full((32, 4), -1 - 2.0**-10))


def test_rounding_to_tf32(emulate: Emulate) -> None:
    step = 2.0**-10
    pairs = [
        *((1 + step / 2, 1 + step), (-1 - step / 2, -1 - step), (1 + 1.5 * step, 1 + 2 * step)),  # ties: away from zero
        *((1 + 0.499 * step, 1), (1 + 0.501 * step, 1 + step), (2 - 2.0**-23, 2), (1 / 3, 1365 / 4096)),
        *((0.0, 0.0), (-0.0, -0.0), (np.inf, np.inf), (-np.inf, -np.inf), (np.nan, np.nan), (3.4028235e38, np.inf)),
        *((2.0**-149, 0.0), (2.0**-137, 2.0**-136), (2.0**-136, 2.0**-136)),  # subnormal numbers have fewer bits
    ]
    x, expected = (np.array(column, np.float32) for column in zip(*pairs, strict=True))
    _, out = emulate(ROUND, "round", x, np.zeros(len(x), np.uint32), n=len(x))
    np.testing.assert_array_equal(out.view(np.float32), expected)
    np.testing.assert_array_equal(np.signbit(out.view(np.float32)[:-3]), np.signbit(expected[:-3]))
    finite = np.isfinite(expected)
    assert not (out[finite] & 0x1FFF).any()
