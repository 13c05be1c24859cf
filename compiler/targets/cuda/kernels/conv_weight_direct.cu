/* Gradient of a convolution by the weight, where a thread can have all places of the kernel in registers.

   ::

     dw(o, c, p, q) = sum over images, i, j of dy(image, o, i, j) · x(image, c, i · STRIDE_H - TOP + p · DILATION_H, …)

   where x is 0 outside of its images. A thread goes through strips of neighbouring pixels of dy and adds up, for one
   channel of x and several of dy, what each place of the kernel gets. Then the threads of a block add their sums, in a
   fixed order, by way of shared memory.

     THREADS                   threads of a block
     IMAGES                    number of images; may be an expression in n
     GROUPS                    groups of channels
     CHANNELS, OUTPUTS         channels of x and of dy in a group
     SIZE_H, SIZE_W            rows and columns of x
     POSITIONS_H, POSITIONS_W  rows and columns of dy
     KERNEL_H, KERNEL_W, STRIDE_H, STRIDE_W, DILATION_H, DILATION_W
     TOP, LEFT                 rows and columns of zeros before x; below 0: how many of x are skipped
     CHECK_H, CHECK_W          1: rows (columns) outside of x are met and must be told from those inside
     PIXELS                    neighbouring pixels of a strip
     THREAD_OUTPUTS            channels of dy of a thread
     SPLITS                    blocks that share the strips. Above 1, the sums of block s go to the workspace w0, element
                               s · OUTPUT_COUNT + the index of the result, and split_sum.cu adds them
     OUTPUT_COUNT              number of results
     SUM, RESULT               type of the sums, and the type that STORE takes
     X_VALUE(i)                the element i of x, as a SUM
     SLOPE(plane, i, j)        what dy has at row i and column j of a plane, as a SUM; planes are image · channels + channel

   blockIdx.x counts splits; blockIdx.y channels of x, then blocks of channels of dy, then groups. */

