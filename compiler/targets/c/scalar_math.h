/* Functions of one number that have no instruction of their own.

   Those of float have neither branches nor calls, so that a loop over neighbouring numbers becomes vector instructions.
   They are exact to 2 units in the last place (gn_tanhf and gn_sigmoidf to 4), subnormal numbers included, and give what
   libm gives for zeros, infinities and NaN. Those of double are libm's. */
#ifndef GRAPHNN_SCALAR_MATH_H
#define GRAPHNN_SCALAR_MATH_H

#include <math.h>
#include <stdint.h>

/* Always inlined: a call that is left over would keep its loop from becoming vector instructions. */
#define GN_INLINE static inline __attribute__((always_inline))

GN_INLINE uint32_t gn_bits_of(float value)
{
    uint32_t bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    return bits;
}

GN_INLINE float gn_float_of(uint32_t bits)
{
    float value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}

/* ln 2 in two parts, the first short enough that its product with an exponent is exact. */
#define GN_LN2_HIGH 0x1.62e4p-1f
#define GN_LN2_LOW 0x1.7f7d1cp-20f

/* x = n · ln 2 + rest with |rest| ≤ ln 2 / 2. Adding 1.5 · 2²³ rounds to an integer and leaves it in the low bits. */
GN_INLINE uint32_t gn_split_exponent(float x, float *rest)
{
    const float shift = 0x1.8p23f;
    const float shifted = x * 0x1.715476p+0f + shift;
    const float n = shifted - shift;
    *rest = (x - n * GN_LN2_HIGH) - n * GN_LN2_LOW;
    return gn_bits_of(shifted) - gn_bits_of(shift);
}

/* 2ⁿ for n from -126 to 127, as a two's complement. */
GN_INLINE float gn_power_of_two(uint32_t n) { return gn_float_of((n + 127) << 23); }

GN_INLINE float gn_expf(float x)
{
    /* Beyond these bounds the result is 0 or infinity; what matters is that n stays small. NaN passes. */
    const float below = x < -104.0f ? -104.0f : x;
    const float bounded = below > 89.0f ? 89.0f : below;
    float r;
    const uint32_t n = gn_split_exponent(bounded, &r);
    const float high = 0x1.5558f8p-5f + r * (0x1.123b04p-7f + r * 0x1.6a2256p-10f);
    const float result = 1 + (r + r * r * (0x1.fffffcp-2f + r * (0x1.55549p-3f + r * high)));
    /* 2ⁿ itself may be too large or too small for a float: half of it at a time. */
    const uint32_t half = (uint32_t)((int32_t)n >> 1);
    return result * gn_power_of_two(half) * gn_power_of_two(n - half);
}

GN_INLINE float gn_logf(float x)
{
    const int subnormal = x < 0x1p-126f;
    const uint32_t root_half = 0x3f3504f3; /* the bits of √½: x = 2ⁿ · m with m from √½ to √2 */
    const uint32_t bits = gn_bits_of(subnormal ? x * 0x1p23f : x) - root_half;
    const float n = (float)(((int32_t)bits >> 23) - (subnormal ? 23 : 0));
    const float f = gn_float_of((bits & 0x7fffff) + root_half) - 1;
    const float top = -0x1.0d8544p-3f + f * (0x1.055b72p-3f + f * -0x1.38b588p-4f);
    const float high = 0x1.99a008p-3f + f * (-0x1.547244p-3f + f * (0x1.22da1cp-3f + f * top));
    const float tail = f * f * f * (0x1.555554p-2f + f * (-0x1.000226p-2f + f * high));
    const float result = n * GN_LN2_HIGH + (f + (n * GN_LN2_LOW + (tail - 0.5f * f * f)));
    const float positive = x < __builtin_inff() ? result : x; /* infinity and NaN stay */
    const float defined = x < 0 ? __builtin_nanf("") : positive;
    return x == 0 ? -__builtin_inff() : defined;
}

/* (e²ˣ - 1) / (e²ˣ + 1), where e²ˣ - 1 is computed without cancellation. */
GN_INLINE float gn_tanhf(float x)
{
    const float twice = 2 * __builtin_fabsf(x);
    const float bounded = twice > 20.0f ? 20.0f : twice; /* from there on the result is 1 */
    float r;
    const float power = gn_power_of_two(gn_split_exponent(bounded, &r));
    const float high = 0x1.555486p-5f + r * (0x1.12290ep-7f + r * 0x1.6d9a84p-10f);
    const float less_one = r + r * r * (0.5f + r * (0x1.5554aep-3f + r * high));
    const float quotient = (power * less_one + (power - 1)) / (power * less_one + (power + 1));
    return __builtin_copysignf(quotient, x);
}

/* 1 / (1 + e⁻ˣ), or eˣ / (1 + eˣ) where e⁻ˣ would be large. */
GN_INLINE float gn_sigmoidf(float x)
{
    const float small = gn_expf(-__builtin_fabsf(x));
    return (x < 0 ? small : 1) / (1 + small);
}

static inline double gn_exp(double x) { return exp(x); }
static inline double gn_log(double x) { return log(x); }
static inline double gn_tanh(double x) { return tanh(x); }
/* Where exp overflows to infinity, the quotient is the right 0. */
static inline double gn_sigmoid(double x) { return 1 / (1 + gn_exp(-x)); }

/* As NumPy: wrapping products; a negative exponent gives 0 unless the base is 1 or -1. */
static inline int64_t gn_integer_power(int64_t base, int64_t exponent)
{
    if (exponent < 0) return base == 1 ? 1 : base == -1 ? (exponent % 2 ? -1 : 1) : 0;
    uint64_t result = 1, factor = (uint64_t)base;
    for (; exponent; exponent >>= 1, factor *= factor)
        if (exponent & 1) result *= factor;
    return (int64_t)result;
}

#endif
