/* Largest value of each window of images, its position in the window, or both. A thread makes one.

   Of equal values the first wins, and NaN wins over numbers; places outside of the images never do.

     SIZE                       windows in all
     HEIGHT, WIDTH              of the images; with POOLED_ before, windows along both axes
     KERNEL_…, STRIDE_…, DILATION_… HEIGHT and WIDTH; TOP, LEFT: padding before
     CLIPPED                    1 where windows reach beyond the images, else 0
     VALUES, POSITIONS          1 for what is wanted, else 0. STORE takes it; with both, STORE1 takes the positions
     VALUE, LOWEST, X0(i)       type in which values are compared, its lowest, an element of the images */

GN_KERNEL(THREADS) NAME(PARAMETERS)
{
    const INDEX i = (INDEX)blockIdx.x * THREADS + (INDEX)threadIdx.x;
    if (i >= SIZE) return;
    const int top = (int)(i / POOLED_WIDTH % POOLED_HEIGHT) * STRIDE_HEIGHT - TOP;
    const int left = (int)(i % POOLED_WIDTH) * STRIDE_WIDTH - LEFT;
    const INDEX image = i / (POOLED_HEIGHT * POOLED_WIDTH) * (HEIGHT * WIDTH);
    VALUE largest = LOWEST;
    bool found = false;
#if POSITIONS
    int position = 0;
#endif
    for (int p = 0; p < KERNEL_HEIGHT; p++)
        for (int q = 0; q < KERNEL_WIDTH; q++) {
            const int row = top + p * DILATION_HEIGHT, column = left + q * DILATION_WIDTH;
#if CLIPPED
            if (row < 0 || row >= HEIGHT || column < 0 || column >= WIDTH) continue;
#endif
            const VALUE value = X0(image + row * WIDTH + column);
            if (!found || value > largest || (value != value && largest == largest)) {
                largest = value;
#if POSITIONS
                position = p * KERNEL_WIDTH + q;
#endif
            }
            found = true;
        }
#if VALUES && POSITIONS
    STORE(i, largest);
    STORE1(i, position);
#elif VALUES
    STORE(i, largest);
#else
    STORE(i, position);
#endif
}
