/* Each element and what is added to it along an axis. A thread makes one, and looks through the indices of its line.

     SIZE            elements
     ROW(i), ROWS    the place of element i along the axis, and the axis's length
     REACHED(i)      whether there are indices for the element's line
     FIRST(i), STRIDE, COUNT   where they start, how far apart they are, and how many
     VALUE, X0(i), X2(i)   type of sums, an element, a term; x1 are the indices */

GN_KERNEL(THREADS) NAME(PARAMETERS)
{
    const INDEX i = (INDEX)blockIdx.x * THREADS + (INDEX)threadIdx.x;
    if (i >= SIZE) return;
    const INDEX count = COUNT;
    VALUE sum = X0(i);
    if (REACHED(i)) {
        const int64_t row = (int64_t)(ROW(i)), from_end = row - (int64_t)(ROWS);
        const INDEX first = FIRST(i);
#pragma unroll 4
        for (INDEX j = 0; j < count; j++) {
            const INDEX at = first + j * STRIDE;
            const int64_t given = (int64_t)x1[at];
            if (given == row || given == from_end) sum += X2(at);
        }
    }
    STORE(i, sum);
}
