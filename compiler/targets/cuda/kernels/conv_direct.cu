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
     PIXELS                    neighbouring places of a thread
     THREAD_OUTPUTS            output channels of a thread
     SUM, RESULT               type of the sums, and the type that STORE takes
     X_VALUE(i)                the element i of x, as a SUM
     WEIGHT(g, o, c, p, q)     the weight between channels o and c of group g at row p and column q of the kernel, a SUM

   blockIdx.x counts strips, over all images; blockIdx.y the blocks of output channels of each group, one after another. */

namespace GN_JOIN(NAME, _parts) {

constexpr int TAPS = KERNEL_H * KERNEL_W;
constexpr int TERMS = CHANNELS * TAPS;
constexpr int STRIPS = (PLACES_W + PIXELS - 1) / PIXELS;
constexpr int OUTPUT_BLOCKS = (OUTPUTS + THREAD_OUTPUTS - 1) / THREAD_OUTPUTS;
constexpr int COLUMNS = PIXELS * WINDOW_W;
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

/* Add the products of a row of x, `down` rows below the first one that a row of pixels looks at. */
GN_DEVICE void multiply_row(int down, const SUM *row, const SUM *weight, SUM sums[][COLUMNS][THREAD_OUTPUTS])
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
                    sums[a][j][o] += row[j * STRIDE_W + q * DILATION_W] * weight[(p * KERNEL_W + q) * WEIGHT_STEP + o];
    }
}

/* Store what a thread has for a place of the result and an output channel; the window begins at a column. */
GN_DEVICE void finish(PARAMETERS, INDEX place, const SUM sums[][COLUMNS][THREAD_OUTPUTS], int column, int o)
{
#if POOLED
    SUM largest = sums[0][column][o];
    int position = 0;
#pragma unroll
    for (int k = 1; k < WINDOW_H * WINDOW_W; k++) {
        const SUM value = sums[k / WINDOW_W][column + k % WINDOW_W][o];
        if (value > largest || (value != value && largest == largest)) {
            largest = value;
            position = k;
        }
    }
    STORE(place, (RESULT)largest);
#if POOLED == 2
    STORE1(place, position);
#endif
#else
    STORE(place, (RESULT)sums[0][column][o]);
#endif
}

} /* namespace */

GN_KERNEL(THREADS) NAME(PARAMETERS)
{
    using namespace GN_JOIN(NAME, _parts);
    GN_SHARED(SUM, weights, TERMS * WEIGHT_STEP);
    const int g = (int)blockIdx.y / OUTPUT_BLOCKS;
    const int first_output = (int)blockIdx.y % OUTPUT_BLOCKS * THREAD_OUTPUTS;
    bring_weights(ARGUMENTS, g, first_output, weights);
    gn_barrier();
    const INDEX strip = (INDEX)blockIdx.x * THREADS + (int)threadIdx.x;
    const INDEX line = strip / STRIPS;
    const INDEX image = line / PLACES_H;
    if (image >= IMAGES) return;
    const int first_place = (int)(strip % STRIPS) * PIXELS, i = (int)(line % PLACES_H);
    const int top = i * WINDOW_H * STRIDE_H - TOP, left = first_place * WINDOW_W * STRIDE_W - LEFT;

    SUM sums[WINDOW_H][COLUMNS][THREAD_OUTPUTS] = {};
    INDEX start = ((image * GROUPS + g) * CHANNELS * SIZE_H + top) * SIZE_W + left;
    const SUM *weight = weights;
#pragma unroll 1
    for (int c = 0; c < CHANNELS; c++) {
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
#pragma unroll
    for (int o = 0; o < THREAD_OUTPUTS; o++) {
        const int output = g * OUTPUTS + first_output + o;
        const INDEX place = ((image * (GROUPS * OUTPUTS) + output) * PLACES_H + i) * PLACES_W + first_place;
#pragma unroll
        for (int j = 0; j < PIXELS; j++)
            if (first_output + o < OUTPUTS && first_place + j < PLACES_W)
                finish(ARGUMENTS, place + j, sums, j * WINDOW_W, o);
    }
}
