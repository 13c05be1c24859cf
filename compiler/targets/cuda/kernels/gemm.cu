/* Matrix products: C(z, m, j) = sum over k of A(z, m, k) · B(z, k, j), where A and B are whatever two macros read.

   A block computes a tile of C. It brings the terms of a tile of A and of one of B to shared memory, and loads the next
   ones while it multiplies. Rows, columns and terms beyond the last count as 0. Sums are taken in a fixed order.

     THREADS                threads of a block
     GEMM_M, GEMM_N, GEMM_K numbers of rows, columns and terms; may be expressions in n, the last one also in z
     GEMM_BATCHES           number of products, z; may be an expression in n
     EACH_Z                 how many pairs (z, split) one blockIdx.z takes, one after the other
     ROWS_ALONG_Y           1: blockIdx.y counts tiles of rows and blockIdx.x those of columns; 0: the other way round
     TILE_M, TILE_N         rows and columns of a tile, powers of two up to THREADS
     TILE_K                 terms brought at a time, a power of two
     SLICES                 groups of threads that share the terms of a tile among them; their sums are added at the end
     SPLITS                 parts of the terms for different blocks. Above 1, the sums of a part go to the workspace w0,
                            element split · OUTPUT_COUNT + OUTPUT_INDEX, and split_sum.cu adds them
     OUTPUT_INDEX(z, m, j)  row-major linear index of a result
     OUTPUT_EXISTS(z, m, j) optional: whether there is such a result; all if not defined
     OUTPUT_COUNT           number of results; only read where SPLITS is above 1
     OUTPUT_ALONG_M         1: neighbouring rows, not columns, are neighbours in the output
     SUM, RESULT            type of the sums, and the type that STORE takes
     MMA                    0: multiply in SUM; 1: TF32, 2: bfloat16, 3: float16 on tensor cores, with sums of float
                            (before compute capability 8.0 without tensor cores, and TF32 as float)
     THREAD_M, THREAD_N     without MMA: rows and columns of a thread
     WARP_M, WARP_N         with MMA: rows and columns of a warp, multiples of 16 and of 8

   Three macros read an operand. What depends on the row (column) alone is computed once for all terms.

     A_LINE(z, m), A_TERM(z, k)    each a list {offset, y, x} of INDEX, int, int
     A_VALUE(line, term)           the element where they meet, a SUM (with MMA 2 and 3: the bits of a 16-bit float)
     A_ALONG_K                     1: neighbouring terms, not rows, are neighbours in memory
     B_LINE(z, i), B_TERM(z, k), B_VALUE(line, term), B_ALONG_K    the same for columns */

namespace GN_JOIN(NAME, _parts) {

/* Shared memory is made of words: of one term each, or of two neighbouring ones where elements are 16 bits. */
#if MMA == 0
typedef SUM Element;
typedef SUM Word;
#elif MMA == 1
typedef SUM Element;
typedef uint32_t Word;
#else
typedef uint32_t Element;
typedef uint32_t Word;
#endif
constexpr int WORD_TERMS = MMA >= 2 ? 2 : 1;
constexpr int WORDS = TILE_K / WORD_TERMS;

struct Place {
    INDEX offset;
    int y, x;
};

/* How an operand's tile lies in shared memory, and which of its words a thread brings there.

   Word w of line i is at i · LINE_STEP + w · WORD_STEP. Threads read neighbouring lines, so these lie side by side; only
   fragments for tensor cores are read as well from words side by side, as they come from memory along k. The gap puts
   what a warp accesses at once into different banks.

   Neighbouring threads bring what is near in memory; then each goes on to further lines (words). */
template <int TILE, int ALONG_K>
struct Layout {
    static constexpr bool BY_LINES = MMA != 0 && ALONG_K;
    static constexpr int GAP = MMA != 0 ? (24 - TILE % 16) % 16 : ALONG_K ? 16 / (int)sizeof(Word) : 0;
    static constexpr int LINE_STEP = BY_LINES ? WORDS + 4 : 1;
    static constexpr int WORD_STEP = BY_LINES ? 1 : TILE + GAP;
    static constexpr int SIZE = BY_LINES ? TILE * LINE_STEP : WORDS * WORD_STEP;

