/* Functions of one number, or two, that have no instruction of their own; shared_math.h has those that CUDA has, too.

   Those of float have neither branches nor calls, so that a loop over neighbouring numbers becomes vector instructions;
   what is left of a division (gn_fmodf and what needs it) is the exception, since its exact value takes a loop. They are
   exact to 2 units in the last place, some to 5 (tests/compiler/targets/c/test_scalar_math.py has the list), subnormal
   numbers included, and give what libm gives for zeros, infinities and NaN. Those of double are libm's. */
#ifndef GRAPHNN_SCALAR_MATH_H
#define GRAPHNN_SCALAR_MATH_H

#include <math.h>
#include <stdint.h>

/* Always inlined: a call that is left over would keep its loop from becoming vector instructions. */
#define GN_SCALAR static inline __attribute__((always_inline))

GN_SCALAR uint32_t gn_bits_of(float value)
{
    uint32_t bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    return bits;
}

GN_SCALAR float gn_float_of(uint32_t bits)
{
    float value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}

/* ln 2 in two parts, the first short enough that its product with an exponent is exact. */
#define GN_LN2_HIGH 0x1.62e4p-1f
#define GN_LN2_LOW 0x1.7f7d1cp-20f

/* x = n · ln 2 + rest with |rest| ≤ ln 2 / 2. Adding 1.5 · 2²³ rounds to an integer and leaves it in the low bits. */
GN_SCALAR uint32_t gn_split_exponent(float x, float *rest)
{
    const float shift = 0x1.8p23f;
    const float shifted = x * 0x1.715476p+0f + shift;
    const float n = shifted - shift;
    *rest = (x - n * GN_LN2_HIGH) - n * GN_LN2_LOW;
    return gn_bits_of(shifted) - gn_bits_of(shift);
}

/* 2ⁿ for n from -126 to 127, as a two's complement. */
GN_SCALAR float gn_power_of_two(uint32_t n) { return gn_float_of((n + 127) << 23); }

/* 2ᵏ · eˣ for k of 0 or -1. */
GN_SCALAR float gn_scaled_expf(float x, int32_t k)
{
    /* Beyond these bounds the result is 0 or infinity; what matters is that n stays small. NaN passes. */
    const float below = x < -104.0f ? -104.0f : x;
    const float bounded = below > 90.0f ? 90.0f : below;
    float r;
    const uint32_t n = gn_split_exponent(bounded, &r) + (uint32_t)k;
    const float high = 0x1.5558f8p-5f + r * (0x1.123b04p-7f + r * 0x1.6a2256p-10f);
    const float result = 1 + (r + r * r * (0x1.fffffcp-2f + r * (0x1.55549p-3f + r * high)));
    /* 2ⁿ itself may be too large or too small for a float: half of it at a time. */
    const uint32_t half = (uint32_t)((int32_t)n >> 1);
    return result * gn_power_of_two(half) * gn_power_of_two(n - half);
}

GN_SCALAR float gn_expf(float x) { return gn_scaled_expf(x, 0); }

GN_SCALAR float gn_logf(float x)
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

/* log(u) for u = 1 + x, put right for what the sum dropped. */
GN_SCALAR float gn_log1pf(float x)
{
    const float u = 1 + x;
    const float result = gn_logf(u) + (x - (u - 1)) / u;
    const float edge = u == 0 || x == __builtin_inff() ? gn_logf(u) : result;
    return x == 0 ? x : edge;
}

/* 2ⁿ · (eʳ - 1) + (2ⁿ - 1) with x = n · ln 2 + r; all by 2ⁿ⁻¹, since 2ⁿ itself may be too large for a float. */
GN_SCALAR float gn_expm1f(float x)
{
    const float below = x < -20.0f ? -20.0f : x; /* up to there the result is -1 */
    const float bounded = below > 89.0f ? 89.0f : below;
    float r;
    const float half = gn_power_of_two(gn_split_exponent(bounded, &r) - 1);
    const float high = 0x1.555486p-5f + r * (0x1.12290ep-7f + r * 0x1.6d9a84p-10f);
    const float less_one = r + r * r * (0.5f + r * (0x1.5554aep-3f + r * high));
    const float result = 2 * (half * less_one + (half - 0.5f));
    return __builtin_fabsf(x) < 0x1p-30f ? x : result;
}

