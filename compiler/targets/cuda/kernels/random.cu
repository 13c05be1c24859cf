/* Random numbers: each element is a function of its index, the step and the draw's seed and stream.

     SIZE           elements
     DRAW           the function of device_math.h
     SEED, STREAM   the key; x0 points to the step */

GN_KERNEL(THREADS) NAME(PARAMETERS)
{
    const INDEX i = (INDEX)blockIdx.x * THREADS + (INDEX)threadIdx.x;
    if (i >= SIZE) return;
    STORE(i, DRAW((uint64_t)i, (uint64_t)x0[0], SEED, STREAM));
}
