/* Convolution of images with few channels: each thread computes a strip of pixels of several output channels, or of the
   largest values of windows of pixels.

   ::

     y(image, o, i, j) = sum over c, p, q of WEIGHT(g, o, c, p, q) · x(image, c, i · STRIDE_H - TOP + p · DILATION_H, …)

   where x is 0 outside of its images and g is the group of channels that o belongs to. The weights of a block's output
   channels lie in shared memory, the strip's sums and the row of x above it in registers. A max-pool whose windows lie
   side by side takes its values from these registers: then a place of the result is a window.

     THREADS                   threads of a block
     IMAGES                    number of images; may be an expression in n
     GROUPS                    groups of channels
     CHANNELS, OUTPUTS         channels of x and of y in a group
     SIZE_H, SIZE_W            rows and columns of x
     PLACES_H, PLACES_W        rows and columns of the result
     WINDOW_H, WINDOW_W        rows and columns of y that each of its places stands for
     POOLED                    0: the result is y, and windows are of one pixel; 1: the largest value of each window,
                               chosen as in max_pool.cu; 2: also its position in the window, which STORE1 takes
     KERNEL_H, KERNEL_W, STRIDE_H, STRIDE_W, DILATION_H, DILATION_W
     TOP, LEFT                 rows and columns of zeros before x; below 0: how many of x are skipped
     CHECK_H, CHECK_W          1: rows (columns) outside of x are met and must be told from those inside
     SLICES                    groups of threads that share the channels of x among them; their sums are added at the end
     PIXELS                    neighbouring places of a thread
     THREAD_OUTPUTS            output channels of a thread
     SUM, RESULT               type of the sums, and the type that STORE takes
     X_VALUE(i)                the element i of x, as a SUM
     WEIGHT(g, o, c, p, q)     the weight between channels o and c of group g at row p and column q of the kernel, a SUM

   blockIdx.x counts THREADS / SLICES strips, over all images; blockIdx.y the blocks of output channels of each group, one
   after another. */

namespace GN_JOIN(NAME, _parts) {

constexpr int TAPS = KERNEL_H * KERNEL_W;
constexpr int TERMS = CHANNELS * TAPS;
constexpr int STRIPS = (PLACES_W + PIXELS - 1) / PIXELS;
constexpr int OUTPUT_BLOCKS = (OUTPUTS + THREAD_OUTPUTS - 1) / THREAD_OUTPUTS;
constexpr int LINES = THREADS / SLICES;
constexpr int COLUMNS = PIXELS * WINDOW_W;
constexpr int WINDOW = WINDOW_H * WINDOW_W;
constexpr int SUMS = THREAD_OUTPUTS * PIXELS * WINDOW;
static_assert(THREADS % SLICES == 0 && LINES % 32 == 0, "slices are whole warps");
/* Rows and columns of x that a thread's pixels look at. */
constexpr int ROWS = (WINDOW_H - 1) * STRIDE_H + (KERNEL_H - 1) * DILATION_H + 1;
constexpr int SPAN = (COLUMNS - 1) * STRIDE_W + (KERNEL_W - 1) * DILATION_W + 1;
/* From one term's weights to the next one's: such that they can be read at once, up to 16 bytes. */
constexpr int WEIGHT_STEP = THREAD_OUTPUTS > 2 ? (THREAD_OUTPUTS + 3) / 4 * 4 : THREAD_OUTPUTS;

GN_DEVICE void bring_weights(PARAMETERS, int g, int first_output, SUM *weights)
{
    for (int e = threadIdx.x; e < TERMS * THREAD_OUTPUTS; e += THREADS) {
        const int term = e % TERMS, o = first_output + e / TERMS;
        const int c = term / TAPS, p = term % TAPS / KERNEL_W, q = term % KERNEL_W;
        weights[term * WEIGHT_STEP + e / TERMS] = o < OUTPUTS ? WEIGHT(g, o, c, p, q) : SUM(0);
    }
}

/* The columns that a strip needs of one row of x, of which `start` is the first. */
GN_DEVICE void load_row(PARAMETERS, INDEX start, bool row_inside, int column, SUM *row)
{
#pragma unroll
    for (int s = 0; s < SPAN; s++) {
        const bool inside = row_inside && (!CHECK_W || (unsigned)(column + s) < SIZE_W);
        row[s] = inside ? X_VALUE(start + s) : SUM(0);
    }
}

/* Number of the sum of a column in row a of windows, and of an output channel: those of a window follow one another. */
GN_DEVICE int number_of(int a, int column, int o)
{
    return (o * PIXELS + column / WINDOW_W) * WINDOW + a * WINDOW_W + column % WINDOW_W;
}

/* Add the products of a row of x, `down` rows below the first one that a row of pixels looks at. */
GN_DEVICE void multiply_row(int down, const SUM *row, const SUM *weight, SUM *sums)
{
#pragma unroll
    for (int a = 0; a < WINDOW_H; a++) {
        const int below = down - a * STRIDE_H, p = below / DILATION_H;
        if (below < 0 || below % DILATION_H != 0 || p >= KERNEL_H) continue;
#pragma unroll
        for (int q = 0; q < KERNEL_W; q++)
#pragma unroll
            for (int o = 0; o < THREAD_OUTPUTS; o++)
#pragma unroll
                for (int j = 0; j < COLUMNS; j++)
                    sums[number_of(a, j, o)] +=
                        row[j * STRIDE_W + q * DILATION_W] * weight[(p * KERNEL_W + q) * WEIGHT_STEP + o];
    }
}

/* Add what channels from `c` to `end` give; `start` is where the pixels begin to look in channel 0. */
GN_DEVICE void sum_channels(PARAMETERS, INDEX start, int top, int left, int c, int end, const SUM *weights, SUM *sums)
{
    start += (INDEX)c * SIZE_H * SIZE_W;
    const SUM *weight = weights + c * TAPS * WEIGHT_STEP;
#pragma unroll 1
    for (; c < end; c++) {
#pragma unroll
        for (int down = 0; down < ROWS; down++) {
            SUM row[SPAN];
            const bool row_inside = !CHECK_H || (unsigned)(top + down) < SIZE_H;
            load_row(ARGUMENTS, start + down * SIZE_W, row_inside, left, row);
            multiply_row(down, row, weight, sums);
        }
        start += (INDEX)SIZE_H * SIZE_W;
        weight += TAPS * WEIGHT_STEP;
    }
}

/* Store the result at a place, given the sums of its window. */
GN_DEVICE void finish(PARAMETERS, INDEX place, const SUM *window)
{
#if POOLED
    SUM largest = window[0];
    int position = 0;
#pragma unroll
    for (int k = 1; k < WINDOW; k++)
        if (window[k] > largest || (window[k] != window[k] && largest == largest)) {
            largest = window[k];
            position = k;
        }
    STORE(place, (RESULT)largest);
#if POOLED == 2
    STORE1(place, position);
#endif
#else
    STORE(place, (RESULT)window[0]);
#endif
}

/* Add up what all slices have for a window: they lie SUMS · LINES apart. */
GN_DEVICE void add_slices(const SUM *partial, SUM *window)
{
#pragma unroll
    for (int k = 0; k < WINDOW; k++) {
        window[k] = partial[k * LINES];
#pragma unroll
        for (int slice = 1; slice < SLICES; slice++) window[k] += partial[(slice * SUMS + k) * LINES];
    }
}

} /* namespace */

