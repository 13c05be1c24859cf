/* Place of the largest element along an axis, of the first among equals; NaN is the largest.

     LINES, LENGTH, INNER, TEAM   as in rows.cu
     VALUE, X0(i)                 type in which elements are compared, and an element */

GN_KERNEL(THREADS) NAME(PARAMETERS)
{
    const INDEX lines = LINES, line = (INDEX)blockIdx.x * (THREADS / TEAM) + (INDEX)(threadIdx.x / TEAM);
    const int length = LENGTH, member = (int)threadIdx.x % TEAM;
    /* All threads are needed to compare: those beyond the last line go through it, too, and store nothing. */
    const INDEX number = line < lines ? line : lines - 1;
    const INDEX first = number / INNER * length * INNER + number % INNER;
    int place = member < length ? member : 0;
    VALUE largest = X0(first + (INDEX)place * INNER);
    for (int i = member + TEAM; i < length; i += TEAM) {
        const VALUE value = X0(first + (INDEX)i * INNER);
        if (gn_precedes(value, i, largest, place)) {
            largest = value;
            place = i;
        }
    }
#if TEAM > 32
    GN_SHARED(VALUE, values, 32);
    GN_SHARED(int, places, 32);
    gn_block_argmax(largest, place, values, places);
#else
    gn_group_argmax<TEAM>(largest, place);
#endif
    if (line < lines && member == 0) STORE(line, (int64_t)place);
}
