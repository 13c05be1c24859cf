/* Arithmetic for kernels: scalar functions, 16-bit floats, random numbers, and reductions over threads.

   Comes after device.h in every program, and before shared_math.h, which has the scalar functions that C has, too. NaN
   and infinity behave as in NumPy, as long as the compiler is not told to be fast and loose with them (no
   --use_fast_math). Names with an f are of float, those without of double. */

#ifndef INT64_MIN
#define INT64_MIN (-9223372036854775807LL - 1)
#endif

#ifndef GN_EMULATOR
/* Printed expressions serve several types: they round a number that a float has not, and ask whether an unsigned one is
   negative. */
#pragma nv_diag_suppress 1046, 186
#endif

#define GN_SCALAR GN_DEVICE

/* Bits. */

GN_DEVICE uint32_t gn_bits_of(float value) { return __float_as_uint(value); }
GN_DEVICE float gn_float_of(uint32_t bits) { return __uint_as_float(bits); }
GN_DEVICE double gn_double_of(uint64_t bits) { return __longlong_as_double((long long)bits); }

/* The table of scalar expressions calls these by the names that gcc has for them. */
#ifndef GN_EMULATOR
#define __builtin_inff() gn_float_of(0x7f800000u)
#define __builtin_inf() gn_double_of(0x7ff0000000000000ull)
#define __builtin_nanf(text) gn_float_of(0x7fc00000u)
#define __builtin_nan(text) gn_double_of(0x7ff8000000000000ull)
#define __builtin_fabsf fabsf
#define __builtin_fabs fabs
#define __builtin_sqrtf sqrtf
#define __builtin_sqrt sqrt
#define __builtin_floorf floorf
#define __builtin_floor floor
#define __builtin_ceilf ceilf
#define __builtin_ceil ceil
#define __builtin_rintf rintf
#define __builtin_rint rint
#define __builtin_truncf truncf
#define __builtin_trunc trunc
#define __builtin_copysignf copysignf
#define __builtin_copysign copysign
#endif

/* Functions of float, which CUDA has. */

#define GN_OF_FLOAT(name) \
    GN_SCALAR float gn_##name##f(float x) { return name##f(x); }

GN_OF_FLOAT(exp)
GN_OF_FLOAT(log)
GN_OF_FLOAT(expm1)
GN_OF_FLOAT(log1p)
GN_OF_FLOAT(erf)
GN_OF_FLOAT(tanh)
GN_OF_FLOAT(sinh)
GN_OF_FLOAT(cosh)
GN_OF_FLOAT(asinh)
GN_OF_FLOAT(acosh)
GN_OF_FLOAT(atanh)
GN_OF_FLOAT(sin)
GN_OF_FLOAT(cos)
GN_OF_FLOAT(tan)
GN_OF_FLOAT(asin)
GN_OF_FLOAT(acos)
GN_OF_FLOAT(atan)

#undef GN_OF_FLOAT

GN_SCALAR float gn_atan2f(float y, float x) { return atan2f(y, x); }

/* e^x / (1 + e^x) where e^-x would be large. */
GN_SCALAR double gn_sigmoid(double x)
{
    const double small = exp(-fabs(x));
    return (x < 0 ? small : 1) / (1 + small);
}

/* 16-bit floats: bit patterns in memory, float in arithmetic. Rounded to the nearest, ties to even; NaN stays NaN. */

GN_DEVICE float gn_load_bf16(uint16_t bits) { return gn_float_of((uint32_t)bits << 16); }

GN_DEVICE uint16_t gn_store_bf16(float value)
{
    const uint32_t bits = gn_bits_of(value);
    const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    return (uint16_t)(value != value ? bits >> 16 | 0x40 : rounded);
}

#ifdef GN_EMULATOR
GN_DEVICE float gn_load_f16(uint16_t bits)
{
    const uint32_t sign = (uint32_t)(bits & 0x8000) << 16, rest = bits & 0x7fff;
    if (rest >= 0x7c00) return gn_float_of(sign | 0x7f800000 | (rest & 0x3ff) << 13);
    /* Read as a float, the exponent is too small by 112; a product puts it right for subnormal numbers as well. */
    return gn_float_of(sign | gn_bits_of(gn_float_of(rest << 13) * 0x1p112f));
}