/* As in gemm.cu: told that one block is enough, the assembler keeps all in registers. */
#define BOUNDS THREADS, 1
GN_KERNEL(BOUNDS) NAME(PARAMETERS)
#undef BOUNDS
{
    using namespace GN_JOIN(NAME, _parts);
    GN_SHARED(SUM, weights, TERMS * WEIGHT_STEP);
    const int g = (int)blockIdx.y / OUTPUT_BLOCKS;
    const int first_output = (int)blockIdx.y % OUTPUT_BLOCKS * THREAD_OUTPUTS;
    bring_weights(ARGUMENTS, g, first_output, weights);
    gn_barrier();
    const int slice = (int)threadIdx.x / LINES, line_in_block = (int)threadIdx.x % LINES;
    const INDEX strip = (INDEX)blockIdx.x * LINES + line_in_block;
    const INDEX line = strip / STRIPS;
    const INDEX image = line / PLACES_H;
    const bool inside = image < IMAGES;
    if (SLICES == 1 && !inside) return;
    const int first_place = (int)(strip % STRIPS) * PIXELS, i = (int)(line % PLACES_H);
    const int top = i * WINDOW_H * STRIDE_H - TOP, left = first_place * WINDOW_W * STRIDE_W - LEFT;
    const INDEX start = ((image * GROUPS + g) * CHANNELS * SIZE_H + top) * SIZE_W + left;

    SUM sums[SUMS] = {};
    if (inside)
        sum_channels(ARGUMENTS, start, top, left, CHANNELS * slice / SLICES, CHANNELS * (slice + 1) / SLICES, weights, sums);
#if SLICES > 1
    GN_SHARED(SUM, partial, SUMS * THREADS);
#pragma unroll
    for (int k = 0; k < SUMS; k++) partial[(slice * SUMS + k) * LINES + line_in_block] = sums[k];
    gn_barrier();
    if (!inside) return;
#endif
    /* Slices take turns at the results. */
#pragma unroll
    for (int r = 0; r < THREAD_OUTPUTS * PIXELS; r++) {
        const int o = r / PIXELS, j = r % PIXELS, output = g * OUTPUTS + first_output + o;
        if (r % SLICES != slice || first_output + o >= OUTPUTS || first_place + j >= PLACES_W) continue;
        const INDEX place = ((image * (GROUPS * OUTPUTS) + output) * PLACES_H + i) * PLACES_W + first_place + j;
#if SLICES > 1
        SUM window[WINDOW];
        add_slices(partial + (INDEX)r * WINDOW * LINES + line_in_block, window);
        finish(ARGUMENTS, place, window);
#else
        finish(ARGUMENTS, place, sums + r * WINDOW);
#endif
    }
}
