/* Memory is made for a spawn and kept for the next one: to map it, protect it, have the kernel fill
 * its pages and give it back costs a start a tenth of a millisecond, and holds up every other
 * thread's page faults meanwhile.
 *
 * Law: nobody may be on a stack that is spare. Whoever gives one back knows that all who ran on it
 * have executed or ended.
 */

#define _GNU_SOURCE

#include "_memory.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define STACKS_SIZE ((size_t)STACK_COUNT * (GUARD_SIZE + STACK_SIZE))

static void unmap(struct memory memory)
{
    if (memory.outcome != MAP_FAILED)
        munmap(memory.outcome, sizeof *memory.outcome);
    if (memory.stacks != MAP_FAILED)
        munmap(memory.stacks, STACKS_SIZE);
}

void take_spare(struct spares *spares, struct plan *plan)
{
    plan->outcome = MAP_FAILED;
    plan->stacks = MAP_FAILED;
    if (!plan->share_memory || spares->count == 0)
        return;
    struct memory spare = spares->several[--spares->count];
    plan->outcome = spare.outcome;
    plan->stacks = spare.stacks;
}

int make_memory(struct plan *plan)
{
    if (plan->outcome != MAP_FAILED) {
        memset(plan->outcome, 0, sizeof *plan->outcome);
        return 0;
    }
    int seen = plan->share_memory ? MAP_PRIVATE : MAP_SHARED; /* by the children in any case */
    plan->outcome =
        mmap(NULL, sizeof *plan->outcome, PROT_READ | PROT_WRITE, seen | MAP_ANONYMOUS, -1, 0);
    plan->stacks =
        mmap(NULL, STACKS_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (plan->outcome == MAP_FAILED || plan->stacks == MAP_FAILED)
        return errno;
    for (int i = 0; i < STACK_COUNT; i++)
        if (mprotect(stack_bottom(plan, i), STACK_SIZE, PROT_READ | PROT_WRITE) < 0)
            return errno;
    return 0;
}

void free_memory(struct plan *plan)
{
    unmap((struct memory){plan->outcome, plan->stacks});
    plan->outcome = MAP_FAILED;
    plan->stacks = MAP_FAILED;
}

/* Shared memory is never kept: another process may see it, after a fork of Python's. */
void keep_spare(struct spares *spares, struct plan *plan)
{
    if (plan->outcome == MAP_FAILED)
        return;
    if (plan->share_memory && spares->count < SPARE_MAX)
        spares->several[spares->count++] = (struct memory){plan->outcome, plan->stacks};
    else
        free_memory(plan);
}

void free_spares(struct spares *spares)
{
    while (spares->count > 0)
        unmap(spares->several[--spares->count]);
}
