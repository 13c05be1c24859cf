/* Vectors that hold one number of each example of a block. LANES is defined before this file is included. */
#ifndef GRAPHNN_LANES_H
#define GRAPHNN_LANES_H

#include <stdint.h>

typedef float vec __attribute__((vector_size(4 * LANES), may_alias));
typedef int mask __attribute__((vector_size(4 * LANES), may_alias));

/* The same number in each lane; written so that the sign of a zero stays. */
static inline vec splat(float value) { return value - (vec){0}; }

/* max(value, 0), where NaN stays NaN: the machine's own maximum returns its second operand where either is NaN. */
static inline vec positive_part(vec value)
{
#if defined(__AVX__) && LANES == 8
    return __builtin_ia32_maxps256((vec){0}, value);
#else
    return (vec)((mask)value & ~(value < (vec){0}));
#endif
}

/* What was loaded, kept in a register for several uses. The compiler would rather load it anew for each one, or load
   the same for several taps at once, and then runs out of registers. */
static inline vec in_register(vec value)
{
#if (defined(__SSE__) && LANES == 4) || (defined(__AVX__) && LANES == 8) || (defined(__AVX512F__) && LANES == 16)
    __asm__ volatile("" : "+v"(value) : : "memory");
#elif defined(__aarch64__) && LANES == 4
    __asm__ volatile("" : "+w"(value) : : "memory");
#endif
    return value;
}

/* All bits set in the first `count` lanes, none in the others. */
static inline mask first_lanes(int count)
{
    mask lane;
    for (int i = 0; i < LANES; i++) lane[i] = i;
    return lane < count;
}

/* The lanes of a mask as they are, 0 in the others, whatever they hold. */
static inline vec keep(vec value, mask lanes) { return (vec)((mask)value & lanes); }

/* Take a number of a window as the best so far if it is larger, or the first NaN. */
static inline void take_larger(vec value, int number, vec *best, mask *index)
{
    const mask better = ~(value <= *best) & (*best == *best);
    *best = (vec)(((mask)value & better) | ((mask)*best & ~better));
    *index = (better & number) | (*index & ~better);
}

/* Positions within a window, a byte each. */
typedef uint8_t bytes __attribute__((vector_size(LANES), may_alias));
static inline void store_positions(uint8_t *to, mask index) { *(bytes *)to = __builtin_convertvector(index, bytes); }

/* The numbers of two vectors at given places; those of the second count on from those of the first. */
#ifdef __clang__
#define GN_PICK(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#define GN_PICK_BYTES(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define GN_PICK_BYTES(a, b, ...) __builtin_shuffle(a, b, (bytes){__VA_ARGS__})
#define GN_PICK(a, b, ...) __builtin_shuffle(a, b, (mask){__VA_ARGS__})
#endif

/* The sum of all lanes, halved step by step, so that the order is the same everywhere. */
static inline float sum_lanes(vec value)
{
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++) value[i] += value[i + half];
    return value[0];
}

#endif