GN_DEVICE uint16_t gn_store_f16(float value)
{
    const uint32_t bits = gn_bits_of(value), sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
    if (size > 0x7f800000) return 0x7fff;
    if (size >= 0x477ff000) return (uint16_t)(sign | 0x7c00); /* from halfway between 65504 and 65536 */
    /* Below the normal numbers their spacing is 2^-24, that of floats from 0.5 to 1: a sum rounds. */
    if (size < 0x38800000) return (uint16_t)(sign | (gn_bits_of(gn_float_of(size) + 0.5f) - 0x3f000000));
    return (uint16_t)(sign | (size - 0x38000000 + 0xfff + (size >> 13 & 1)) >> 13);
}
#else
GN_DEVICE float gn_load_f16(uint16_t bits)
{
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

GN_DEVICE uint16_t gn_store_f16(float value)
{
    uint16_t bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}
#endif

/* The float nearest to a number may lie halfway between two of 16 bits where the number does not. So the bits that a
   float has no place for are kept as one, its last: that tells on which side of the middle the number is. */
GN_DEVICE uint16_t gn_store_f16(double value)
{
    const uint64_t bits = (uint64_t)__double_as_longlong(value), below = ((uint64_t)1 << 29) - 1;
    return gn_store_f16((float)gn_double_of((bits & ~below) | (uint64_t)((bits & below) != 0) << 29));
}

/* Random numbers: Philox4x32-10 (Salmon et al., SC 2011), the words of one element of one draw; shared_math.h makes numbers
   of them. */

struct gn_random_words {
    uint32_t w0, w1, w2, w3;
};

GN_DEVICE gn_random_words gn_philox(uint64_t index, uint64_t step, uint32_t seed, uint32_t stream)
{
    uint32_t c0 = (uint32_t)index, c1 = (uint32_t)(index >> 32), c2 = (uint32_t)step, c3 = (uint32_t)(step >> 32);
#pragma unroll
    for (int round = 0; round < 10; round++) {
        const uint64_t product0 = (uint64_t)0xD2511F53u * c0, product1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(product1 >> 32) ^ c1 ^ seed;
        c1 = (uint32_t)product1;
        c2 = (uint32_t)(product0 >> 32) ^ c3 ^ stream;
        c3 = (uint32_t)product0;
        seed += 0x9E3779B9u;
        stream += 0xBB67AE85u;
    }
    return {c0, c1, c2, c3};
}

/* Reductions over threads, for types of 4 and 8 bytes. All threads take part and all get the result, which is the same
   to the last bit in every run: who is combined with whom is fixed.

   gn_group_…<WIDTH>   over WIDTH neighbouring threads of a warp (a power of two)
   gn_warp_…           over a warp
   gn_block_…          over a block of whole warps; `shared` is room for 32 values, free again afterwards */

template <typename T>
GN_DEVICE T gn_added(T a, T b) { return a + b; }
template <typename T>
GN_DEVICE T gn_multiplied(T a, T b) { return a * b; }
/* NaN is the largest, and the smallest. */
template <typename T>
GN_DEVICE T gn_larger(T a, T b) { return a >= b || a != a ? a : b; }
template <typename T>
GN_DEVICE T gn_smaller(T a, T b) { return a <= b || a != a ? a : b; }

#define GN_REDUCTION(name, combined)                                                                        \
    template <int WIDTH, typename T>                                                                        \
    GN_DEVICE T gn_group_##name(T value)                                                                    \
    {                                                                                                       \
        for (int distance = WIDTH / 2; distance > 0; distance /= 2)                                         \
            value = combined(value, gn_shuffle_xor(value, distance));                                       \
        return value;                                                                                       \
    }                                                                                                       \
    template <typename T>                                                                                   \
    GN_DEVICE T gn_warp_##name(T value) { return gn_group_##name<32>(value); }                              \
    template <typename T>                                                                                   \
    GN_DEVICE T gn_block_##name(T value, T *shared)                                                         \
    {                                                                                                       \
        value = gn_warp_##name(value);                                                                      \
        if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;                                        \
        gn_barrier();                                                                                       \
        T result = shared[0];                                                                               \
        for (unsigned warp = 1; warp < blockDim.x / 32; warp++) result = combined(result, shared[warp]);    \
        gn_barrier();                                                                                       \
        return result;                                                                                      \
    }

GN_REDUCTION(sum, gn_added)
GN_REDUCTION(product, gn_multiplied)
GN_REDUCTION(max, gn_larger)
GN_REDUCTION(min, gn_smaller)

#undef GN_REDUCTION

/* Whether a value at a place is to be preferred to another as the largest: NaN to numbers, the first among equals. */
template <typename T, typename P>
GN_DEVICE bool gn_precedes(T value, P place, T other, P other_place)
{
    const bool value_is_nan = value != value, other_is_nan = other != other;
    const bool same = value == other || (value_is_nan && other_is_nan);
    return same ? place < other_place : value_is_nan || value > other;
}

/* Put the largest value and its place where each thread has its own. */
template <int WIDTH, typename T, typename P>
GN_DEVICE void gn_group_argmax(T &value, P &place)
{
    for (int distance = WIDTH / 2; distance > 0; distance /= 2) {
        const T other = gn_shuffle_xor(value, distance);
        const P other_place = gn_shuffle_xor(place, distance);
        if (gn_precedes(other, other_place, value, place)) {
            value = other;
            place = other_place;
        }
    }
}

template <typename T, typename P>
GN_DEVICE void gn_warp_argmax(T &value, P &place) { gn_group_argmax<32>(value, place); }

template <typename T, typename P>
GN_DEVICE void gn_block_argmax(T &value, P &place, T *shared, P *shared_places)
{
    gn_warp_argmax(value, place);
    if (threadIdx.x % 32 == 0) {
        shared[threadIdx.x / 32] = value;
        shared_places[threadIdx.x / 32] = place;
    }
    gn_barrier();
    for (unsigned warp = 0; warp < blockDim.x / 32; warp++) {
        if (gn_precedes(shared[warp], shared_places[warp], value, place)) {
            value = shared[warp];
            place = shared_places[warp];
        }
    }
    gn_barrier();
}