namespace GN_JOIN(NAME, _parts) {

constexpr int TAPS = KERNEL_H * KERNEL_W;
constexpr int SUMS = TAPS * THREAD_OUTPUTS;
constexpr int STRIPS = (POSITIONS_W + PIXELS - 1) / PIXELS;
constexpr int OUTPUT_BLOCKS = (OUTPUTS + THREAD_OUTPUTS - 1) / THREAD_OUTPUTS;
constexpr int SPAN = (PIXELS - 1) * STRIDE_W + (KERNEL_W - 1) * DILATION_W + 1;
/* From one sum of all threads to the next: odd, so that they lie in different banks. */
constexpr int STEP = THREADS + 1;

/* Threads that add up one sum: a power of two. */
constexpr int team() { return SUMS * 8 <= THREADS ? 8 : SUMS * 4 <= THREADS ? 4 : SUMS * 2 <= THREADS ? 2 : 1; }
constexpr int TEAM = team();

/* The channels that a block is for. */
struct Channels {
    int group, channel, first_output;
};

GN_DEVICE bool is_pixel(int column) { return POSITIONS_W % PIXELS == 0 || column < POSITIONS_W; }

/* The columns that a strip needs of one row of x, of which `start` is the first. */
GN_DEVICE void load_row(PARAMETERS, INDEX start, bool row_inside, int column, SUM *row)
{
#pragma unroll
    for (int s = 0; s < SPAN; s++) {
        const bool inside = row_inside && (!CHECK_W || (unsigned)(column + s) < SIZE_W);
        row[s] = inside ? X_VALUE(start + s) : SUM(0);
    }
}

GN_DEVICE void add_strip(PARAMETERS, INDEX strip, const Channels &block, SUM *sums)
{
    const INDEX line = strip / STRIPS, image = line / POSITIONS_H;
    const int i = (int)(line % POSITIONS_H), first = (int)(strip % STRIPS) * PIXELS;
    const int top = i * STRIDE_H - TOP, left = first * STRIDE_W - LEFT;
    SUM slopes[THREAD_OUTPUTS][PIXELS];
#pragma unroll
    for (int o = 0; o < THREAD_OUTPUTS; o++) {
        const int output = block.first_output + o;
        const INDEX plane = image * (GROUPS * OUTPUTS) + block.group * OUTPUTS + output;
#pragma unroll
        for (int j = 0; j < PIXELS; j++)
            slopes[o][j] = output < OUTPUTS && is_pixel(first + j) ? SLOPE(plane, i, (first + j)) : SUM(0);
    }
    const INDEX channel = (image * GROUPS + block.group) * CHANNELS + block.channel;
    const INDEX start = (channel * SIZE_H + top) * SIZE_W + left;
#pragma unroll
    for (int p = 0; p < KERNEL_H; p++) {
        SUM row[SPAN];
        const bool row_inside = !CHECK_H || (unsigned)(top + p * DILATION_H) < SIZE_H;
        load_row(ARGUMENTS, start + p * DILATION_H * SIZE_W, row_inside, left, row);
#pragma unroll
        for (int j = 0; j < PIXELS; j++)
            if (is_pixel(first + j)) /* beyond the last one there may be infinite elements of x */
#pragma unroll
                for (int o = 0; o < THREAD_OUTPUTS; o++)
#pragma unroll
                    for (int q = 0; q < KERNEL_W; q++)
                        sums[o * TAPS + p * KERNEL_W + q] += row[j * STRIDE_W + q * DILATION_W] * slopes[o][j];
    }
}

/* Add what the members of this thread's team see of sum number s of all threads; all of them have it then. */
GN_DEVICE SUM sum_of_block(const SUM *partial, int s)
{
    SUM sum = 0;
    if (s < SUMS) {
#pragma unroll 8
        for (int thread = (int)threadIdx.x % TEAM; thread < THREADS; thread += TEAM) sum += partial[s * STEP + thread];
    }
#pragma unroll
    for (int distance = TEAM / 2; distance > 0; distance /= 2) sum += gn_shuffle_xor(sum, distance);
    return sum;
}

GN_DEVICE void finish(PARAMETERS, const Channels &block, int s, SUM sum)
{
    const int output = block.first_output + s / TAPS;
    if (s >= SUMS || output >= OUTPUTS) return;
    const INDEX row = (INDEX)block.group * OUTPUTS + output;
    const INDEX i = (row * CHANNELS + block.channel) * TAPS + s % TAPS;
#if SPLITS > 1
    w0[(INDEX)blockIdx.x * (OUTPUT_COUNT) + i] = sum;
#else
    STORE(i, (RESULT)sum);
#endif
}

} /* namespace */

/* As in gemm.cu: told that one block is enough, the assembler keeps all in registers. */
#define BOUNDS THREADS, 1
GN_KERNEL(BOUNDS) NAME(PARAMETERS)
#undef BOUNDS
{
    using namespace GN_JOIN(NAME, _parts);
    GN_SHARED(SUM, partial, SUMS * STEP);
    const int rest = (int)blockIdx.y / CHANNELS;
    const Channels block = {rest / OUTPUT_BLOCKS, (int)blockIdx.y % CHANNELS, rest % OUTPUT_BLOCKS * THREAD_OUTPUTS};
    const INDEX strips = (INDEX)(IMAGES) * POSITIONS_H * STRIPS;
    SUM sums[SUMS] = {};
#pragma unroll 1
    for (INDEX strip = (INDEX)blockIdx.x * THREADS + (int)threadIdx.x; strip < strips; strip += (INDEX)SPLITS * THREADS)
        add_strip(ARGUMENTS, strip, block, sums);
#pragma unroll
    for (int s = 0; s < SUMS; s++) partial[s * STEP + (int)threadIdx.x] = sums[s];
    gn_barrier();
    for (int first = 0; first < SUMS; first += THREADS / TEAM) {
        const int s = first + (int)threadIdx.x / TEAM;
        const SUM sum = sum_of_block(partial, s);
        if ((int)threadIdx.x % TEAM == 0) finish(ARGUMENTS, block, s, sum);
    }
}
