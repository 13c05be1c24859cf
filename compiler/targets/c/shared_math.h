/* Functions of numbers that C and CUDA have in common. Names with an f are of float, those without of double.

   They come after a target's own, scalar_math.h or device_math.h, which has how a function is declared (GN_SCALAR),
   gn_float_of, gn_expf, gn_logf, gn_log1pf and gn_cosf, and gcc's builtins where the compiler is another one. Nothing is
   included from here: NVRTC has no folder to look in. */
#ifndef GRAPHNN_SHARED_MATH_H
#define GRAPHNN_SHARED_MATH_H

/* Functions of double, which both platforms have. */

#define GN_OF_DOUBLE(name) \
    GN_SCALAR double gn_##name(double x) { return name(x); }

GN_OF_DOUBLE(exp)
GN_OF_DOUBLE(log)
GN_OF_DOUBLE(expm1)
GN_OF_DOUBLE(log1p)
GN_OF_DOUBLE(erf)
GN_OF_DOUBLE(tanh)
GN_OF_DOUBLE(sinh)
GN_OF_DOUBLE(cosh)
GN_OF_DOUBLE(asinh)
GN_OF_DOUBLE(acosh)
GN_OF_DOUBLE(atanh)
GN_OF_DOUBLE(sin)
GN_OF_DOUBLE(cos)
GN_OF_DOUBLE(tan)
GN_OF_DOUBLE(asin)
GN_OF_DOUBLE(acos)
GN_OF_DOUBLE(atan)

#undef GN_OF_DOUBLE

GN_SCALAR double gn_atan2(double y, double x) { return atan2(y, x); }
GN_SCALAR double gn_fmod(double a, double b) { return fmod(a, b); }
GN_SCALAR float gn_fmodf(float a, float b) { return fmodf(a, b); }

/* 1 / (1 + e^-x), or e^x / (1 + e^x) where e^-x would be large. */
GN_SCALAR float gn_sigmoidf(float x)
{
    const float small = gn_expf(-__builtin_fabsf(x));
    return (x < 0 ? small : 1) / (1 + small);
}

#define GN_OF_FLOATING(type, suffix)                                                           \
    /* log(1 + e^x) = max(x, 0) + log(1 + e^-|x|). */                                          \
    GN_SCALAR type gn_softplus##suffix(type x)                                                 \
    {                                                                                          \
        const type rest = gn_log1p##suffix(gn_exp##suffix(-__builtin_fabs##suffix(x)));        \
        return (x < 0 ? 0 : x) + rest;                                                         \
    }                                                                                          \
    /* What a division leaves, with the sign of b. */                                          \
    GN_SCALAR type gn_remainder##suffix(type a, type b)                                        \
    {                                                                                          \
        const type rest = gn_fmod##suffix(a, b);                                               \
        return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;                           \
    }                                                                                          \
    /* The quotient that belongs to it: a - rest is a multiple of b but for rounding. */       \
    GN_SCALAR type gn_floor_divide##suffix(type a, type b)                                     \
    {                                                                                          \
        const type rest = gn_fmod##suffix(a, b);                                               \
        const type quotient = (a - rest) / b;                                                  \
        const type lower = rest != 0 && (rest < 0) != (b < 0) ? quotient - 1 : quotient;       \
        const type whole = __builtin_floor##suffix(lower);                                     \
        return b == 0 ? a / b : whole + (lower - whole > (type)0.5);                           \
    }

GN_OF_FLOATING(float, f)
GN_OF_FLOATING(double, )

#undef GN_OF_FLOATING

/* Of integers: 0 where b is 0, as NumPy; the lowest number divided by -1 wraps to itself, having no negative. */
GN_SCALAR int64_t gn_integer_fmod(int64_t a, int64_t b) { return b == 0 || b == -1 ? 0 : a % b; }

GN_SCALAR int64_t gn_integer_remainder(int64_t a, int64_t b)
{
    const int64_t rest = gn_integer_fmod(a, b);
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

GN_SCALAR int64_t gn_integer_floor_divide(int64_t a, int64_t b)
{
    if (b == 0) return 0;
    if (b == -1) return (int64_t)(0 - (uint64_t)a);
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

/* Products wrap as NumPy's; a negative exponent gives 0 unless the base is 1 or -1. */
GN_SCALAR int64_t gn_integer_power(int64_t base, int64_t exponent)
{
    if (exponent < 0) return base == 1 ? 1 : base == -1 ? (exponent % 2 ? -1 : 1) : 0;
    uint64_t result = 1, factor = (uint64_t)base;
    for (; exponent; exponent >>= 1, factor *= factor)
        if (exponent & 1) result *= factor;
    return (int64_t)result;
}

/* Random numbers, from the words of 32 bits that Philox makes of an element; float serves the 16-bit types, too. */

/* The first bits of a word, or two, as a fraction of 1, rounded down. */
GN_SCALAR float gn_fractionf(uint32_t word, int bits)
{
    return (float)(int32_t)(word >> (32 - bits)) * gn_float_of((uint32_t)(127 - bits) << 23);
}
GN_SCALAR double gn_fraction(uint32_t high, uint32_t low)
{
    return (double)(int64_t)(((uint64_t)high << 32 | low) >> 11) * 0x1p-53;
}

/* Uniform in [0, 1): multiples of 2^-p, p being the bits of a type's significand. */
GN_SCALAR float gn_uniform_f16(uint32_t w0) { return gn_fractionf(w0, 11); }
GN_SCALAR float gn_uniform_bf16(uint32_t w0) { return gn_fractionf(w0, 8); }
GN_SCALAR float gn_uniform_f32(uint32_t w0) { return gn_fractionf(w0, 24); }
GN_SCALAR double gn_uniform_f64(uint32_t w0, uint32_t w1) { return gn_fraction(w0, w1); }

/* Of mean 0 and standard deviation 1, by the method of Box and Muller. */
GN_SCALAR float gn_normal_f32(uint32_t w0, uint32_t w1)
{
    const float u1 = (float)w0 * 0x1p-32f + 0x1p-33f;
    return __builtin_sqrtf(-2 * gn_logf(u1)) * gn_cosf(0x1.921fb6p+2f * gn_fractionf(w1, 24));
}
GN_SCALAR double gn_normal_f64(uint32_t w0, uint32_t w1, uint32_t w2, uint32_t w3)
{
    const double u1 = (double)((uint64_t)w0 << 32 | w1) * 0x1p-64 + 0x1p-65;
    return __builtin_sqrt(-2 * gn_log(u1)) * gn_cos(0x1.921fb54442d18p+2 * gn_fraction(w2, w3));
}

#endif
