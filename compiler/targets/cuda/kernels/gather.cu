/* The element at each index along an axis, in the place of the index. A place that there is not gives 0.

     SIZE           indices
     ROWS, STRIDE   entries of the axis, and how far apart they are
     FIRST(i)       where the line starts that index i picks from
     VALUE, X0(i)   type of the values, and an element; x1 are the indices */

GN_KERNEL(THREADS) NAME(PARAMETERS)
{
    const INDEX i = (INDEX)blockIdx.x * THREADS + (INDEX)threadIdx.x;
    if (i >= SIZE) return;
    const int64_t rows = ROWS, given = (int64_t)x1[i], row = given < 0 ? given + rows : given;
    VALUE value = 0;
    if (row >= 0 && row < rows) value = X0(FIRST(i) + (INDEX)row * STRIDE);
    STORE(i, value);
}
