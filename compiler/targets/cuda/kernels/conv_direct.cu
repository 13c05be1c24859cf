/* Convolution of images with few channels: each thread computes a strip of pixels of several output channels.

   ::

     y(image, o, i, j) = sum over c, p, q of WEIGHT(g, o, c, p, q) · x(image, c, i · STRIDE_H - TOP + p · DILATION_H, …)

   where x is 0 outside of its images and g is the group of channels that o belongs to. The weights of a block's output
   channels lie in shared memory, the strip's sums and the row of x above it in registers.

     THREADS                   threads of a block
     IMAGES                    number of images; may be an expression in n
     GROUPS                    groups of channels
     CHANNELS, OUTPUTS         channels of x and of y in a group
     SIZE_H, SIZE_W            rows and columns of x
     POSITIONS_H, POSITIONS_W  rows and columns of y
     KERNEL_H, KERNEL_W, STRIDE_H, STRIDE_W, DILATION_H, DILATION_W
     TOP, LEFT                 rows and columns of zeros before x; below 0: how many of x are skipped
     CHECK_H, CHECK_W          1: rows (columns) outside of x are met and must be told from those inside
     PIXELS                    neighbouring pixels of a thread
     THREAD_OUTPUTS            output channels of a thread
     SUM, RESULT               type of the sums, and the type that STORE takes
     X_VALUE(i)                the element i of x, as a SUM
     WEIGHT(g, o, c, p, q)     the weight between channels o and c of group g at row p and column q of the kernel, a SUM

   blockIdx.x counts strips, over all images; blockIdx.y the blocks of output channels of each group, one after another. */

namespace GN_JOIN(NAME, _parts) {

constexpr int TAPS = KERNEL_H * KERNEL_W;
constexpr int TERMS = CHANNELS * TAPS;
constexpr int STRIPS = (POSITIONS_W + PIXELS - 1) / PIXELS;
constexpr int OUTPUT_BLOCKS = (OUTPUTS + THREAD_OUTPUTS - 1) / THREAD_OUTPUTS;
constexpr int SPAN = (PIXELS - 1) * STRIDE_W + (KERNEL_W - 1) * DILATION_W + 1;
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
    const INDEX image = line / POSITIONS_H;
    if (image >= IMAGES) return;
    const int first_pixel = (int)(strip % STRIPS) * PIXELS, i = (int)(line % POSITIONS_H);
    const int top = i * STRIDE_H - TOP, left = first_pixel * STRIDE_W - LEFT;

    SUM sums[THREAD_OUTPUTS][PIXELS] = {};
    INDEX start = ((image * GROUPS + g) * CHANNELS * SIZE_H + top) * SIZE_W + left;
    const SUM *weight = weights;
#pragma unroll 1
    for (int c = 0; c < CHANNELS; c++) {
#pragma unroll
        for (int p = 0; p < KERNEL_H; p++) {
            SUM row[SPAN];
            const bool row_inside = !CHECK_H || (unsigned)(top + p * DILATION_H) < SIZE_H;
            load_row(ARGUMENTS, start + p * DILATION_H * SIZE_W, row_inside, left, row);
#pragma unroll
            for (int q = 0; q < KERNEL_W; q++)
#pragma unroll
                for (int o = 0; o < THREAD_OUTPUTS; o++)
#pragma unroll
                    for (int pixel = 0; pixel < PIXELS; pixel++)
                        sums[o][pixel] += row[pixel * STRIDE_W + q * DILATION_W] * weight[(p * KERNEL_W + q) * WEIGHT_STEP + o];
        }
        start += (INDEX)SIZE_H * SIZE_W;
        weight += TAPS * WEIGHT_STEP;
    }
#pragma unroll
    for (int o = 0; o < THREAD_OUTPUTS; o++) {
        const int output = g * OUTPUTS + first_output + o;
        const INDEX y = ((image * (GROUPS * OUTPUTS) + output) * POSITIONS_H + i) * POSITIONS_W + first_pixel;
#pragma unroll
        for (int pixel = 0; pixel < PIXELS; pixel++)
            if (first_output + o < OUTPUTS && first_pixel + pixel < POSITIONS_W) STORE(y + pixel, (RESULT)sums[o][pixel]);
    }
}
