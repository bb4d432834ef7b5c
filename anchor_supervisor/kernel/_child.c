/* The child half: what runs between clone and exec.
 *
 * Law for this file, _steps.c and _paths.c: no Python, no libc call, no malloc, no lock, no signal
 * handler. Most children share the supervisor's memory and stand in a container's cgroup; all they
 * may do is ask the kernel.
 */

#include "_child.h"
#include "_raw.h"

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

/* What a child holds it pins, and a step that waits for ever would: so it lets go first of all. */
static void close_others(const struct plan *plan)
{
    unsigned start = 3;
    for (size_t i = 0; i < plan->kept_count; i++) {
        unsigned kept = (unsigned)plan->kept[i];
        if (kept > start)
            sys(__NR_close_range, start, kept - 1, 0);
        if (kept >= start)
            start = kept + 1;
    }
    sys(__NR_close_range, start, ~0U, 0);
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
    close_others(plan);
    take_from(plan, after_clone_again(plan));
    leave();
}

/* CLONE_VFORK does two things: the parent's stack and plan stay in place until exec, and the OOM
 * killer passes the child over, whose death would be ours too while it shares our memory. */
static struct clone_args clone_arguments(const struct plan *plan, uint64_t flags, int number)
{
    return (struct clone_args){
        .flags = flags | CLONE_VFORK | CLONE_PIDFD | CLONE_PARENT_SETTID |
                 (plan->share_memory ? CLONE_VM : 0),
        .stack = (uintptr_t)stack_bottom(plan, number),
        .stack_size = STACK_SIZE,
    };
}

static void first_child(void *argument)
{
    struct plan *plan = argument;
    sys(__NR_umask, 0); /* modes are as the plan says */
    if (!plan->clones_again)
        close_others(plan);
    size_t index = take_from(plan, 0);
    /* CLONE_PARENT: the second child is the supervisor's, which shares this descriptor table and
     * so finds the pidfd in its own. The second gets a copy of the table. */
    struct clone_args args =
        clone_arguments(plan, (uint64_t)plan->steps[index].integers[0] | CLONE_PARENT, 2);
    args.pidfd = (uintptr_t)&plan->outcome->second_pidfd;
    args.parent_tid = (uintptr_t)&plan->outcome->second_pid;
    long result = raw_clone(&args, second_child, plan);
    if (result < 0)
        fail(plan, index, result);
    leave();
}

void clone_first_child(void *argument)
{
    struct plan *plan = argument;
    struct clone_args args =
        clone_arguments(plan,
                        plan->flags | CLONE_CLEAR_SIGHAND | (plan->clones_again ? CLONE_FILES : 0) |
                            (plan->cgroup >= 0 ? CLONE_INTO_CGROUP : 0),
                        1);
    args.pidfd = (uintptr_t)&plan->outcome->first_pidfd;
    args.parent_tid = (uintptr_t)&plan->outcome->first_pid;
    args.cgroup = plan->cgroup >= 0 ? (uint64_t)plan->cgroup : 0;
    long result = raw_clone(&args, first_child, plan);
    if (result < 0)
        plan->outcome->error = (int)-result;
    for (;;)
        sys(__NR_exit, 0); /* this thread alone */
}
