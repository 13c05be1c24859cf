/* Runs the threads of a kernel one after another on one thread of the operating system.

   Blocks, warps and the lanes of a warp each come in an order of choice. A warp goes on as far as it can: all its lanes run
   until they wait or end; if they wait for one another they go on, if they wait for the block another warp has its turn.
   Nothing here may be called twice at the same time; the caller sees to that. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "fibres.h"
#include "runtime.h"
#include "tensor_cores.h"

namespace {

constexpr int most_threads = 1024;
constexpr size_t most_shared_bytes = 48 << 10;
constexpr int garbage = 0xff; /* of which all floating-point types make a NaN, and integers -1 */

enum { forward, reverse, random_order };
enum State { fresh, ready, waiting, ended };

struct Thread {
    gn_fibre fibre;
    gn_wait *request;
    State state;
};

Thread threads[most_threads];
int count, current; /* threads of the block; the one that runs */
bool warp_ready[most_threads / 32];

gn_program *program;
gn_entry *entry;
const int64_t *arguments;

int order;
uint64_t random_state;

gn_shared_site *sites;
size_t shared_bytes;
uint64_t blocks_so_far;

char *message;
size_t message_bytes;
bool failed;

__attribute__((format(printf, 1, 2))) void fail(const char *format, ...)
{
    if (failed) return;
    failed = true;
    const uint3 block = program->block;
    const int used = snprintf(message, message_bytes, "block (%u, %u, %u): ", block.x, block.y, block.z);
    va_list values;
    va_start(values, format);
    if ((size_t)used < message_bytes) vsnprintf(message + used, message_bytes - (size_t)used, format, values);
    va_end(values);
}

/* splitmix64 */
uint64_t draw()
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

uint64_t draw_below(uint64_t bound) { return draw() % bound; }

/* What programs call. */

void wait(gn_wait *request)
{
    Thread &own = threads[current];
    own.request = request;
    own.state = waiting;
    gn_leave(&own.fibre, false);
}

void open_site(gn_shared_site *site, size_t bytes)
{
    if (!site->memory) {
        if (posix_memalign(&site->memory, 16, bytes)) {
            site->memory = nullptr;
            fail("there is no memory for %zu bytes of shared memory", bytes);
            gn_leave(&threads[current].fibre, true);
        }
        site->bytes = bytes;
        site->next = sites;
        sites = site;
    }
    shared_bytes += bytes;
    if (shared_bytes > most_shared_bytes) {
        fail("its shared arrays take %zu bytes, more than %zu", shared_bytes, most_shared_bytes);
        gn_leave(&threads[current].fibre, true);
    }
    memset(site->memory, garbage, bytes);
    site->block = program->block_number;
}

void close_sites()
{
    while (sites) {
        free(sites->memory);
        sites->memory = nullptr;
        sites = sites->next;
    }
}

/* One thread. */

void run_thread()
{
    gn_arrive(&threads[current].fibre);
    entry(arguments);
    gn_leave(&threads[current].fibre, true);
    __builtin_trap();
}

void go_on(int number)
{
    Thread &thread = threads[number];
    if (thread.state == fresh && !gn_begin(&thread.fibre, run_thread)) {
        fail("there is no memory for the stack of thread %d", number);
        return;
    }
    current = number;
    program->thread = {(unsigned)number, 0, 0};
    thread.state = ready;
    gn_resume(&thread.fibre);
    if (thread.state == waiting) return;
    thread.state = ended;
    gn_give_stack(&thread.fibre);
}

/* One warp. */

int lanes_of(int warp) { return count - warp * 32 < 32 ? count - warp * 32 : 32; }

void arrange(int *numbers, int length)
{
    for (int i = 0; i < length; i++) numbers[i] = order == reverse ? length - 1 - i : i;
    if (order != random_order) return;
    for (int i = length - 1; i > 0; i--) {
        const int j = (int)draw_below((uint64_t)i + 1), number = numbers[i];
        numbers[i] = numbers[j];
        numbers[j] = number;
    }
}

bool alike(const gn_wait *a, const gn_wait *b) { return a->kind == b->kind && a->line == b->line; }

void fail_at_two_places(int one, int other)
{
    const gn_wait *a = threads[one].request, *b = threads[other].request;
    fail("thread %d waits at %s, line %d, and thread %d at %s, line %d; they must meet at the same place", one, a->name,
         a->line, other, b->name, b->line);
}

/* What the 32 lanes of a warp do together. */
void exchange(Thread *warp)
{
    gn_wait *requests[32];
    uint64_t given[32], votes = 0;
    for (int lane = 0; lane < 32; lane++) {
        requests[lane] = warp[lane].request;
        given[lane] = requests[lane]->value;
        votes |= (uint64_t)(given[lane] != 0) << lane;
    }
    const gn_wait_kind kind = requests[0]->kind;
    if (kind == GN_WAIT_SHUFFLE)
        for (int lane = 0; lane < 32; lane++) requests[lane]->value = given[requests[lane]->lane];
    else if (kind == GN_WAIT_BALLOT)
        for (int lane = 0; lane < 32; lane++) requests[lane]->value = votes;
    else
        gn_multiply(kind, requests);
}

