/* What a program and the scheduler, two libraries, say to one another. */
#ifndef GRAPHNN_RUNTIME_H
#define GRAPHNN_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#define GN_EXPORT extern "C" __attribute__((visibility("default")))

struct uint3 {
    unsigned x, y, z;
};

enum gn_wait_kind {
    GN_WAIT_BARRIER,
    GN_WAIT_WARP_BARRIER,
    GN_WAIT_SHUFFLE,
    GN_WAIT_BALLOT,
    GN_WAIT_TF32,
    GN_WAIT_BF16,
    GN_WAIT_F16
};

/* What a thread waits for, and what it gives to the others and gets from them. */
struct gn_wait {
    gn_wait_kind kind;
    const char *name;
    int line;       /* of the program's text */
    unsigned lane;  /* shuffles: whose value */
    uint64_t value; /* shuffles and votes: one's own, then the result */
    float *d;       /* products */
    const uint32_t *a, *b;
};

/* A shared array: its memory in the block that used it last. */
struct gn_shared_site {
    void *memory;
    uint64_t block;
    size_t bytes;
    gn_shared_site *next;
};

/* A program's state, set by the scheduler whenever a thread goes on. */
struct gn_program {
    uint3 thread, block, block_dim, grid_dim;
    uint64_t block_number; /* never the same twice, and never 0 */
    void (*wait)(gn_wait *request);
    void (*open_site)(gn_shared_site *site, size_t bytes);
};

typedef void gn_entry(const int64_t *arguments);

#endif
