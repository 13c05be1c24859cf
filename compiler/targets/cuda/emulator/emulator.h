/* The names of device.h and CUDA's own, for a C++ compiler. It includes next to nothing and declares the mathematical
   functions itself: the standard headers would take longer to compile than most programs. */
#ifndef GRAPHNN_EMULATOR_H
#define GRAPHNN_EMULATOR_H

#include "runtime.h"

static gn_program gn_state;

#define threadIdx (gn_state.thread)
#define blockIdx (gn_state.block)
#define blockDim (gn_state.block_dim)
#define gridDim (gn_state.grid_dim)

#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline

#define GN_KERNEL(threads) static void
#define GN_DEVICE static inline

/* Threads that wait, and warps. */

#define GN_HERE int line = __builtin_LINE()

GN_DEVICE void gn_barrier(GN_HERE)
{
    gn_wait request = {GN_WAIT_BARRIER, "gn_barrier", line, 0, 0, nullptr, nullptr, nullptr};
    gn_state.wait(&request);
}

GN_DEVICE void gn_warp_barrier(GN_HERE)
{
    gn_wait request = {GN_WAIT_WARP_BARRIER, "gn_warp_barrier", line, 0, 0, nullptr, nullptr, nullptr};
    gn_state.wait(&request);
}

/* A lane beyond the warp stands for one's own. */
template <typename T> GN_DEVICE T gn_exchange(T value, unsigned lane, const char *name, int line)
{
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "only values of 4 or 8 bytes");
    gn_wait request = {GN_WAIT_SHUFFLE, name, line, lane < 32 ? lane : threadIdx.x % 32, 0, nullptr, nullptr, nullptr};
    __builtin_memcpy(&request.value, &value, sizeof(T));
    gn_state.wait(&request);
    __builtin_memcpy(&value, &request.value, sizeof(T));
    return value;
}

template <typename T> GN_DEVICE T gn_shuffle(T value, int lane, GN_HERE)
{
    return gn_exchange(value, (unsigned)lane % 32, "gn_shuffle", line);
}

template <typename T> GN_DEVICE T gn_shuffle_down(T value, int delta, GN_HERE)
{
    return gn_exchange(value, threadIdx.x % 32 + (unsigned)delta, "gn_shuffle_down", line);
}

template <typename T> GN_DEVICE T gn_shuffle_xor(T value, int mask, GN_HERE)
{
    return gn_exchange(value, threadIdx.x % 32 ^ (unsigned)mask, "gn_shuffle_xor", line);
}

GN_DEVICE unsigned gn_vote(bool value, const char *name, int line)
{
    gn_wait request = {GN_WAIT_BALLOT, name, line, 0, value, nullptr, nullptr, nullptr};
    gn_state.wait(&request);
    return (unsigned)request.value;
}

GN_DEVICE unsigned gn_ballot(bool value, GN_HERE) { return gn_vote(value, "gn_ballot", line); }
GN_DEVICE bool gn_any(bool value, GN_HERE) { return gn_vote(value, "gn_any", line) != 0; }
GN_DEVICE bool gn_all(bool value, GN_HERE) { return gn_vote(value, "gn_all", line) == 0xffffffffu; }

#define GN_HAS_TF32 1

#define GN_MMA(function, kind)                                                                   \
    GN_DEVICE void function(float d[4], const uint32_t a[4], const uint32_t b[2], GN_HERE)       \
    {                                                                                            \
        gn_wait request = {kind, #function, line, 0, 0, d, a, b};                                \
        gn_state.wait(&request);                                                                 \
    }

GN_MMA(gn_mma_tf32, GN_WAIT_TF32)
GN_MMA(gn_mma_bf16, GN_WAIT_BF16)
GN_MMA(gn_mma_f16, GN_WAIT_F16)

#undef GN_MMA
#undef GN_HERE

/* Shared memory: each array by itself, so that AddressSanitizer sees both of its ends. */

GN_DEVICE void *gn_shared_memory(gn_shared_site *site, size_t bytes)
{
    if (site->block != gn_state.block_number) gn_state.open_site(site, bytes);
    return site->memory;
}

#define GN_SHARED(type, name, count)         \
    static gn_shared_site GN_JOIN(name, _site); \
    type(&name)[count] = *(type(*)[count])gn_shared_memory(&GN_JOIN(name, _site), sizeof(type[count]))

/* How the scheduler calls a kernel: arguments by the types of its parameters. A kernel that has no GN_ENTRY is not even
   compiled. */

template <typename T> static T gn_next_argument(const int64_t *&arguments) { return (T)*arguments++; }

struct gn_call {
    template <typename... P> gn_call(void (*kernel)(P...), P... parameters) { kernel(parameters...); }
};

/* Braces: they alone evaluate from left to right. */
template <typename... P> static void gn_unpack(void (*kernel)(P...), const int64_t *arguments)
{
    gn_call{kernel, gn_next_argument<P>(arguments)...};
}

template <typename... P> static constexpr int gn_count(void (*)(P...)) { return sizeof...(P); }

#define GN_ENTRY(kernel)                                                                         \
    GN_EXPORT void gn_enter_##kernel(const int64_t *arguments) { gn_unpack(kernel, arguments); } \
    GN_EXPORT int gn_parameters_##kernel() { return gn_count(kernel); }                          \
    GN_EXPORT gn_program *gn_state_##kernel() { return &gn_state; }

/* CUDA's vector types. */

#define GN_VECTORS(type, name)                                                                                     \
    struct alignas(2 * sizeof(type)) name##2 {                                                                     \
        type x, y;                                                                                                 \
    };                                                                                                             \
    struct alignas(4 * sizeof(type) < 16 ? 4 * sizeof(type) : 16) name##4 {                                        \
        type x, y, z, w;                                                                                           \
    };                                                                                                             \
    static inline name##2 make_##name##2(type x, type y) { return {x, y}; }                                        \
    static inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }

GN_VECTORS(signed char, char)
GN_VECTORS(unsigned char, uchar)
GN_VECTORS(short, short)
GN_VECTORS(unsigned short, ushort)
GN_VECTORS(int, int)
GN_VECTORS(unsigned, uint)
GN_VECTORS(long long, longlong)
GN_VECTORS(unsigned long long, ulonglong)
GN_VECTORS(float, float)
GN_VECTORS(double, double)

#undef GN_VECTORS

/* CUDA's functions of numbers, each for double, with its f for float, and by its plain name for both. */

#define GN_OF_ONE(name)                         \
    extern "C" double name(double);             \
    extern "C" float name##f(float);            \
    static inline float name(float x) { return name##f(x); }
#define GN_OF_TWO(name)                         \
    extern "C" double name(double, double);     \
    extern "C" float name##f(float, float);     \
    static inline float name(float x, float y) { return name##f(x, y); }

GN_OF_ONE(sqrt) GN_OF_ONE(cbrt) GN_OF_ONE(fabs)
GN_OF_ONE(floor) GN_OF_ONE(ceil) GN_OF_ONE(trunc) GN_OF_ONE(round) GN_OF_ONE(rint) GN_OF_ONE(nearbyint)
GN_OF_ONE(exp) GN_OF_ONE(exp2) GN_OF_ONE(expm1) GN_OF_ONE(log) GN_OF_ONE(log2) GN_OF_ONE(log10) GN_OF_ONE(log1p)
GN_OF_ONE(sin) GN_OF_ONE(cos) GN_OF_ONE(tan) GN_OF_ONE(asin) GN_OF_ONE(acos) GN_OF_ONE(atan)
GN_OF_ONE(sinh) GN_OF_ONE(cosh) GN_OF_ONE(tanh) GN_OF_ONE(asinh) GN_OF_ONE(acosh) GN_OF_ONE(atanh)
GN_OF_ONE(erf) GN_OF_ONE(erfc) GN_OF_ONE(lgamma) GN_OF_ONE(tgamma)
GN_OF_TWO(pow) GN_OF_TWO(fmod) GN_OF_TWO(remainder) GN_OF_TWO(atan2) GN_OF_TWO(hypot) GN_OF_TWO(copysign)
GN_OF_TWO(fmax) GN_OF_TWO(fmin) GN_OF_TWO(fdim) GN_OF_TWO(nextafter)

#undef GN_OF_ONE
#undef GN_OF_TWO

extern "C" double fma(double, double, double);
extern "C" float fmaf(float, float, float);
extern "C" double ldexp(double, int);
extern "C" float ldexpf(float, int);
static inline float fma(float x, float y, float z) { return fmaf(x, y, z); }
static inline double rsqrt(double x) { return 1 / sqrt(x); }
static inline float rsqrtf(float x) { return 1 / sqrtf(x); }

static inline bool isnan(double x) { return __builtin_isnan(x); }
static inline bool isinf(double x) { return __builtin_isinf(x); }
static inline bool isfinite(double x) { return __builtin_isfinite(x); }
static inline bool signbit(double x) { return __builtin_signbit(x); }

#define GN_INTEGER_BOUNDS(type)                                      \
    static inline type min(type a, type b) { return b < a ? b : a; } \
    static inline type max(type a, type b) { return a < b ? b : a; }

GN_INTEGER_BOUNDS(int)
GN_INTEGER_BOUNDS(unsigned)
GN_INTEGER_BOUNDS(long)
GN_INTEGER_BOUNDS(unsigned long)
GN_INTEGER_BOUNDS(long long)
GN_INTEGER_BOUNDS(unsigned long long)

#undef GN_INTEGER_BOUNDS

static inline float min(float a, float b) { return fminf(a, b); }
static inline float max(float a, float b) { return fmaxf(a, b); }
static inline double min(double a, double b) { return fmin(a, b); }
static inline double max(double a, double b) { return fmax(a, b); }

/* Bits as another type. */

template <typename To, typename From> static inline To gn_same_bits(From from)
{
    static_assert(sizeof(To) == sizeof(From), "types of one size");
    To to;
    __builtin_memcpy(&to, &from, sizeof(To));
    return to;
}

static inline unsigned __float_as_uint(float x) { return gn_same_bits<unsigned>(x); }
static inline int __float_as_int(float x) { return gn_same_bits<int>(x); }
static inline float __uint_as_float(unsigned x) { return gn_same_bits<float>(x); }
static inline float __int_as_float(int x) { return gn_same_bits<float>(x); }
static inline long long __double_as_longlong(double x) { return gn_same_bits<long long>(x); }
static inline double __longlong_as_double(long long x) { return gn_same_bits<double>(x); }

static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((uint64_t)a * b >> 32); }
template <typename T> static inline T __ldg(const T *from) { return *from; }

/* cvt.rna.tf32.f32: to the nearest number with 10 bits after the point, ties away from zero. */
GN_DEVICE uint32_t gn_to_tf32(float value)
{
    if (__builtin_isnan(value)) return 0x7fffffff;
    return (__float_as_uint(value) + (__builtin_isinf(value) ? 0 : 0x1000)) & 0xffffe000;
}

#endif
