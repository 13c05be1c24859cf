/* Minus the log-probability of each example's class; NaN for a number that is no class.

     LINES, LENGTH   examples and classes
     VALUE, X0(i)    type of the values, and an element of the log-probabilities; x1 are the class numbers */

GN_KERNEL(THREADS) NAME(PARAMETERS)
{
    const INDEX line = (INDEX)blockIdx.x * THREADS + (INDEX)threadIdx.x;
    if (line >= LINES) return;
    const int64_t label = (int64_t)x1[line];
    VALUE value = (VALUE)__builtin_nanf("");
    if (label >= 0 && label < LENGTH) value = -(VALUE)X0(line * LENGTH + (INDEX)label);
    STORE(line, value);
}
