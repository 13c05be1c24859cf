/* Philox4x32-10 (Salmon et al., SC 2011) for as many elements as a vector holds numbers; shared_math.h has what becomes of
   the words.

   A word of 32 bits is kept in a number of 64, whose upper half holds anything: then a product moves nothing between
   lanes. A loop over numbers of 32 bits, which gcc 12 widens and narrows again in each round, took three times as long. */
#ifndef GRAPHNN_RANDOM_H
#define GRAPHNN_RANDOM_H

#include <stdint.h>

#include "lanes.h"

/* A word of every second lane: as wide as a vector of floats. */
typedef uint64_t wide __attribute__((vector_size(4 * LANES), may_alias));

/* The lower halves of numbers times a number of 32 bits. clang finds the machine's instruction by itself. */
static inline wide times_lower(wide value, uint32_t factor)
{
    const wide factors = (wide){0} + factor;
#if defined(__clang__)
    return (value & 0xffffffff) * factors;
#elif defined(__AVX512F__) && LANES == 16
    const long long unused __attribute__((vector_size(64))) = {0};
    return (wide)__builtin_ia32_pmuludq512_mask((mask)value, (mask)factors, unused, (uint8_t)-1);
#elif defined(__AVX2__) && LANES == 8
    return (wide)__builtin_ia32_pmuludq256((mask)value, (mask)factors);
#elif defined(__SSE2__) && LANES == 4
    return (wide)__builtin_ia32_pmuludq128((mask)value, (mask)factors);
#else
    return (value & 0xffffffff) * factors;
#endif
}

/* The words of the elements first, first + stride, …, one a lane, in the lower halves of what is stored. */
static inline void gn_philox(
    uint64_t first, uint64_t stride, int64_t step, uint32_t seed, uint32_t stream, uint64_t words[4][LANES])
{
    for (int half = 0; half < LANES; half += LANES / 2) {
        wide place;
        for (int i = 0; i < LANES / 2; i++) place[i] = (uint64_t)(half + i);
        wide c0 = place * stride + first, c1 = c0 >> 32, c2 = (wide){0} + (uint64_t)step, c3 = c2 >> 32;
        uint32_t k0 = seed, k1 = stream;
        for (int round = 0; round < 10; round++) {
            const wide product0 = times_lower(c0, 0xD2511F53), product1 = times_lower(c2, 0xCD9E8D57);
            c0 = product1 >> 32 ^ c1 ^ k0;
            c1 = product1;
            c2 = product0 >> 32 ^ c3 ^ k1;
            c3 = product0;
            k0 += 0x9E3779B9;
            k1 += 0xBB67AE85;
        }
        *(wide *)(words[0] + half) = c0;
        *(wide *)(words[1] + half) = c1;
        *(wide *)(words[2] + half) = c2;
        *(wide *)(words[3] + half) = c3;
    }
}

#endif