    static constexpr int NEAR = ALONG_K ? WORDS : TILE, FAR = ALONG_K ? TILE : WORDS;
    static constexpr int STRIDE = THREADS / NEAR;
    static constexpr int LOADS = (FAR + STRIDE - 1) / STRIDE;
    static constexpr int LINES = ALONG_K ? LOADS : 1;
    static_assert(THREADS % NEAR == 0, "the threads take whole rows of a tile");

    GN_DEVICE int near() { return (int)threadIdx.x % NEAR; }
    GN_DEVICE int far(int load) { return (int)threadIdx.x / NEAR + load * STRIDE; }
    GN_DEVICE int line(int load) { return ALONG_K ? far(load) : near(); }
    GN_DEVICE int word(int load) { return ALONG_K ? near() : far(load); }
    GN_DEVICE bool has(int load) { return FAR % STRIDE == 0 || far(load) < FAR; }
};

struct A : Layout<TILE_M, A_ALONG_K> {
    GN_DEVICE INDEX count(PARAMETERS) { return GEMM_M; }
    GN_DEVICE Place place(PARAMETERS, int z, INDEX m) { return A_LINE(z, m); }
    GN_DEVICE Element element(PARAMETERS, int z, const Place &line, INDEX k)
    {
        const Place term = A_TERM(z, k);
        return A_VALUE(line, term);
    }
};

struct B : Layout<TILE_N, B_ALONG_K> {
    GN_DEVICE INDEX count(PARAMETERS) { return GEMM_N; }
    GN_DEVICE Place place(PARAMETERS, int z, INDEX j) { return B_LINE(z, j); }
    GN_DEVICE Element element(PARAMETERS, int z, const Place &line, INDEX k)
    {
        const Place term = B_TERM(z, k);
        return B_VALUE(line, term);
    }
};

/* The word that begins with term k. */
template <class Operand>
GN_DEVICE Word word_at(PARAMETERS, int z, const Place &line, INDEX k)
{
    const INDEX end = GEMM_K;
    const Element value = k < end ? Operand::element(ARGUMENTS, z, line, k) : Element(0);
#if MMA == 0
    return value;
#elif MMA == 1 && defined(GN_HAS_TF32)
    return gn_to_tf32(value);
#elif MMA == 1
    return gn_bits_of(value);
#else
    const Element next = k + 1 < end ? Operand::element(ARGUMENTS, z, line, k + 1) : Element(0);
    return value | next << 16;
#endif
}

/* The lines that this thread brings words of; `first` is the tile's first line. */
template <class Operand>
GN_DEVICE void find_lines(PARAMETERS, int z, INDEX first, Place *lines)
{
#pragma unroll
    for (int i = 0; i < Operand::LINES; i++) lines[i] = Operand::place(ARGUMENTS, z, first + Operand::line(i));
}

/* Load this thread's words of the terms from k on. */
template <class Operand>
GN_DEVICE void fetch(PARAMETERS, int z, INDEX first, const Place *lines, INDEX k, Word *held)
{
#pragma unroll
    for (int i = 0; i < Operand::LOADS; i++) {
        const bool inside = Operand::has(i) && first + Operand::line(i) < Operand::count(ARGUMENTS);
        const Place &line = lines[Operand::LINES > 1 ? i : 0];
        held[i] = inside ? word_at<Operand>(ARGUMENTS, z, line, k + Operand::word(i) * WORD_TERMS) : Word(0);
    }
}

/* Put them into shared memory. */
template <class Operand>
GN_DEVICE void put(const Word *held, Word *tile)
{
#pragma unroll
    for (int i = 0; i < Operand::LOADS; i++)
        if (Operand::has(i))
            tile[Operand::line(i) * Operand::LINE_STEP + Operand::word(i) * Operand::WORD_STEP] = held[i];
}

/* What a thread computes: RESULTS sums, of which number i is at row(i) and column(i) of the tile. */
#if MMA == 0

constexpr int THREADS_M = TILE_M / THREAD_M, THREADS_N = TILE_N / THREAD_N;
constexpr int TEAM = THREADS_M * THREADS_N;
constexpr int RESULTS = THREAD_M * THREAD_N;
/* Lines go in runs that can be read at once, up to 16 bytes. */
constexpr int WIDEST = 16 / (int)sizeof(Word);
constexpr int RUN_M = THREAD_M < WIDEST ? THREAD_M : WIDEST, RUN_N = THREAD_N < WIDEST ? THREAD_N : WIDEST;
static_assert(WORDS % SLICES == 0 && TEAM * SLICES == THREADS, "slices are equal");

GN_DEVICE int slice() { return (int)threadIdx.x / TEAM; }
GN_DEVICE int first_row()
{
    const int member = (int)threadIdx.x % TEAM;
    return (OUTPUT_ALONG_M ? member % THREADS_M : member / THREADS_N) * RUN_M;
}
GN_DEVICE int first_column()
{
    const int member = (int)threadIdx.x % TEAM;
    return (OUTPUT_ALONG_M ? member / THREADS_M : member % THREADS_N) * RUN_N;
}
GN_DEVICE int line_in_tile(int i, int run, int threads) { return i % run + i / run * run * threads; }
GN_DEVICE int row(int i) { return first_row() + line_in_tile(i / THREAD_N, RUN_M, THREADS_M); }
GN_DEVICE int column(int i) { return first_column() + line_in_tile(i % THREAD_N, RUN_N, THREADS_N); }

/* Add the products of one tile's terms. */
GN_DEVICE void accumulate(const Word *tile_a, const Word *tile_b, SUM *sums)
{
    tile_a += slice() * A::WORD_STEP + first_row();
    tile_b += slice() * B::WORD_STEP + first_column();
#pragma unroll 8
    for (int w = 0; w < WORDS; w += SLICES) {
        Word a[THREAD_M], b[THREAD_N];
#pragma unroll
        for (int i = 0; i < THREAD_M; i++) a[i] = tile_a[w * A::WORD_STEP + line_in_tile(i, RUN_M, THREADS_M)];
#pragma unroll
        for (int i = 0; i < THREAD_N; i++) b[i] = tile_b[w * B::WORD_STEP + line_in_tile(i, RUN_N, THREADS_N)];
#pragma unroll
        for (int i = 0; i < RESULTS; i++) sums[i] += a[i / THREAD_N] * b[i % THREAD_N];
    }
}

#else

constexpr int WARPS_M = TILE_M / WARP_M, WARPS_N = TILE_N / WARP_N;
constexpr int PRODUCTS_M = WARP_M / 16, PRODUCTS_N = WARP_N / 8;
constexpr int TEAM = WARPS_M * WARPS_N * 32;
constexpr int RESULTS = PRODUCTS_M * PRODUCTS_N * 4;
static_assert(WORDS % (8 * SLICES) == 0 && TEAM * SLICES == THREADS, "slices are equal");

GN_DEVICE int slice() { return (int)threadIdx.x / TEAM; }
GN_DEVICE int group() { return (int)threadIdx.x % 32 / 4; }
GN_DEVICE int member() { return (int)threadIdx.x % 4; }
GN_DEVICE int first_row() { return (int)threadIdx.x % TEAM / 32 / WARPS_N * WARP_M; }
GN_DEVICE int first_column() { return (int)threadIdx.x / 32 % WARPS_N * WARP_N; }
GN_DEVICE int row(int i) { return first_row() + i / 4 / PRODUCTS_N * 16 + i % 4 / 2 * 8 + group(); }
GN_DEVICE int column(int i) { return first_column() + i / 4 % PRODUCTS_N * 8 + i % 2 + member() * 2; }

#ifdef GN_HAS_TF32

/* Add the products of one tile's terms: 8 words of 16 rows times 8 words of 8 columns at a time. */
GN_DEVICE void accumulate(const Word *tile_a, const Word *tile_b, SUM *sums)
{
    const int first_word = slice() * 8 + member();
    tile_a += (first_row() + group()) * A::LINE_STEP + first_word * A::WORD_STEP;
    tile_b += (first_column() + group()) * B::LINE_STEP + first_word * B::WORD_STEP;
#pragma unroll
    for (int w = 0; w < WORDS; w += 8 * SLICES) {
        uint32_t a[4], b[PRODUCTS_N][2];
#pragma unroll
        for (int i = 0; i < PRODUCTS_N * 2; i++)
            b[i / 2][i % 2] = tile_b[i / 2 * 8 * B::LINE_STEP + (w + i % 2 * 4) * B::WORD_STEP];
#pragma unroll
        for (int i = 0; i < PRODUCTS_M * PRODUCTS_N; i++) {
            const int m = i / PRODUCTS_N, j = i % PRODUCTS_N;
            if (j == 0)
#pragma unroll
                for (int e = 0; e < 4; e++)
                    a[e] = tile_a[(m * 16 + e % 2 * 8) * A::LINE_STEP + (w + e / 2 * 4) * A::WORD_STEP];
#if MMA == 1
            gn_mma_tf32(sums + i * 4, a, b[j]);
#elif MMA == 2
            gn_mma_bf16(sums + i * 4, a, b[j]);
#else
            gn_mma_f16(sums + i * 4, a, b[j]);
#endif
        }
    }
}

#else

GN_DEVICE float product(Word a, Word b)
{
#if MMA == 1
    return gn_float_of(a) * gn_float_of(b);
#elif MMA == 2
    return gn_load_bf16((uint16_t)a) * gn_load_bf16((uint16_t)b) + gn_load_bf16(a >> 16) * gn_load_bf16(b >> 16);
#else
    return gn_load_f16((uint16_t)a) * gn_load_f16((uint16_t)b) + gn_load_f16(a >> 16) * gn_load_f16(b >> 16);
#endif
}

/* The same where tensor cores know neither TF32 nor bfloat16: right, but slow. */
GN_DEVICE void accumulate(const Word *tile_a, const Word *tile_b, SUM *sums)
{
#pragma unroll 1
    for (int w = slice() * 8; w < WORDS; w += w % 8 == 7 ? 8 * SLICES - 7 : 1)
#pragma unroll
        for (int i = 0; i < RESULTS; i++)
            sums[i] += product(tile_a[row(i) * A::LINE_STEP + w * A::WORD_STEP],
                               tile_b[column(i) * B::LINE_STEP + w * B::WORD_STEP]);
}

#endif
#endif

constexpr int TILES = A::SIZE + B::SIZE;
constexpr int PARTIAL_SUMS = SLICES > 1 ? SLICES * TILE_M * TILE_N : 0;
constexpr int SHARED = 2 * TILES > PARTIAL_SUMS ? 2 * TILES : PARTIAL_SUMS;
static_assert(sizeof(SUM) == sizeof(Word), "words and sums take turns in shared memory");

/* Add up the products of the terms from k to `end`, a tile at a time. */
GN_DEVICE void sum_products(PARAMETERS, int z, INDEX first_m, INDEX first_j, INDEX k, INDEX end, Word *memory, SUM *sums)
{
    if (k >= end) return;
    Place lines_a[A::LINES], lines_b[B::LINES];
    find_lines<A>(ARGUMENTS, z, first_m, lines_a);
    find_lines<B>(ARGUMENTS, z, first_j, lines_b);
    Word held_a[A::LOADS], held_b[B::LOADS];
    fetch<A>(ARGUMENTS, z, first_m, lines_a, k, held_a);
    fetch<B>(ARGUMENTS, z, first_j, lines_b, k, held_b);
    put<A>(held_a, memory);
    put<B>(held_b, memory + A::SIZE);
    gn_barrier();
    for (int buffer = 0;; buffer ^= 1) {
        const Word *tile = memory + buffer * TILES;
        Word *next = memory + (buffer ^ 1) * TILES;
        k += TILE_K;
        if (k < end) {
            fetch<A>(ARGUMENTS, z, first_m, lines_a, k, held_a);
            fetch<B>(ARGUMENTS, z, first_j, lines_b, k, held_b);
        }
        accumulate(tile, tile + A::SIZE, sums);
        if (k >= end) return;
        put<A>(held_a, next);
        put<B>(held_b, next + A::SIZE);
        gn_barrier();
    }
}

GN_DEVICE void finish(PARAMETERS, int z, int split, INDEX m, INDEX j, SUM sum)
{
    if (m >= GEMM_M || j >= GEMM_N) return;
#ifdef OUTPUT_EXISTS
    if (!(OUTPUT_EXISTS(z, m, j))) return;
#endif
#if SPLITS > 1
    w0[split * (INDEX)(OUTPUT_COUNT) + OUTPUT_INDEX(z, m, j)] = sum;
#else
    STORE(OUTPUT_INDEX(z, m, j), (RESULT)sum);
#endif
}

} /* namespace */

