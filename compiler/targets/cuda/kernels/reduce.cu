/* Reduce many elements to one, for each element of a result, in a fixed order.

   Element `o` of the result is made of the INNER terms TERM(o, r). Each is computed by TEAM neighbouring threads, which
   take every TEAM-th term and then combine what they have in a tree; a block has THREADS / TEAM teams. With PARTS above
   1, the terms are cut into as many runs, one for each blockIdx.y, whose results go to PARTIAL(o, part, value).

     OUTER, INNER   numbers of results and of terms; may be expressions in n
     TEAM           1, a power of two up to 32, or THREADS
     THREADS        threads of a block, a multiple of 32
     PARTS          runs of terms
     VALUE          type of terms and results
     START          what nothing reduces to
     COMBINE(a, b)  one value for two
     TERM(o, r)     the value of a term
     RESULT(o, part, value)  takes a result */

GN_KERNEL(THREADS) NAME(PARAMETERS)
{
    const INDEX outer = OUTER, inner = INNER;
    const INDEX run = (inner + PARTS - 1) / PARTS;
    const INDEX first = run * (INDEX)blockIdx.y;
    const INDEX last = first + run < inner ? first + run : inner;
    const int team = (int)threadIdx.x / TEAM, member = (int)threadIdx.x % TEAM;
    const INDEX o = (INDEX)blockIdx.x * (THREADS / TEAM) + team;
    VALUE total = START;
    if (o < outer)
        for (INDEX r = first + member; r < last; r += TEAM) {
            const VALUE term = TERM(o, r);
            total = COMBINE(total, term);
        }
    /* Every thread of a warp takes part, whether it has a result or not: a shuffle needs all of them. */
    for (int distance = (TEAM < 32 ? TEAM : 32) / 2; distance > 0; distance /= 2) {
        const VALUE other = gn_shuffle_down(total, distance);
        total = COMBINE(total, other);
    }
#if TEAM > 32
    GN_SHARED(VALUE, warps, THREADS / 32);
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = total;
    gn_barrier();
    if (member == 0)
        for (int warp = 1; warp < THREADS / 32; warp++) total = COMBINE(total, warps[warp]);
#endif
    if (member == 0 && o < outer) RESULT(o, (INDEX)blockIdx.y, total);
}
