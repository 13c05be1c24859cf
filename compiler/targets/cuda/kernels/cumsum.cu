/* Running sums along an axis. A team of threads goes along a line together, as many elements at a time.

     LINES, LENGTH, INNER   as in rows.cu
     TEAM                   32, or THREADS
     REVERSE, EXCLUSIVE     1 or 0: from the axis's end; a place's own element counts only for those that follow
     VALUE, X0(i)           type of sums, and an element */

GN_KERNEL(THREADS) NAME(PARAMETERS)
{
    const INDEX lines = LINES, line = (INDEX)blockIdx.x * (THREADS / TEAM) + (INDEX)(threadIdx.x / TEAM);
    const int length = LENGTH, member = (int)threadIdx.x % TEAM, lane = (int)threadIdx.x % 32;
    if (line >= lines) return; /* whole warps */
    const INDEX first = line / INNER * length * INNER + line % INNER;
#if TEAM > 32
    GN_SHARED(VALUE, shared, THREADS / 32);
#endif
    VALUE before = 0; /* the sum of all elements of earlier rounds */
    for (int start = 0; start < length; start += TEAM) {
        const int k = start + member;
        const INDEX at = first + (INDEX)(REVERSE ? length - 1 - k : k) * INNER;
        VALUE sum = 0;
        if (k < length) sum = X0(at);
        for (int distance = 1; distance < 32; distance *= 2) {
            const VALUE other = gn_shuffle(sum, lane >= distance ? lane - distance : lane);
            if (lane >= distance) sum = other + sum;
        }
        const VALUE previous = gn_shuffle(sum, lane > 0 ? lane - 1 : 0), whole = gn_shuffle(sum, 31);
#if TEAM > 32
        if (lane == 31) shared[threadIdx.x / 32] = whole;
        gn_barrier();
        VALUE warps_before = before;
        for (int warp = 0; warp < THREADS / 32; warp++) {
            if (warp < (int)threadIdx.x / 32) warps_before += shared[warp];
            before += shared[warp];
        }
        gn_barrier();
#else
        const VALUE warps_before = before;
        before += whole;
#endif
        if (k < length) STORE(at, warps_before + (EXCLUSIVE ? (lane > 0 ? previous : 0) : sum));
    }
}
