/* Fibres: functions that stop in the middle and go on later, all on one thread of the operating system. */
#ifndef GRAPHNN_FIBRES_H
#define GRAPHNN_FIBRES_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define GN_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GN_ADDRESS_SANITIZER 1
#endif
#endif

#ifdef GN_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if (defined(__x86_64__) || defined(__aarch64__)) && !defined(GN_UCONTEXT)
#define GN_OWN_SWITCH 1
#else
#include <ucontext.h>
#endif

/* Pages that are never touched take no memory. */
static const size_t gn_stack_bytes = (size_t)1 << 18;

struct gn_stack {
    char *memory;
    gn_stack *next; /* among those that are free */
};

struct gn_fibre {
#ifdef GN_OWN_SWITCH
    void *top; /* the stack's, below which the registers lie */
#else
    ucontext_t context;
#endif
    gn_stack *stack;
    void *fake_stack; /* AddressSanitizer's */
};

static gn_fibre gn_home; /* the scheduler */
static gn_stack *gn_free_stacks;
#ifdef GN_ADDRESS_SANITIZER
static const void *gn_home_bottom; /* of its stack */
static size_t gn_home_bytes;
#endif

#ifdef GN_OWN_SWITCH

/* Save the registers that a function must keep, go to another stack and restore what was saved there. */
extern "C" void gn_switch(void **top, void *to) __asm__("gn_switch");

#if defined(__x86_64__)
__asm__(
    ".text\n"
    ".p2align 4\n"
    "gn_switch:\n"
    "    pushq %rbp\n    pushq %rbx\n    pushq %r12\n    pushq %r13\n    pushq %r14\n    pushq %r15\n"
    "    movq %rsp, (%rdi)\n"
    "    movq %rsi, %rsp\n"
    "    popq %r15\n    popq %r14\n    popq %r13\n    popq %r12\n    popq %rbx\n    popq %rbp\n"
    "    ret\n");

static void *gn_first_top(char *end, void (*function)())
{
    void **slots = (void **)end - 8;
    for (int i = 0; i < 6; i++) slots[i] = nullptr;
    slots[6] = (void *)function;
    slots[7] = nullptr; /* where its caller would be: unwinding ends here */
    return slots;
}
#else
__asm__(
    ".text\n"
    ".p2align 4\n"
    "gn_switch:\n"
    "    sub sp, sp, #160\n"
    "    stp x19, x20, [sp]\n     stp x21, x22, [sp, #16]\n  stp x23, x24, [sp, #32]\n  stp x25, x26, [sp, #48]\n"
    "    stp x27, x28, [sp, #64]\n stp x29, x30, [sp, #80]\n stp d8, d9, [sp, #96]\n    stp d10, d11, [sp, #112]\n"
    "    stp d12, d13, [sp, #128]\n stp d14, d15, [sp, #144]\n"
    "    mov x9, sp\n"
    "    str x9, [x0]\n"
    "    mov sp, x1\n"
    "    ldp x19, x20, [sp]\n     ldp x21, x22, [sp, #16]\n  ldp x23, x24, [sp, #32]\n  ldp x25, x26, [sp, #48]\n"
    "    ldp x27, x28, [sp, #64]\n ldp x29, x30, [sp, #80]\n ldp d8, d9, [sp, #96]\n    ldp d10, d11, [sp, #112]\n"
    "    ldp d12, d13, [sp, #128]\n ldp d14, d15, [sp, #144]\n"
    "    add sp, sp, #160\n"
    "    ret\n");

static void *gn_first_top(char *end, void (*function)())
{
    void **slots = (void **)end - 20;
    for (int i = 0; i < 20; i++) slots[i] = nullptr;
    slots[11] = (void *)function; /* x30, where ret goes */
    return slots;
}
#endif
#endif

static bool gn_take_stack(gn_fibre *fibre)
{
    gn_stack *stack = gn_free_stacks;
    if (stack) {
        gn_free_stacks = stack->next;
    } else {
        const size_t guard = (size_t)sysconf(_SC_PAGESIZE);
        void *memory = mmap(nullptr, gn_stack_bytes + guard, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
        stack = memory == MAP_FAILED ? nullptr : (gn_stack *)malloc(sizeof(gn_stack));
        if (!stack) return false;
        mprotect(memory, guard, PROT_NONE); /* beyond its end a stack stops the program rather than spoil another */
        stack->memory = (char *)memory + guard;
    }
    fibre->stack = stack;
    return true;
}

static void gn_give_stack(gn_fibre *fibre)
{
#ifdef GN_ADDRESS_SANITIZER
    __asan_unpoison_memory_region(fibre->stack->memory, gn_stack_bytes); /* functions that never returned left marks */
#endif
    fibre->stack->next = gn_free_stacks;
    gn_free_stacks = fibre->stack;
}

static void gn_exchange_stacks(gn_fibre *from, gn_fibre *to)
{
#ifdef GN_OWN_SWITCH
    gn_switch(&from->top, to->top);
#else
    swapcontext(&from->context, &to->context);
#endif
}

/* Let a new fibre begin with `function`, which never returns, at the next gn_resume. False: no memory. */
static bool gn_begin(gn_fibre *fibre, void (*function)())
{
    if (!gn_take_stack(fibre)) return false;
    fibre->fake_stack = nullptr;
#ifdef GN_OWN_SWITCH
    fibre->top = gn_first_top(fibre->stack->memory + gn_stack_bytes, function);
#else
    getcontext(&fibre->context);
    fibre->context.uc_stack.ss_sp = fibre->stack->memory;
    fibre->context.uc_stack.ss_size = gn_stack_bytes;
    fibre->context.uc_link = nullptr;
    makecontext(&fibre->context, function, 0);
#endif
    return true;
}

/* From the scheduler: let a fibre go on until it leaves. */
static void gn_resume(gn_fibre *fibre)
{
#ifdef GN_ADDRESS_SANITIZER
    __sanitizer_start_switch_fiber(&gn_home.fake_stack, fibre->stack->memory, gn_stack_bytes);
#endif
    gn_exchange_stacks(&gn_home, fibre);
#ifdef GN_ADDRESS_SANITIZER
    __sanitizer_finish_switch_fiber(gn_home.fake_stack, nullptr, nullptr);
#endif
}

/* In a fibre: what must come first after it was resumed. */
static void gn_arrive(gn_fibre *fibre)
{
#ifdef GN_ADDRESS_SANITIZER
    __sanitizer_finish_switch_fiber(fibre->fake_stack, &gn_home_bottom, &gn_home_bytes);
#else
    (void)fibre;
#endif
}

/* In a fibre: back to the scheduler. */
static void gn_leave(gn_fibre *fibre, bool for_ever)
{
#ifdef GN_ADDRESS_SANITIZER
    __sanitizer_start_switch_fiber(for_ever ? nullptr : &fibre->fake_stack, gn_home_bottom, gn_home_bytes);
#else
    (void)for_ever;
#endif
    gn_exchange_stacks(fibre, &gn_home);
    gn_arrive(fibre);
}

#endif
