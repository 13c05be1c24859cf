/* Gradient of average pooling by the images: each element adds up its shares of what flows into its windows.

   A thread makes one element; terms come in the order of the element's positions in the windows.

     SIZE, HEIGHT, WIDTH, POOLED_…, KERNEL_…, STRIDE_…, TOP, LEFT   as in max_pool_gradient.cu
     COUNTED_…      as in avg_pool.cu
     VALUE, X0(i)   type of sums, an element of the gradient by the means */

GN_KERNEL(THREADS) NAME(PARAMETERS)
{
    const INDEX i = (INDEX)blockIdx.x * THREADS + (INDEX)threadIdx.x;
    if (i >= SIZE) return;
    const int row = (int)(i / WIDTH % HEIGHT) + TOP, column = (int)(i % WIDTH) + LEFT;
    const INDEX pooled = i / (HEIGHT * WIDTH) * (POOLED_HEIGHT * POOLED_WIDTH);
    VALUE sum = 0;
    for (int a = 0; a < KERNEL_HEIGHT; a += STRIDE_HEIGHT) {
        const int p = row % STRIDE_HEIGHT + a, top = row - p, y = top / STRIDE_HEIGHT;
        if (p >= KERNEL_HEIGHT || top < 0 || y >= POOLED_HEIGHT) continue;
        const int rows = min(top - TOP + KERNEL_HEIGHT, HEIGHT + COUNTED_BOTTOM) - max(top - TOP, -COUNTED_TOP);
        for (int b = 0; b < KERNEL_WIDTH; b += STRIDE_WIDTH) {
            const int q = column % STRIDE_WIDTH + b, left = column - q, x = left / STRIDE_WIDTH;
            if (q >= KERNEL_WIDTH || left < 0 || x >= POOLED_WIDTH) continue;
            const int end = min(left - LEFT + KERNEL_WIDTH, WIDTH + COUNTED_RIGHT);
            const int columns = end - max(left - LEFT, -COUNTED_LEFT);
            sum += X0(pooled + y * POOLED_WIDTH + x) / (VALUE)(rows * columns);
        }
    }
    STORE(i, sum);
}