/* All lanes wait or have ended. Returns whether those that wait go on now. */
bool settle(int warp)
{
    Thread *lanes = threads + warp * 32;
    const int length = lanes_of(warp);
    int first = -1, gone = -1;
    for (int lane = 0; lane < length; lane++) {
        if (lanes[lane].state == ended) {
            gone = lane;
        } else if (first < 0) {
            first = lane;
        } else if (!alike(lanes[first].request, lanes[lane].request)) {
            fail_at_two_places(warp * 32 + first, warp * 32 + lane);
            return false;
        }
    }
    if (first < 0) return false;
    const gn_wait *request = lanes[first].request;
    if (request->kind == GN_WAIT_BARRIER) return false;
    if (request->kind != GN_WAIT_WARP_BARRIER) {
        if (gone >= 0 || length < 32) {
            const int missing = warp * 32 + (gone >= 0 ? gone : length);
            fail("thread %d waits at %s, line %d, which needs all 32 lanes of its warp, but thread %d %s",
                 warp * 32 + first, request->name, request->line, missing, gone >= 0 ? "has ended" : "does not exist");
            return false;
        }
        exchange(lanes);
    }
    for (int lane = 0; lane < length; lane++)
        if (lanes[lane].state == waiting) lanes[lane].state = ready;
    return true;
}

bool run_warp(int warp)
{
    int lanes[32];
    const int length = lanes_of(warp);
    arrange(lanes, length);
    for (int i = 0; i < length && !failed; i++) {
        const int number = warp * 32 + lanes[i];
        if (threads[number].state != ended) go_on(number);
    }
    return !failed && settle(warp);
}

/* One block. */

int choose_warp(int warps)
{
    int found[most_threads / 32], length = 0;
    for (int warp = 0; warp < warps; warp++)
        if (warp_ready[warp]) found[length++] = warp;
    if (!length) return -1;
    if (order == random_order) return found[draw_below((uint64_t)length)];
    return order == forward ? found[0] : found[length - 1];
}

/* Every thread waits at a barrier of the block or has ended. Returns whether there are any that go on. */
bool release()
{
    int first = -1;
    for (int number = 0; number < count; number++) {
        if (threads[number].state == ended) continue;
        if (first < 0) first = number;
        if (!alike(threads[first].request, threads[number].request)) {
            fail_at_two_places(first, number);
            return false;
        }
        threads[number].state = ready;
        warp_ready[number / 32] = true;
    }
    return first >= 0;
}

void run_block()
{
    const int warps = (count + 31) / 32;
    shared_bytes = 0;
    program->block_number = ++blocks_so_far;
    for (int number = 0; number < count; number++) threads[number].state = fresh;
    for (int warp = 0; warp < warps; warp++) warp_ready[warp] = true;
    do {
        for (int warp; !failed && (warp = choose_warp(warps)) >= 0;) warp_ready[warp] = run_warp(warp);
    } while (!failed && release());
    for (int number = 0; failed && number < count; number++)
        if (threads[number].state == waiting || threads[number].state == ready)
            gn_give_stack(&threads[number].fibre); /* they never go on */
}

uint64_t greatest_divisor(uint64_t a, uint64_t b)
{
    while (b) {
        const uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

} // namespace

/* Run a kernel. Returns 0, or 1 with a message that says what is wrong with it. */
GN_EXPORT int gn_emulate(gn_program *state, gn_entry *kernel, const int64_t *values, const int32_t grid[3],
                         int32_t block_threads, int32_t chosen_order, uint64_t seed, char *text, int64_t text_bytes)
{
    program = state;
    entry = kernel;
    arguments = values;
    count = block_threads;
    order = chosen_order;
    random_state = seed;
    message = text;
    message_bytes = (size_t)text_bytes;
    failed = false;
    program->wait = wait;
    program->open_site = open_site;
    program->block_dim = {(unsigned)count, 1, 1};
    program->grid_dim = {(unsigned)grid[0], (unsigned)grid[1], (unsigned)grid[2]};

    /* i -> a·i + b modulo the number of blocks is each of them once, where a has no divisor in common with it. */
    const uint64_t x = (uint64_t)grid[0], y = (uint64_t)grid[1], blocks = x * y * (uint64_t)grid[2];
    uint64_t step = 1, block = 0;
    if (order == reverse) {
        step = blocks - 1;
        block = blocks - 1;
    } else if (order == random_order) {
        block = draw_below(blocks);
        do step = draw_below(blocks) + 1;
        while (greatest_divisor(step, blocks) != 1);
    }
    for (uint64_t i = 0; i < blocks && !failed; i++) {
        program->block = {(unsigned)(block % x), (unsigned)(block / x % y), (unsigned)(block / x / y)};
        run_block();
        block = (block + step) % blocks;
    }
    close_sites();
    return failed;
}

/* Device memory; of its end AddressSanitizer knows to the byte. */
GN_EXPORT void *gn_allocate(int64_t bytes)
{
    void *memory = nullptr;
    if (posix_memalign(&memory, 256, (size_t)bytes)) return nullptr;
    memset(memory, garbage, (size_t)bytes);
    return memory;
}

GN_EXPORT void gn_free(void *memory) { free(memory); }
