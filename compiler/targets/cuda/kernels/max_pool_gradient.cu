/* Gradient of max-pooling by the images: each element adds up what flows into the windows that it won.

   A thread makes one element, so that nothing is added from two sides; terms come in the order of their positions.

     SIZE                 elements of the images
     HEIGHT, WIDTH, POOLED_…, KERNEL_…, STRIDE_…, DILATION_…, TOP, LEFT   as in max_pool.cu
     ROW_STEP, COLUMN_STEP   an element has the positions p, p + STEP, … of windows along an axis, and no others
     VALUE, X0(i), X1(i)  type of sums, an element of the gradient by the windows' values, the position that won */

GN_KERNEL(THREADS) NAME(PARAMETERS)
{
    const INDEX i = (INDEX)blockIdx.x * THREADS + (INDEX)threadIdx.x;
    if (i >= SIZE) return;
    const int row = (int)(i / WIDTH % HEIGHT) + TOP, column = (int)(i % WIDTH) + LEFT;
    const INDEX pooled = i / (HEIGHT * WIDTH) * (POOLED_HEIGHT * POOLED_WIDTH);
    VALUE sum = 0;
    for (int a = 0; a < KERNEL_HEIGHT; a += ROW_STEP) {
        const int p = row % ROW_STEP + a, down = row - p * DILATION_HEIGHT, y = down / STRIDE_HEIGHT;
        if (p >= KERNEL_HEIGHT || down < 0 || down % STRIDE_HEIGHT != 0 || y >= POOLED_HEIGHT) continue;
        for (int b = 0; b < KERNEL_WIDTH; b += COLUMN_STEP) {
            const int q = column % COLUMN_STEP + b, right = column - q * DILATION_WIDTH, x = right / STRIDE_WIDTH;
            if (q >= KERNEL_WIDTH || right < 0 || right % STRIDE_WIDTH != 0 || x >= POOLED_WIDTH) continue;
            const INDEX window = pooled + y * POOLED_WIDTH + x;
            const VALUE dy = X0(window);
            sum += X1(window) == p * KERNEL_WIDTH + q ? dy : 0;
        }
    }
    STORE(i, sum);
}
