"""device.h, compiled by nvcc for each architecture, and by the emulator: the same kernel uses all of it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Emulate = Callable[..., list[np.ndarray]]

EVERYTHING = """
#define KERNEL_NAME GN_JOIN(every, GN_JOIN(_, thing))
GN_DEVICE float twice(float value) { return 2 * value; }
GN_KERNEL(64) KERNEL_NAME(const float *x0, const uint32_t *x1, float *y0, uint8_t *y1, int n)
{
    GN_SHARED(float, tile, 64);
    GN_SHARED(double, wide, 32);
    const int thread = threadIdx.x + blockIdx.x * blockDim.x, lane = thread % 32;
    tile[threadIdx.x] = thread < n ? x0[thread] : 0;
    gn_barrier();
    float value = twice(tile[63 - threadIdx.x]);
    value += gn_shuffle(value, 3) + gn_shuffle_down(value, 1) + gn_shuffle_xor(value, 16);
    const int64_t whole = gn_shuffle((int64_t)thread, 0);
    const uint64_t bits = gn_shuffle_xor((uint64_t)thread, 1);
    if (threadIdx.x < 32) wide[lane] = gn_shuffle_down((double)value, 2);
    gn_warp_barrier();
    const uint32_t votes = gn_ballot(value > 0) + gn_any(value > 1) + gn_all(value > 2);
    float d[4] = {(float)(threadIdx.x < 32 ? wide[lane] : 0), value, (float)whole, (float)bits};
    uint32_t a[4], b[2];
    for (int i = 0; i < 4; i++) a[i] = x1[thread * 4 + i];
    for (int i = 0; i < 2; i++) b[i] = x1[thread * 2 + i];
    gn_mma_f16(d, a, b);
#if GN_HAS_TF32
    gn_mma_bf16(d, a, b);
    a[0] = gn_to_tf32(value);
    gn_mma_tf32(d, a, b);
#endif
    const float4 all = make_float4(d[0], d[1], d[2], d[3]);
    if (thread < n) ((float4 *)y0)[thread] = all;
    if (thread < n) y1[thread] = (uint8_t)votes;
}
"""

PLAIN = ("int8_t", "uint8_t", "int16_t", "uint16_t", "int32_t", "uint32_t", "int64_t", "uint64_t")


@pytest.mark.skipif(not shutil.which("nvcc"), reason="nvcc is not installed")
@pytest.mark.parametrize("architecture", [75, 80, 86, 90])
def test_nvcc_compiles_all_of_it(device_header: str, tmp_path: Path, architecture: int) -> None:
    source = tmp_path / "everything.cu"
    source.write_text(device_header + EVERYTHING)
    done = subprocess.run(
        [
            "nvcc",
            "-cubin",
            f"-arch=sm_{architecture}",
            "-Werror=all-warnings",
            "-Xptxas=-v",
            "-o",
            "x.cubin",
            source.name,
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "0 bytes spill stores" in done.stderr


def test_the_kernel_uses_all_of_it(device_header: str) -> None:
    names = set(re.findall(r"\bgn_\w+(?=[(,])", device_header)) | set(
        re.findall(r"#define (GN_[A-Z0-9_]+)", device_header)
    )
    inner = {"GN_JOIN_EXPANDED", "GN_ALL_LANES", "GN_MMA"}
    assert len(names) > 15
    assert not [name for name in names - inner if not re.search(rf"\b{name}\b", EVERYTHING)]


def test_the_emulator_has_all_of_it(emulate: Emulate) -> None:
    x, pattern = np.arange(64, dtype=np.float32), np.zeros(256, np.uint32)
    _, _, y, votes = emulate(
        EVERYTHING, "every_thing", x, pattern, np.zeros((64, 4), np.float32), np.zeros(64, np.uint8), n=60, threads=64
    )
    first = 2 * np.where(np.arange(64) < 60, x, 0)[::-1]
    lanes = np.arange(64) % 32
    warp = np.arange(64) - lanes
    value = first + first[warp + 3] + first[warp + np.where(lanes < 31, lanes + 1, lanes)] + first[warp + (lanes ^ 16)]
    np.testing.assert_array_equal(y[:60, 1], value[:60])
    np.testing.assert_array_equal(y[:60, 2], warp[:60])
    np.testing.assert_array_equal(y[:60, 3], (np.arange(64) ^ 1)[:60])
    np.testing.assert_array_equal(y[:32, 0], value[np.where(lanes < 30, lanes + 2, lanes)][:32])
    for part in (slice(0, 32), slice(32, 64)):
        ballot = sum(1 << lane for lane in range(32) if value[part][lane] > 0)
        expected = (ballot + (value[part] > 1).any() + (value[part] > 2).all()) % 256
        assert (votes[part][:28] == expected).all()


def test_the_types_have_their_sizes(emulate: Emulate) -> None:
    sizes = ", ".join(f"sizeof({kind})" for kind in (*PLAIN, "float2", "float4", "int4", "uchar4", "double2"))
    body = "for (int i = 0; i < n; i++) y0[i] = all[i];"
    text = f"GN_KERNEL(32) sizes(int *y0, int n) {{ const int all[] = {{{sizes}}}; {body} }}"
    (out,) = emulate(text, "sizes", np.zeros(13, np.int32), n=13)
    assert out.tolist() == [1, 1, 2, 2, 4, 4, 8, 8, 8, 16, 16, 4, 16]
