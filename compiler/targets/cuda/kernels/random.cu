/* Random numbers: each element is a function of its index, the step and the draw's seed and stream.

     SIZE           elements
     NUMBER         the element's number, made of its `words`
     SEED, STREAM   the key; x0 points to the step */

GN_KERNEL(THREADS) NAME(PARAMETERS)
{
    const INDEX i = (INDEX)blockIdx.x * THREADS + (INDEX)threadIdx.x;
    if (i >= SIZE) return;
    const gn_random_words words = gn_philox((uint64_t)i, (uint64_t)x0[0], SEED, STREAM);
    STORE(i, NUMBER);
}
