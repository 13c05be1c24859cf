/* What a processor can do at most, for peaks.py, which defines VECTOR_BYTES: the width of a vector register.

   Threads begin together; the functions return the seconds that the last one took, as the times of kernels are its. */
#include <stdint.h>
#include <time.h>

#ifdef _OPENMP
#include <omp.h>
#else
static inline int omp_get_thread_num(void) { return 0; }
#endif

#define EXPORT __attribute__((visibility("default")))
#define LANES (VECTOR_BYTES / 4)
typedef float vec __attribute__((vector_size(VECTOR_BYTES)));
typedef float loose_vec __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));

static inline double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Twelve sums, none of which waits for another: enough to keep two units with a latency of four to six cycles busy, and
   few enough for sixteen registers. They start at different values: equal ones would become one. */
#define EACH(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)

/* kernel: peak_multiply_add */
EXPORT double peak_multiply_add(float *result, int threads, int64_t repeats, float scale, float shift)
{
    double seconds = 0;
    #pragma omp parallel num_threads(threads)
    {
        const vec factor = scale - (vec){0}, term = shift - (vec){0};
        #define BEGIN(k) vec sum##k = term + k;
        #define STEP(k) sum##k = sum##k * factor + term;
        #define ADD(k) + sum##k
        EACH(BEGIN)
        #pragma omp barrier
        const double start = now();
        for (int64_t i = 0; i < repeats; i++) {
            EACH(STEP)
        }
        *(loose_vec *)(result + (int64_t)omp_get_thread_num() * LANES) = EACH(ADD);
        if (omp_get_thread_num() == threads - 1) seconds = now() - start;
    }
    return seconds;
}

/* kernel: peak_triad
   a = b + scale · c, `count` numbers on each thread. The empty instruction keeps the compiler from doing it only once. */
EXPORT double peak_triad(float *restrict a, const float *restrict b, const float *restrict c, int64_t count, int threads,
                         int64_t repeats, float scale)
{
    double seconds = 0;
    #pragma omp parallel num_threads(threads)
    {
        const int64_t first = count * omp_get_thread_num();
        #pragma omp barrier
        const double start = now();
        for (int64_t repeat = 0; repeat < repeats; repeat++) {
            for (int64_t i = first; i < first + count; i++) a[i] = b[i] + scale * c[i];
            __asm__ volatile("" ::: "memory");
        }
        if (omp_get_thread_num() == threads - 1) seconds = now() - start;
    }
    return seconds;
}