/* (e²ˣ - 1) / (e²ˣ + 1), where e²ˣ - 1 is computed without cancellation. */
GN_SCALAR float gn_tanhf(float x)
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

/* Up to 0.9 a polynomial in x², from there on 1 - e^-p(|x|). */
GN_SCALAR float gn_erff(float x)
{
    const float z = x * x;
    const float top = -0x1.b6a24ep-6f + z * (0x1.47c716p-8f + z * -0x1.3c6124p-11f);
    const float near = 0x1.06eba6p-3f + z * (-0x1.8126eep-2f + z * (0x1.ce1bfp-4f + z * top));
    const float size = __builtin_fabsf(x);
    const float t = size > 4.0f ? 4.0f : size; /* from there on the result is 1 */
    const float high = -0x1.6d9cf4p-6f + t * (0x1.91cd5ep-9f + t * -0x1.9fb3e2p-13f);
    const float exponent = 0x1.5d10e2p-13f + t * (0x1.20b752p+0f + t * (0x1.4621bap-1f + t * (0x1.aa7326p-4f + t * high)));
    const float far = 1 - gn_expf(-exponent);
    return size < 0.9f ? x + x * near : __builtin_copysignf(far, x);
}

/* Hyperbolic functions. */

GN_SCALAR float gn_coshf(float x)
{
    const float half = gn_scaled_expf(__builtin_fabsf(x), -1);
    return half + 0.25f / half;
}

GN_SCALAR float gn_sinhf(float x)
{
    const float size = __builtin_fabsf(x);
    const float half = gn_scaled_expf(size, -1);
    const float far = __builtin_copysignf(half - 0.25f / half, x);
    const float z = x * x;
    const float odd = 0x1.555556p-3f + z * (0x1.1110ep-7f + z * (0x1.a022bcp-13f + z * 0x1.756c1ep-19f));
    return size < 1 ? x + x * z * odd : far;
}

/* log(2|x|) where x² would be too large for a float. */
GN_SCALAR float gn_asinhf(float x)
{
    const float size = __builtin_fabsf(x);
    const int large = size > 0x1p30f;
    const float z = large ? 0 : size * size;
    const float result = gn_log1pf(size + z / (1 + __builtin_sqrtf(1 + z))) + (large ? 0x1.62e43p-1f : 0);
    return __builtin_copysignf(result, x);
}

GN_SCALAR float gn_acoshf(float x)
{
    const float t = x - 1;
    const int large = x > 0x1p30f;
    const float result = gn_log1pf(t + (large ? 0 : __builtin_sqrtf(t * (t + 2)))) + (large ? 0x1.62e43p-1f : 0);
    return x < 1 ? __builtin_nanf("") : result;
}

GN_SCALAR float gn_atanhf(float x)
{
    const float size = __builtin_fabsf(x);
    return __builtin_copysignf(0.5f * gn_log1pf(2 * size / (1 - size)), x);
}

/* Circular functions. */

/* π as a float, and what is missing there. */
#define GN_PI 0x1.921fb6p+1f
#define GN_PI_LOW -0x1.777a5cp-24f

/* |x| = (whole + (negative ? -1 : 1) · rest) quarter turns modulo four, the rest as an angle from 0 to π/4.

   x is an integer of 24 bits times a power of two. Of 1/2π the 96 bits that matter for this power are multiplied by the
   integer; whole turns drop out by overflow. So large numbers are as exact as small ones. */
typedef struct {
    uint32_t whole;
    uint32_t negative; /* all bits, or none */
    float rest;
} gn_quarters;

