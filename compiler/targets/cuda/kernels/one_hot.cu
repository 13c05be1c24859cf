/* 1 at the place that each index names, 0 elsewhere.

     SIZE, DEPTH   elements in all, and those of an index
     VALUE         type of the elements; x0 are the indices */

GN_KERNEL(THREADS) NAME(PARAMETERS)
{
    const INDEX i = (INDEX)blockIdx.x * THREADS + (INDEX)threadIdx.x;
    if (i >= SIZE) return;
    STORE(i, (VALUE)((int64_t)x0[i / DEPTH] == (int64_t)(i % DEPTH)));
}
