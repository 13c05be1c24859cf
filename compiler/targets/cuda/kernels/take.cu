/* The entries of an axis at given places: y[o, j, k] = x[o, index[j], k]. A place that there is not gives zeros.

     SIZE                  elements of y
     PLACES, ROWS, INNER   places that are asked for, entries of the axis, elements of an entry
     VALUE, X0(i)          type of the values, and an element; x1 are the places */

GN_KERNEL(THREADS) NAME(PARAMETERS)
{
    const INDEX i = (INDEX)blockIdx.x * THREADS + (INDEX)threadIdx.x;
    if (i >= SIZE) return;
    const INDEX places = PLACES, inner = INNER;
    const int64_t rows = ROWS, given = (int64_t)x1[i / inner % places], row = given < 0 ? given + rows : given;
    VALUE value = 0;
    if (row >= 0 && row < rows) value = X0((i / (inner * places) * (INDEX)rows + (INDEX)row) * inner + i % inner);
    STORE(i, value);
}