/* One block a multiprocessor will do. Not told so, the assembler moves registers to memory to make room for more. */
#define BOUNDS THREADS, 1
GN_KERNEL(BOUNDS) NAME(PARAMETERS)
#undef BOUNDS
{
    using namespace GN_JOIN(NAME, _parts);
    GN_SHARED(Word, memory, SHARED);
    const INDEX first_m = (INDEX)(ROWS_ALONG_Y ? blockIdx.y : blockIdx.x) * TILE_M;
    const INDEX first_j = (INDEX)(ROWS_ALONG_Y ? blockIdx.x : blockIdx.y) * TILE_N;
    for (int each = 0; each < EACH_Z; each++) {
        const int turn = (int)blockIdx.z * EACH_Z + each;
        if (turn >= GEMM_BATCHES * SPLITS) return;
        const int z = turn / SPLITS, split = turn % SPLITS;
        const INDEX steps = ((INDEX)(GEMM_K) + TILE_K - 1) / TILE_K, extra = steps % SPLITS;
        const INDEX begin = steps / SPLITS * split + (split < extra ? split : extra);
        const INDEX end = begin + steps / SPLITS + (split < extra);

        if (each > 0) gn_barrier();
        SUM sums[RESULTS] = {};
        sum_products(ARGUMENTS, z, first_m, first_j, begin * TILE_K, end * TILE_K, memory, sums);
#if SLICES == 1
#pragma unroll
        for (int i = 0; i < RESULTS; i++) finish(ARGUMENTS, z, split, first_m + row(i), first_j + column(i), sums[i]);
#else
        SUM *partial = (SUM *)memory;
        gn_barrier();
#pragma unroll
        for (int i = 0; i < RESULTS; i++) {
            const int place = OUTPUT_ALONG_M ? column(i) * TILE_M + row(i) : row(i) * TILE_N + column(i);
            partial[slice() * (TILE_M * TILE_N) + place] = sums[i];
        }
        gn_barrier();
        for (int place = threadIdx.x; place < TILE_M * TILE_N; place += THREADS) {
            SUM sum = partial[place];
#pragma unroll
            for (int other = 1; other < SLICES; other++) sum += partial[other * (TILE_M * TILE_N) + place];
            const int m = OUTPUT_ALONG_M ? place % TILE_M : place / TILE_N;
            const int j = OUTPUT_ALONG_M ? place / TILE_M : place % TILE_N;
            finish(ARGUMENTS, z, split, first_m + m, first_j + j, sum);
        }
#endif
    }
}
