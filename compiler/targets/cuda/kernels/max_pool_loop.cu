/* Gradient of max-pooling as a plain loop in one thread: what max_pool_gradient.cu is measured against.

   The macros are those of max_pool_gradient.cu, besides WINDOWS: how many there are. The elements are float, and y0 is
   written without STORE. */

GN_KERNEL(1) NAME(PARAMETERS)
{
    const INDEX windows = WINDOWS;
    for (INDEX i = 0; i < SIZE; i++) y0[i] = 0;
    for (INDEX i = 0; i < windows; i++) {
        const int position = X1(i);
        const int top = (int)(i / POOLED_WIDTH % POOLED_HEIGHT) * STRIDE_HEIGHT - TOP;
        const int left = (int)(i % POOLED_WIDTH) * STRIDE_WIDTH - LEFT;
        const int row = top + position / KERNEL_WIDTH * DILATION_HEIGHT;
        const int column = left + position % KERNEL_WIDTH * DILATION_WIDTH;
        const INDEX image = i / (POOLED_HEIGHT * POOLED_WIDTH) * (HEIGHT * WIDTH);
        if (row >= 0 && row < HEIGHT && column >= 0 && column < WIDTH) y0[image + row * WIDTH + column] += X0(i);
    }
}
