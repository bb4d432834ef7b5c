/* System calls without a C library: results are the kernel's own, negative errno on failure.
 *
 * The child of a clone that shares our memory also shares this thread's errno and locks, so it may
 * use nothing of libc; and init has no libc at all. Both speak through this file only.
 */

#ifndef ANCHOR_RAW_H
#define ANCHOR_RAW_H

#include <asm/unistd.h>
#include <linux/sched.h>

#if !defined(__x86_64__) && !defined(__aarch64__)
#error "only x86_64 and aarch64 are written down here"
#endif

#if defined(__x86_64__)

static inline long raw_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

/* clone3 whose child runs `entry(argument)` on the stack named in `args`, and never returns. */
static inline long raw_clone(struct clone_args *args, void (*entry)(void *), void *argument)
{
    register long r12 __asm__("r12") = (long)entry;
    register long r13 __asm__("r13") = (long)argument;
    long result;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t" /* the end of every back-trace */
                     "mov %%r13, %%rdi\n\t"
                     "call *%%r12\n\t"
                     "ud2\n"
                     "1:"
                     : "=a"(result)
                     : "0"((long)__NR_clone3), "D"(args), "S"(sizeof *args), "r"(r12), "r"(r13)
                     : "rcx", "r11", "memory");
    return result;
}

/* clone, as old as Linux, for where a seccomp filter may know no clone3. */
static inline long raw_clone_old(unsigned long flags, void *stack, void (*entry)(void *),
                                 void *argument)
{
    register long r12 __asm__("r12") = (long)entry;
    register long r13 __asm__("r13") = (long)argument;
    register long r10 __asm__("r10") = 0;
    register long r8 __asm__("r8") = 0;
    long result;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "mov %%r13, %%rdi\n\t"
                     "call *%%r12\n\t"
                     "ud2\n"
                     "1:"
                     : "=a"(result)
                     : "0"((long)__NR_clone), "D"(flags), "S"(stack), "d"(0L), "r"(r10), "r"(r8),
                       "r"(r12), "r"(r13)
                     : "rcx", "r11", "memory");
    return result;
}

#else /* __aarch64__ */

static inline long raw_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc #0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
}

static inline long raw_clone(struct clone_args *args, void (*entry)(void *), void *argument)
{
    register long x8 __asm__("x8") = __NR_clone3;
    register long x0 __asm__("x0") = (long)args;
    register long x1 __asm__("x1") = sizeof *args;
    register long x9 __asm__("x9") = (long)entry;
    register long x10 __asm__("x10") = (long)argument;
    __asm__ volatile("svc #0\n\t"
                     "cbnz x0, 1f\n\t"
                     "mov x29, xzr\n\t" /* the end of every back-trace */
                     "mov x30, xzr\n\t"
                     "mov x0, x10\n\t"
                     "blr x9\n\t"
                     "brk #1\n"
                     "1:"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x9), "r"(x10)
                     : "memory");
    return x0;
}

static inline long raw_clone_old(unsigned long flags, void *stack, void (*entry)(void *),
                                 void *argument)
{
    register long x8 __asm__("x8") = __NR_clone;
    register long x0 __asm__("x0") = (long)flags;
    register long x1 __asm__("x1") = (long)stack;
    register long x2 __asm__("x2") = 0;
    register long x3 __asm__("x3") = 0;
    register long x4 __asm__("x4") = 0;
    register long x9 __asm__("x9") = (long)entry;
    register long x10 __asm__("x10") = (long)argument;
    __asm__ volatile("svc #0\n\t"
                     "cbnz x0, 1f\n\t"
                     "mov x29, xzr\n\t"
                     "mov x30, xzr\n\t"
                     "mov x0, x10\n\t"
                     "blr x9\n\t"
                     "brk #1\n"
                     "1:"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x9), "r"(x10)
                     : "memory");
    return x0;
}

#endif

#define RAW_PICK(number, a, b, c, d, e, f, ...) \
    raw_syscall(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define sys(...) RAW_PICK(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

/* What goes through the report pipe, in one write: a step that failed, or from init also success.
 */
struct report {
    int step;   /* LAST_STEP from init, which does not know the number */
    int number; /* errno, or 0 */
};
#define LAST_STEP (-1)

/* Where init finds its two descriptors (the status is optional). */
#define INIT_REPORT 3
#define INIT_STATUS 4

#endif
