/* Mean value of each window of images. A thread makes one.

     SIZE, HEIGHT, WIDTH, POOLED_…, KERNEL_…, STRIDE_…, TOP, LEFT, CLIPPED   as in max_pool.cu
     COUNTED_TOP, COUNTED_BOTTOM, COUNTED_LEFT, COUNTED_RIGHT   padding that counts in the divisor
     VALUE, X0(i)   type of sums, an element of the images */

GN_KERNEL(THREADS) NAME(PARAMETERS)
{
    const INDEX i = (INDEX)blockIdx.x * THREADS + (INDEX)threadIdx.x;
    if (i >= SIZE) return;
    const int top = (int)(i / POOLED_WIDTH % POOLED_HEIGHT) * STRIDE_HEIGHT - TOP;
    const int left = (int)(i % POOLED_WIDTH) * STRIDE_WIDTH - LEFT;
    const INDEX image = i / (POOLED_HEIGHT * POOLED_WIDTH) * (HEIGHT * WIDTH);
    VALUE sum = 0;
    for (int row = top; row < top + KERNEL_HEIGHT; row++)
        for (int column = left; column < left + KERNEL_WIDTH; column++) {
#if CLIPPED
            if (row < 0 || row >= HEIGHT || column < 0 || column >= WIDTH) continue;
#endif
            sum += X0(image + row * WIDTH + column);
        }
    const int rows = min(top + KERNEL_HEIGHT, HEIGHT + COUNTED_BOTTOM) - max(top, -COUNTED_TOP);
    const int columns = min(left + KERNEL_WIDTH, WIDTH + COUNTED_RIGHT) - max(left, -COUNTED_LEFT);
    STORE(i, sum / (VALUE)(rows * columns));
}