GN_SCALAR gn_quarters gn_split_turns(float x)
{
    static const uint32_t inverse[8] = {0,          0x28be60db, 0x9391054a, 0x7f09d5f4,
                                        0x7d4d3770, 0x36d8a566, 0x4f10e410, 0x7f9458ea};
    const float size = __builtin_fabsf(x);
    const uint32_t bits = gn_bits_of(size);
    const uint32_t from_half = bits < 0x3f000000 ? 0x3f000000 : bits;
    const uint32_t integer = (from_half & 0x7fffff) | 0x800000;
    const uint32_t place = (from_half >> 23) - 118, word = place >> 5, shift = place & 31;
    const uint32_t a = inverse[word], b = inverse[word + 1], c = inverse[word + 2], d = inverse[word + 3];
    const uint32_t top = a << shift | b >> 1 >> (31 - shift);
    const uint32_t middle = b << shift | c >> 1 >> (31 - shift);
    const uint32_t bottom = c << shift | d >> 1 >> (31 - shift);
    const uint64_t low = (uint64_t)integer * middle + ((uint64_t)integer * bottom >> 32);
    const uint32_t turns = integer * top + (uint32_t)(low >> 32);
    gn_quarters result;
    const uint32_t whole = turns + 0x20000000;
    const uint32_t beyond = turns - (whole & 0xc0000000);
    const uint32_t negative = -(beyond >> 31);
    const uint32_t high = beyond ^ negative, rest = (uint32_t)low ^ negative;
    /* 62 bits to a float, each part exact. */
    const float small = (float)(int32_t)(high & 0xff) + (float)(int32_t)(rest >> 8) * 0x1p-24f;
    const float sum = (float)(int32_t)(high & 0xffffff00) + small;
    const float angle = sum * 0x1.921fb6p-30f + sum * -0x1.777a5cp-55f;
    const int within = size < GN_PI / 4;
    result.whole = within ? 0 : whole >> 30;
    result.negative = within ? 0 : negative;
    result.rest = within ? size : angle;
    return result;
}

/* The sine and cosine of an angle from 0 to π/4. */
GN_SCALAR float gn_small_sinf(float x)
{
    const float z = x * x;
    return x + x * z * (-0x1.555556p-3f + z * (0x1.111174p-7f + z * (-0x1.a05956p-13f + z * 0x1.7c2d52p-19f)));
}

GN_SCALAR float gn_small_cosf(float x)
{
    const float z = x * x;
    return 1 + z * (-0.5f + z * (0x1.55554ap-5f + z * (-0x1.6c0c28p-10f + z * 0x1.99e80cp-16f)));
}

/* The value with its sign turned where the lowest bit is 1. */
GN_SCALAR float gn_turned(float value, uint32_t bit) { return gn_float_of(gn_bits_of(value) ^ bit << 31); }

/* The value, or NaN where x is infinite or NaN. */
GN_SCALAR float gn_if_finite(float x, float value)
{
    return __builtin_fabsf(x) < __builtin_inff() ? value : __builtin_nanf("");
}

GN_SCALAR float gn_sinf(float x)
{
    const gn_quarters q = gn_split_turns(x);
    const float sine = gn_turned(gn_small_sinf(q.rest), q.negative & 1), cosine = gn_small_cosf(q.rest);
    const uint32_t sign = (q.whole >> 1) ^ (gn_bits_of(x) >> 31);
    return gn_if_finite(x, gn_turned(q.whole & 1 ? cosine : sine, sign));
}

GN_SCALAR float gn_cosf(float x)
{
    const gn_quarters q = gn_split_turns(x);
    const float sine = gn_turned(gn_small_sinf(q.rest), ~q.negative & 1), cosine = gn_small_cosf(q.rest);
    return gn_if_finite(x, gn_turned(q.whole & 1 ? sine : cosine, q.whole >> 1));
}

