/* Move the place of the next batch on by n rows, so that a step that is replayed takes the next one. */

GN_KERNEL(32) NAME(int64_t *y0, int n)
{
    if (threadIdx.x == 0) y0[0] += n;
}
