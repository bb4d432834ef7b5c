/* What the thread and the children of a spawn stand on: their stacks, and where they tell. */

#ifndef ANCHOR_MEMORY_H
#define ANCHOR_MEMORY_H

#include "_child.h"

#define SPARE_MAX 4 /* as many as start at a time; each is some 50 KiB once it was used */

struct memory {
    struct outcome *outcome;
    char *stacks;
};

/* Memory of spawns that are over. Touch it with the interpreter lock only. */
struct spares {
    size_t count;
    struct memory several[SPARE_MAX];
};

/* Give a plan that has no memory yet some that is spare, if there is any. */
void take_spare(struct spares *spares, struct plan *plan);

/* Give the plan memory that is as new, its own or another: 0, or an errno. */
int make_memory(struct plan *plan);

/* Take the plan's memory back, where it has any, for the next one or for the kernel. */
void keep_spare(struct spares *spares, struct plan *plan);
void free_memory(struct plan *plan);

void free_spares(struct spares *spares);

#endif
