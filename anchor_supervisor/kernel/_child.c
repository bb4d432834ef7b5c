/* The child half: what runs between clone and exec.
 *
 * Law for this file, _steps.c and _paths.c: no Python, no libc call, no malloc, no lock, no signal
 * handler. Most children share the supervisor's memory and stand in a container's cgroup; all they
 * may do is ask the kernel.
 */

#include "_child.h"
#include "_raw.h"

#include <linux/close_range.h>
#include <linux/errno.h>

#define NOBODYS 0x7fffffff /* no table is as long as that */

static void leave(void)
{
    for (;;)
        sys(__NR_exit_group, 0);
}

static void fail(const struct plan *plan, size_t step, long number)
{
    struct report report = {.step = (int)step, .number = (int)-number};
    sys(__NR_write, plan->report, &report, sizeof report);
    leave();
}

/* Take the steps from `index` on; comes back only at CLONE_AGAIN, with its index. */
static size_t take_from(struct plan *plan, size_t index)
{
    for (; plan->steps[index].operation != CLONE_AGAIN; index++) {
        long result = take_step(plan, &plan->steps[index]);
        if (result < 0)
            fail(plan, index, result);
    }
    return index;
}

static size_t after_clone_again(const struct plan *plan)
{
    size_t index = 0;
    while (plan->steps[index++].operation != CLONE_AGAIN)
        ;
    return index;
}

static void second_child(void *argument)
{
    struct plan *plan = argument;
    take_from(plan, after_clone_again(plan));
    leave();
}

/* CLONE_VFORK does two things: the parent's stack and plan stay in place until exec, and the OOM
 * killer passes the child over, whose death would be ours too while it shares our memory. */
static struct clone_args clone_arguments(const struct plan *plan, uint64_t flags, int number)
{
    return (struct clone_args){
        .flags = flags | CLONE_VFORK | CLONE_PARENT_SETTID | (plan->share_memory ? CLONE_VM : 0),
        .stack = (uintptr_t)stack_bottom(plan, number),
        .stack_size = STACK_SIZE,
    };
}

static void first_child(void *argument)
{
    struct plan *plan = argument;
    sys(__NR_umask, 0); /* modes are as the plan says */
    if (plan->cgroup > 2)
        close_fd(plan->cgroup); /* we are in it */
    size_t index = take_from(plan, 0);
    /* CLONE_PARENT: the second child is the supervisor's. */
    struct clone_args args =
        clone_arguments(plan, (uint64_t)plan->steps[index].integers[0] | CLONE_PARENT, 2);
    args.parent_tid = (uintptr_t)&plan->outcome->second_pid;
    long result = raw_clone(&args, second_child, plan);
    if (result < 0)
        fail(plan, index, result);
    leave();
}

/* The number in this thread's table for what is `number` in the supervisor's. */
static long take_descriptor(long supervisor, int64_t number)
{
    if (number <= 2)
        return number; /* a place, or what every process has */
    long taken = sys(__NR_pidfd_getfd, supervisor, number, 0);
    return taken == -EBADF ? NOBODYS : taken; /* the step that needs it fails, and is named */
}

static long take_named(struct plan *plan, long supervisor)
{
    if (plan->cgroup >= 0) {
        long taken = take_descriptor(supervisor, plan->cgroup);
        if (taken < 0)
            return taken;
        plan->cgroup = taken;
    }
    for (size_t i = 0; i < plan->named_count; i++) {
        struct named *named = &plan->named[i];
        named->number = *named->place;
        size_t same = 0;
        while (plan->named[same].number != named->number)
            same++;
        long taken =
            same < i ? *plan->named[same].place : take_descriptor(supervisor, named->number);
        if (taken < 0)
            return taken;
        *named->place = taken;
    }
    return 0;
}

/* Give this thread a table with nothing in it but what the steps name: a child gets no other, so
 * whatever else the supervisor holds is neither copied for it, which costs as much as there is, nor
 * pinned by it for a moment. Of the old table the kernel copies what lies below 3. A thread may
 * look into its own process whatever the rules for others are (ptrace(2), access mode checking). */
static long take_descriptors(struct plan *plan)
{
    long low[INIT_STATUS + 1], supervisor;
    size_t count = 0;
    long result = supervisor = sys(__NR_pidfd_open, sys(__NR_getpid), 0);
    /* Numbers are given from below: keep those that SET_STDIO and init's own would overwrite. */
    while (result >= 0) {
        low[count++] = result;
        if (result == INIT_STATUS)
            break;
        result = sys(__NR_dup, supervisor);
    }
    if (result >= 0)
        result = take_named(plan, supervisor);
    for (size_t i = 0; i < count; i++)
        close_fd(low[i]);
    return result;
}

static long clone_child(struct plan *plan)
{
    uint64_t flags = plan->flags | CLONE_CLEAR_SIGHAND;
    flags |= plan->clones_again ? CLONE_FILES : 0; /* a copy would serve as well, and costs more */
    flags |= plan->cgroup >= 0 ? CLONE_INTO_CGROUP : 0;
    struct clone_args args = clone_arguments(plan, flags, 1);
    args.parent_tid = (uintptr_t)&plan->outcome->first_pid;
    args.cgroup = plan->cgroup >= 0 ? (uint64_t)plan->cgroup : 0;
    return raw_clone(&args, first_child, plan);
}

void clone_first_child(void *argument)
{
    struct plan *plan = argument;
    long result = sys(__NR_close_range, 3, ~0U, CLOSE_RANGE_UNSHARE);
    if (result == 0) {
        result = take_descriptors(plan);
        if (result == 0)
            result = clone_child(plan);
        /* Before the supervisor hears of our end: what it then closes is to be closed. */
        sys(__NR_close_range, 0, ~0U, 0);
    }
    if (result < 0)
        plan->outcome->error = (int)-result;
    for (;;)
        sys(__NR_exit, 0); /* this thread alone */
}
