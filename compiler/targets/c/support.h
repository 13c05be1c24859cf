/* What every generated file starts from. LANES is defined before this file is included. */
#ifndef GRAPHNN_SUPPORT_H
#define GRAPHNN_SUPPORT_H

#include <math.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include "lanes.h"
#include "random.h"
#include "scalar_math.h"

#ifdef _OPENMP
#include <omp.h>
#else
static inline int omp_get_thread_num(void) { return 0; }
static inline int omp_get_num_threads(void) { return 1; }
#endif

/* Vectors at places that need not be aligned. */
typedef float loose_vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint8_t loose_bytes __attribute__((vector_size(LANES), aligned(1), may_alias));
static inline vec load(const float *from) { return *(const loose_vec *)from; }
static inline void store(float *to, vec value) { *(loose_vec *)to = value; }

/* As many numbers of a vector as are left, `step` apart in memory. Kept out of line: it is rare and would be inlined often. */
static __attribute__((noinline, unused)) vec load_few(const float *from, int left, int64_t step)
{
    vec value = {0};
    for (int i = 0; i < LANES && i < left; i++) value[i] = from[i * step];
    return value;
}
static __attribute__((noinline, unused)) void store_few(float *to, int left, int64_t step, vec value)
{
    for (int i = 0; i < LANES && i < left; i++) to[i * step] = value[i];
}
static inline vec load_some(const float *from, int left, int64_t step)
{
    return step == 1 && left >= LANES ? load(from) : load_few(from, left, step);
}
static inline void store_some(float *to, int left, int64_t step, vec value)
{
    if (step == 1 && left >= LANES)
        store(to, value);
    else
        store_few(to, left, step, value);
}

/* The size of the next tile where so many rows are left: as few tiles as possible, of nearly equal size. */
static inline int gn_part(int64_t left, int at_most)
{
    const int64_t tiles = (left + at_most - 1) / at_most;
    return (int)((left + tiles - 1) / tiles);
}

/* The place that an index names on an axis, a negative one counted from the end. What stands in lanes beyond the batch is
   no index: it names a place inside, too. */
static inline int64_t gn_row(int64_t index, int64_t size)
{
    const int64_t from_start = index < 0 ? index + size : index;
    return from_start >= 0 && from_start < size ? from_start : 0;
}

/* Add the time since the last call to one of the counters, if times are wanted. */
static inline void gn_tick(double *times, int counter, double *clock)
{
    if (!times) return;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const double seconds = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    if (*clock) times[counter] += seconds - *clock;
    *clock = seconds;
}

/* Lanes back into row-major examples: `size` values an example, the first `valid` lanes of a block. */
#define GN_MOVES(name, type)                                                                     \
    static inline void gn_unpack_##name(const type *from, type *to, int64_t size, int valid)     \
    {                                                                                            \
        for (int lane = 0; lane < valid; lane++)                                                 \
            for (int64_t i = 0; i < size; i++) to[lane * size + i] = from[i * LANES + lane];     \
    }                                                                                            \
    /* The sum of what each thread added up, always in the order of the threads. */              \
    static inline void gn_combine_##name(const type *parts, type *to, int64_t size, int threads) \
    {                                                                                            \
        _Pragma("omp for schedule(static) nowait") for (int64_t i = 0; i < size; i++)            \
        {                                                                                        \
            type sum = parts[i];                                                                 \
            for (int t = 1; t < threads; t++) sum += parts[t * size + i];                        \
            to[i] = sum;                                                                         \
        }                                                                                        \
    }

GN_MOVES(uint8_t, uint8_t)
GN_MOVES(int32_t, int32_t)
GN_MOVES(int64_t, int64_t)
GN_MOVES(float, float)
GN_MOVES(double, double)

#endif
