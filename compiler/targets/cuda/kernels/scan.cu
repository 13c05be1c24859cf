/* Go along an axis and give a value for each place. A thread goes along a line.

     LINES, LENGTH, INNER   as in rows.cu
     REVERSE, EXCLUSIVE     1 or 0: from the axis's end; a place's own element counts only for those that follow
     VALUE, START           type of results, and what there is before the first element
     NEXT(total, i)         what comes after element i of the inputs */

GN_KERNEL(THREADS) NAME(PARAMETERS)
{
    const INDEX line = (INDEX)blockIdx.x * THREADS + (INDEX)threadIdx.x;
    if (line >= LINES) return;
    const int length = LENGTH;
    const INDEX first = line / INNER * length * INNER + line % INNER;
    VALUE total = START;
#pragma unroll 4
    for (int k = 0; k < length; k++) {
        const INDEX at = first + (INDEX)(REVERSE ? length - 1 - k : k) * INNER;
        const VALUE after = NEXT(total, at);
        STORE(at, EXCLUSIVE ? total : after);
        total = after;
    }
}
