/* Product along an axis.

     LINES, LENGTH, INNER, TEAM   as in rows.cu
     VALUE, X0(i)                 type of products, and an element */

GN_KERNEL(THREADS) NAME(PARAMETERS)
{
    const INDEX lines = LINES, line = (INDEX)blockIdx.x * (THREADS / TEAM) + (INDEX)(threadIdx.x / TEAM);
    const int length = LENGTH, member = (int)threadIdx.x % TEAM;
    /* All threads are needed to multiply: those beyond the last line go through it, too, and store nothing. */
    const INDEX number = line < lines ? line : lines - 1;
    const INDEX first = number / INNER * length * INNER + number % INNER;
    VALUE product = 1;
    for (int i = member; i < length; i += TEAM) product *= X0(first + (INDEX)i * INNER);
#if TEAM > 32
    GN_SHARED(VALUE, shared, 32);
    product = gn_block_product(product, shared);
#else
    product = gn_group_product<TEAM>(product);
#endif
    if (line < lines && member == 0) STORE(line, product);
}
