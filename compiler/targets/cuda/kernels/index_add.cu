/* Add entries to those of an axis at given places: y[o, index[o, j], k] = start + Σ term[o, j, k], in the order of j.

   A warp makes TILE_ROWS × TILE_COLUMNS elements. It looks through the places, 32 at a time, and adds the terms of
   those in its rows; each lane has elements of its own, so that nobody waits for anybody.

     ROWS, INNER, COUNT       entries of the axis, their elements, and places
     OUTER, ROW_TILE, COLUMN_TILE   which o, and which tile, this block's first warp makes; the others the next rows
     TILE_ROWS, TILE_COLUMNS  a tile; with one column, lanes share the rows, otherwise the columns
     PLACES_STEP              places of one o to those of the next: 0 where all use the same, else COUNT
     VALUE, START(i)          type of sums, and what element i starts from
     PLACE(j), TERM(i)        a place, an element of the terms */

GN_KERNEL(THREADS) NAME(PARAMETERS)
{
    GN_SHARED(VALUE, tiles, THREADS / 32 * TILE_ROWS * TILE_COLUMNS);
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    VALUE *tile = tiles + warp * TILE_ROWS * TILE_COLUMNS;
    const INDEX outer = OUTER, rows = ROWS, inner = INNER, count = COUNT;
    const INDEX top = ((INDEX)(ROW_TILE) * (THREADS / 32) + warp) * TILE_ROWS;
    const INDEX left = (INDEX)(COLUMN_TILE) * TILE_COLUMNS;
    const int rows_here = top + TILE_ROWS <= rows ? TILE_ROWS : top < rows ? (int)(rows - top) : 0;
    const int columns_here = left + TILE_COLUMNS <= inner ? TILE_COLUMNS : (int)(inner - left);
    if (rows_here == 0) return; /* the whole warp */

#define GN_ELEMENT(row, column) ((outer * rows + top + (row)) * inner + left + (column))
#if TILE_COLUMNS == 1
#define GN_FOR_OWN(row, column) \
    for (int row = lane, column = 0; row < rows_here; row += 32)
#else
#define GN_FOR_OWN(row, column)               \
    for (int row = 0; row < rows_here; row++) \
        for (int column = lane; column < columns_here; column += 32)
#endif

    GN_FOR_OWN(row, column) tile[row * TILE_COLUMNS + column] = START(GN_ELEMENT(row, column));
    for (INDEX base = 0; base < count; base += 32) {
        int row = -1;
        if (base + lane < count) {
            const int64_t given = (int64_t)PLACE(outer * (PLACES_STEP) + base + lane);
            const int64_t beyond_top = (given < 0 ? given + rows : given) - top;
            if (beyond_top >= 0 && beyond_top < rows_here) row = (int)beyond_top;
        }
        const unsigned found = gn_ballot(row >= 0);
        if (found == 0) continue;
#if TILE_COLUMNS == 1
        VALUE own = 0;
        if (row >= 0) own = TERM(outer * count + base + lane);
#endif
        /* Eight at a time, so that eight terms are on their way at once. */
        for (int eight = 0; eight < 32; eight += 8) {
            if ((found >> eight & 255) == 0) continue;
            int target[8];
#pragma unroll
            for (int k = 0; k < 8; k++) target[k] = gn_shuffle(row, eight + k);
#if TILE_COLUMNS == 1
#pragma unroll
            for (int k = 0; k < 8; k++) {
                const VALUE term = gn_shuffle(own, eight + k);
                if (target[k] >= 0 && target[k] % 32 == lane) tile[target[k]] += term;
            }
#else
            for (int column = lane; column < columns_here; column += 32) {
                VALUE term[8];
#pragma unroll
                for (int k = 0; k < 8; k++) {
                    term[k] = 0;
                    if (target[k] >= 0) term[k] = TERM((outer * count + base + eight + k) * inner + left + column);
                }
#pragma unroll
                for (int k = 0; k < 8; k++)
                    if (target[k] >= 0) tile[target[k] * TILE_COLUMNS + column] += term[k];
            }
#endif
        }
    }
    GN_FOR_OWN(row, column) STORE(GN_ELEMENT(row, column), tile[row * TILE_COLUMNS + column]);
#undef GN_ELEMENT
#undef GN_FOR_OWN
}
