/* Add the sums of the parts that other blocks took, in the order of the parts, for each element of the output.

   The workspace w0 holds OUTPUT_COUNT sums of each part, one part after the other. SLICES threads share the parts of an
   element among them: thread s takes parts s, s + SLICES, … and the first adds what the threads have.

     THREADS        threads of a block, a multiple of SLICES
     OUTPUT_COUNT   number of elements; may be an expression in n
     SPLITS         number of parts
     SLICES         threads of an element
     SUM, RESULT    type of the sums, and the type that STORE takes */

GN_KERNEL(THREADS) NAME(PARAMETERS)
{
    const int elements = THREADS / SLICES;
    GN_SHARED(SUM, partial, THREADS);
    const int slice = (int)threadIdx.x / elements;
    const INDEX count = OUTPUT_COUNT;
    const INDEX i = (INDEX)blockIdx.x * elements + (int)threadIdx.x % elements;
    SUM sum = 0;
    if (i < count) {
#pragma unroll 8
        for (int split = slice; split < SPLITS; split += SLICES) sum += (SUM)w0[split * count + i];
    }
    partial[threadIdx.x] = sum;
    gn_barrier();
    if (slice > 0 || i >= count) return;
#pragma unroll
    for (int other = 1; other < SLICES; other++) sum += partial[other * elements + (int)threadIdx.x];
    STORE(i, (RESULT)sum);
}