GN_SCALAR float gn_tanf(float x)
{
    const gn_quarters q = gn_split_turns(x);
    const float sine = gn_small_sinf(q.rest), cosine = gn_small_cosf(q.rest);
    const int odd = q.whole & 1;
    const float quotient = (odd ? cosine : sine) / (odd ? sine : cosine);
    return gn_if_finite(x, gn_turned(quotient, (q.negative ^ q.whole ^ gn_bits_of(x) >> 31) & 1));
}

/* x + x³ · p(x²) ≈ asin(x) for x up to 1/2. */
GN_SCALAR float gn_small_asinf(float x)
{
    const float z = x * x;
    const float high = 0x1.747bb8p-5f + z * (0x1.8c3e5p-6f + z * 0x1.595c6p-5f);
    return x + x * z * (0x1.5555c8p-3f + z * (0x1.330204p-4f + z * high));
}

/* Beyond 1/2 by the half angle: asin(x) = π/2 - 2 · asin(√((1 - x) / 2)). */
GN_SCALAR float gn_asinf(float x)
{
    const float size = __builtin_fabsf(x);
    const int near = size < 0.5f;
    const float angle = gn_small_asinf(near ? size : __builtin_sqrtf(0.5f - 0.5f * size));
    return __builtin_copysignf(near ? angle : GN_PI / 2 - (2 * angle - GN_PI_LOW / 2), x);
}

GN_SCALAR float gn_acosf(float x)
{
    const float size = __builtin_fabsf(x);
    const int near = size < 0.5f;
    const float angle = gn_small_asinf(near ? x : __builtin_sqrtf(0.5f - 0.5f * size));
    const float below = GN_PI - (2 * angle - GN_PI_LOW);
    return near ? GN_PI / 2 - (angle - GN_PI_LOW / 2) : x < 0 ? below : 2 * angle;
}

/* The angle from 0 to π/2 whose tangent is a / b. What the tangent is off 0, 1 or infinity, the nearest, is one quotient. */
GN_SCALAR float gn_acute_anglef(float a, float b)
{
    const float difference = a - b, sum = a + b;
    const int middling = a > 0x1.a8279ap-2f * b, steep = a > 0x1.3504f4p+1f * b; /* √2 - 1 and √2 + 1 */
    const float above_middling = middling ? difference : a, below_middling = middling ? sum : b;
    const float above = steep ? -b : above_middling, below = steep ? a : below_middling;
    const float t = above / (below == 0 ? 1 : below);
    const float z = t * t;
    const float high = -0x1.23b9a4p-3f + z * (0x1.b22494p-4f + z * -0x1.f2e778p-5f);
    const float rest = t + t * z * (-0x1.55554ap-2f + z * (0x1.9991e2p-3f + z * high));
    const float octants = (float)(middling + steep);
    return octants * (GN_PI / 4) + (octants * (GN_PI_LOW / 4) + rest);
}

GN_SCALAR float gn_atanf(float x)
{
    return __builtin_copysignf(gn_acute_anglef(__builtin_fabsf(x), 1), x);
}

/* The angle of the point (x, y). */
GN_SCALAR float gn_atan2f(float y, float x)
{
    const float a = __builtin_fabsf(y), b = __builtin_fabsf(x);
    /* Beside an infinite number a finite one is 0; else a + b has to stay finite. */
    const float infinity = __builtin_inff(), larger = a < b ? b : a;
    const float finite_scale = larger > 0x1p125f ? 0.25f : 1, scale = larger == infinity ? 0 : finite_scale;
    const float opposite = a == infinity ? 1 : a * scale, adjacent = b == infinity ? 1 : b * scale;
    const float angle = gn_acute_anglef(opposite, adjacent);
    const float obtuse = GN_PI - (angle - GN_PI_LOW);
    return __builtin_copysignf(gn_bits_of(x) >> 31 ? obtuse : angle, y);
}

/* Where exp overflows to infinity, the quotient is the right 0. */
GN_SCALAR double gn_sigmoid(double x) { return 1 / (1 + exp(-x)); }

#include "shared_math.h"

#endif
