/* The only door from kernels to CUDA: kernels, shared memory, barriers, shuffles, votes and tensor cores.

   Besides these names, kernels use CUDA's own spelling for threadIdx.x, blockIdx, blockDim.x, gridDim and for vector types
   such as float4. Blocks are one-dimensional. The same text is compiled by NVRTC, nvcc and, on the emulator, by a C++
   compiler; emulator.h gives the same names there. */
#ifndef GRAPHNN_DEVICE_H
#define GRAPHNN_DEVICE_H

#define GN_JOIN_EXPANDED(a, b) a##b
#define GN_JOIN(a, b) GN_JOIN_EXPANDED(a, b)

#ifdef GN_EMULATOR
#include "emulator.h"
#else

#ifdef __CUDACC_RTC__ /* it has no <stdint.h>; the 64-bit types are those of Linux's, so that overloads resolve alike */
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
#ifdef _WIN32
typedef long long int64_t;
typedef unsigned long long uint64_t;
#else
typedef long int64_t;
typedef unsigned long uint64_t;
#endif
#else
#include <stdint.h>
#endif

#pragma nv_diag_suppress 177 /* no program needs every function */

#define GN_KERNEL(threads) extern "C" __global__ void __launch_bounds__(threads)
#define GN_DEVICE static __device__ __forceinline__

/* An array of the block, aligned to 16 bytes. Its size is a constant; a block has 48 kB in all. */
#define GN_SHARED(type, name, count) __shared__ __align__(16) type name[count]

GN_DEVICE void gn_barrier() { __syncthreads(); }
GN_DEVICE void gn_warp_barrier() { __syncwarp(); }

/* Shuffles, votes and products below need all 32 lanes of the warp, at the same place of the text. */

#define GN_ALL_LANES 0xffffffffu

template <typename T> GN_DEVICE T gn_shuffle(T value, int lane)
{
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "only values of 4 or 8 bytes");
    return __shfl_sync(GN_ALL_LANES, value, lane);
}

/* The value of the lane `delta` further on; lanes that would look beyond the warp keep their own. */
template <typename T> GN_DEVICE T gn_shuffle_down(T value, int delta)
{
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "only values of 4 or 8 bytes");
    return __shfl_down_sync(GN_ALL_LANES, value, (unsigned)delta);
}

template <typename T> GN_DEVICE T gn_shuffle_xor(T value, int mask)
{
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "only values of 4 or 8 bytes");
    return __shfl_xor_sync(GN_ALL_LANES, value, mask);
}

GN_DEVICE unsigned gn_ballot(bool value) { return __ballot_sync(GN_ALL_LANES, value); }
GN_DEVICE bool gn_any(bool value) { return __any_sync(GN_ALL_LANES, value) != 0; }
GN_DEVICE bool gn_all(bool value) { return __all_sync(GN_ALL_LANES, value) != 0; }

/* Tensor cores: d += a · b for tiles that the warp holds together. Lane = 4·g + t holds
     d[0], d[1], d[2], d[3]   rows g, g, g+8, g+8 and columns 2t, 2t+1, 2t, 2t+1 of the 16×8 result, in every case;
     tf32, 16×8 by 8×8: a[0..3] rows g, g+8, g, g+8 and columns t, t, t+4, t+4; b[0..1] rows t, t+4 of column g;
     bf16 and f16, 16×16 by 16×8, two neighbours a register, the lower index in the lower half: a[0..3] rows g, g+8, g, g+8
       from columns 2t, 2t, 2t+8, 2t+8 on; b[0..1] of column g from rows 2t, 2t+8 on.
   Numbers for tf32 come from gn_to_tf32. Those of tf32 and bf16 exist from compute capability 8.0 on. */

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
#define GN_HAS_TF32 1

/* The nearest number with 10 bits after the point, ties away from zero. */
GN_DEVICE uint32_t gn_to_tf32(float value)
{
    uint32_t bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
    return bits;
}

#define GN_MMA(name, instruction)                                                                                  \
    GN_DEVICE void name(float d[4], const uint32_t a[4], const uint32_t b[2])                                      \
    {                                                                                                              \
        asm volatile(instruction " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"                \
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                              \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                          \
    }

GN_MMA(gn_mma_tf32, "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32")
GN_MMA(gn_mma_bf16, "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32")
GN_MMA(gn_mma_f16, "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32")

#undef GN_MMA
#else

/* Compute capability 7.5 multiplies half as many at once; the registers are laid out for that. */
GN_DEVICE void gn_mma_f16(float d[4], const uint32_t a[4], const uint32_t b[2])
{
    for (int half = 0; half < 2; half++)
        asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                     : "r"(a[2 * half]), "r"(a[2 * half + 1]), "r"(b[half]));
}
#endif

#endif /* GN_EMULATOR */
#endif
