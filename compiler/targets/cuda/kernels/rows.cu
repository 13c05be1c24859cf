/* Softmax along an axis, its logarithm, and the cross-entropy of class numbers.

   A line is what stands along the axis. A team of neighbouring threads takes it in once; what does not fit into
   registers is read again for the results. As in NumPy, NaN, an infinity, or minus infinity alone give NaN.

     LINES, LENGTH, INNER   lines, their elements, and the distance of those
     TEAM                   threads of a line: a power of two up to 32, or THREADS
     HELD                   elements that a thread keeps in registers, the line's all together; 0: none are kept
     SOFTMAX, LOG_SOFTMAX, LOSS   1 for what is wanted, else 0. STORE takes it; with LOSS and SOFTMAX, STORE takes the
                            loss and STORE1 the softmax
     VALUE, X0(i)           float or double, and an element of the input; x1 are the class numbers */

#define GN_AT(i) (first + (INDEX)(i) * INNER)
#if TEAM > 32
#define GN_LARGEST(value) gn_block_max(value, shared)
#define GN_TOTAL(value) gn_block_sum(value, shared)
#else
#define GN_LARGEST(value) gn_group_max<TEAM>(value)
#define GN_TOTAL(value) gn_group_sum<TEAM>(value)
#endif
#if LOSS
#define GN_STORE_SOFTMAX STORE1
#else
#define GN_STORE_SOFTMAX STORE
#endif

GN_KERNEL(THREADS) NAME(PARAMETERS)
{
#if TEAM > 32
    GN_SHARED(VALUE, shared, 32);
#endif
    const VALUE lowest = -(VALUE)__builtin_inff();
    const INDEX lines = LINES, line = (INDEX)blockIdx.x * (THREADS / TEAM) + (INDEX)(threadIdx.x / TEAM);
    const int length = LENGTH, member = (int)threadIdx.x % TEAM;
    /* All threads are needed to combine results: those beyond the last line go through it, too, and store nothing. */
    const bool is_line = line < lines;
    const INDEX number = is_line ? line : lines - 1;
    const INDEX first = number / INNER * length * INNER + number % INNER;

#if HELD
    VALUE held[HELD], top = lowest, sum = 0;
#pragma unroll
    for (int k = 0; k < HELD; k++) {
        const int i = member + k * TEAM;
        held[k] = i < length ? (VALUE)X0(GN_AT(i)) : lowest;
        top = gn_larger(held[k], top);
    }
    top = GN_LARGEST(top);
#pragma unroll
    for (int k = 0; k < HELD; k++) {
#if SOFTMAX
        held[k] = exp(held[k] - top);
        sum += held[k];
#else
        held[k] -= top;
        sum += exp(held[k]);
#endif
    }
    sum = GN_TOTAL(sum);
#else
    /* The sum so far is of exponentials below the largest element so far, and scaled down when a larger one comes.
       NaN is never the largest, but makes the sum NaN. Below minus infinity nothing is: 0 takes its place. */
    const int chunk = 8;
    VALUE top = lowest, sum = 0;
    for (int start = member; start < length; start += TEAM * chunk) {
        VALUE value[chunk], larger = top;
#pragma unroll
        for (int k = 0; k < chunk; k++) {
            const int i = start + k * TEAM;
            value[k] = i < length ? (VALUE)X0(GN_AT(i)) : lowest;
            larger = value[k] > larger ? value[k] : larger;
        }
        const VALUE shift = larger > lowest ? larger : 0;
        sum *= exp(top - shift);
#pragma unroll
        for (int k = 0; k < chunk; k++) sum += exp(value[k] - shift);
        top = larger;
    }
    const VALUE largest = GN_LARGEST(top);
    sum = GN_TOTAL(sum * exp(top - largest));
    top = largest;
#endif

#if LOSS
    if (is_line && member == 0) {
        const int64_t label = (int64_t)x1[line];
        const bool is_class = label >= 0 && label < length;
        const VALUE nothing = (VALUE)__builtin_nanf("");
        STORE(line, is_class ? log(sum) - ((VALUE)X0(GN_AT(label)) - top) : nothing);
    }
#endif
#if SOFTMAX || LOG_SOFTMAX
    if (!is_line) return;
#if LOG_SOFTMAX
    const VALUE logarithm = log(sum);
#endif
#if HELD
#pragma unroll
    for (int k = 0; k < HELD; k++) {
        const int i = member + k * TEAM;
        if (i < length) {
#if SOFTMAX
            GN_STORE_SOFTMAX(GN_AT(i), held[k] / sum);
#else
            STORE(GN_AT(i), held[k] - logarithm);
#endif
        }
    }
#else
#pragma unroll 4
    for (int i = member; i < length; i += TEAM) {
        const VALUE shifted = (VALUE)X0(GN_AT(i)) - top;
#if SOFTMAX
        GN_STORE_SOFTMAX(GN_AT(i), exp(shifted) / sum);
#else
        STORE(GN_AT(i), shifted - logarithm);
#endif
    }
#endif
#endif
}

#undef GN_AT
#undef GN_LARGEST
#undef GN_TOTAL
#undef GN_STORE_SOFTMAX
