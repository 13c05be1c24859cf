/* A value at some places of a larger one, and the same number everywhere else.

     SIZE                 elements of the larger one
     IS_INSIDE(i), FROM(i)   whether element i is one of the smaller one's, and which
     VALUE, X0(i), FILL   type of the values, an element of the smaller one, and what stands elsewhere */

GN_KERNEL(THREADS) NAME(PARAMETERS)
{
    const INDEX i = (INDEX)blockIdx.x * THREADS + (INDEX)threadIdx.x;
    if (i >= SIZE) return;
    VALUE value = FILL;
    if (IS_INSIDE(i)) value = X0(FROM(i));
    STORE(i, value);
}
