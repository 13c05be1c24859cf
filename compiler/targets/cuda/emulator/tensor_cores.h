/* Products of tiles that a warp holds together, by PTX's definition of mma.sync. */
#ifndef GRAPHNN_TENSOR_CORES_H
#define GRAPHNN_TENSOR_CORES_H

#include <math.h>
#include <string.h>

#include "runtime.h"

static float gn_float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float gn_from_f16(uint32_t bits)
{
    const uint32_t exponent = bits >> 10 & 31, fraction = bits & 1023;
    float size;
    if (exponent == 0)
        size = (float)fraction * 0x1p-24f;
    else if (exponent == 31)
        size = gn_float_of_bits(0x7f800000 | fraction << 13);
    else
        size = gn_float_of_bits((exponent + 112) << 23 | fraction << 13);
    return bits & 0x8000 ? -size : size;
}

/* One element of a register: a tensor core ignores the last 13 bits of a number for tf32. */
static float gn_element(gn_wait_kind kind, uint32_t bits, int half)
{
    if (kind == GN_WAIT_TF32) return gn_float_of_bits(bits & 0xffffe000);
    const uint32_t own = half ? bits >> 16 : bits & 0xffff;
    return kind == GN_WAIT_BF16 ? gn_float_of_bits(own << 16) : gn_from_f16(own);
}

/* d += a · b for the 32 lanes of a warp. Sums are exact but for one rounding: a tensor core's own order is not told. */
static void gn_multiply(gn_wait_kind kind, gn_wait *const lanes[32])
{
    const int packed = kind == GN_WAIT_TF32 ? 1 : 2; /* elements of a register */
    const int depth = 8 * packed;
    double a[16][16], b[16][8];
    for (int lane = 0; lane < 32; lane++)
        for (int half = 0; half < packed; half++) {
            const int group = lane / 4, first = lane % 4 * packed + half;
            for (int r = 0; r < 4; r++)
                a[group + r % 2 * 8][first + r / 2 * 4 * packed] = gn_element(kind, lanes[lane]->a[r], half);
            for (int r = 0; r < 2; r++) b[first + r * 4 * packed][group] = gn_element(kind, lanes[lane]->b[r], half);
        }
    for (int lane = 0; lane < 32; lane++)
        for (int r = 0; r < 4; r++) {
            const int row = lane / 4 + r / 2 * 8, column = lane % 4 * 2 + r % 2;
            double sum = 0;
            for (int k = 0; k < depth; k++) sum += a[row][k] * b[k][column];
            lanes[lane]->d[r] = (float)(lanes[lane]->d[r] + sum);
        }
}

#endif
