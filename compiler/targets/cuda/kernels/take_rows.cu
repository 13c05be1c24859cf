/* Copy the rows of a batch from a data set that lies on the device.

   x0 is the data set, x1 the order of its rows, x2 the place of the batch's first row in that order, y0 the batch: n rows.

     ELEMENT   type to copy with
     SIZE      elements of a row
     THREADS   threads of a block */

GN_KERNEL(THREADS) NAME(const ELEMENT *__restrict__ x0, const int64_t *__restrict__ x1, const int64_t *__restrict__ x2, ELEMENT *y0, int n)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= (int64_t)n * SIZE) return;
    y0[i] = x0[x1[x2[0] + i / SIZE] * SIZE + i % SIZE];
}
