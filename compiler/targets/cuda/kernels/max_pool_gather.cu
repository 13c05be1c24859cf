/* The element of each window of images that stands at a given position, 0 where that is in the padding.

     SIZE, HEIGHT, WIDTH, POOLED_…, KERNEL_WIDTH, STRIDE_…, DILATION_…, TOP, LEFT   as in max_pool.cu
     VALUE, X0(i), X1(i)   type of values, an element of the images, a position */

GN_KERNEL(THREADS) NAME(PARAMETERS)
{
    const INDEX i = (INDEX)blockIdx.x * THREADS + (INDEX)threadIdx.x;
    if (i >= SIZE) return;
    const int position = X1(i);
    const int top = (int)(i / POOLED_WIDTH % POOLED_HEIGHT) * STRIDE_HEIGHT - TOP;
    const int left = (int)(i % POOLED_WIDTH) * STRIDE_WIDTH - LEFT;
    const int row = top + position / KERNEL_WIDTH * DILATION_HEIGHT;
    const int column = left + position % KERNEL_WIDTH * DILATION_WIDTH;
    const INDEX image = i / (POOLED_HEIGHT * POOLED_WIDTH) * (HEIGHT * WIDTH);
    VALUE value = 0;
    if (row >= 0 && row < HEIGHT && column >= 0 && column < WIDTH) value = X0(image + row * WIDTH + column);
    STORE(i, value);
}
