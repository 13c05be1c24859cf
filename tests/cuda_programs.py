"""Programs of the tests of the machine that is a GPU, on a stand-in for CuPy and on a GPU."""

from __future__ import annotations

ADD = """
/* kernel: add - Add */
extern "C" __global__ void add(const float *x0, const float *x1, float *y0, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n)
        y0[i] = x0[i] + x1[i];
}
/* kernel: count - Assign */
extern "C" __global__ void count(int *y0, int n)
{
    if (threadIdx.x == 0)
        y0[0] += n;
}
"""

BROKEN = """int device;
/* kernel: k0_relu - Relu */
int fine;
/* kernel: k1_add - Add */
extern "C" __global__ void k1_add(float *y0, int n) { y0[0] = nonsense; }
/* kernel: k2_mul - Mul */
"""
