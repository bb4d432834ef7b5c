/* The agreement between the Python half (`_spawn.c`) and the child half (`_child.c`). */

#ifndef ANCHOR_CHILD_H
#define ANCHOR_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum operation { /* the same numbers as in steps.py */
                 JOIN_NAMESPACE = 1,
                 SET_IDS,
                 CLONE_AGAIN,
                 NEW_SESSION,
                 SET_HOSTNAME,
                 OPEN_FILESYSTEM,
                 ENTER_ROOT,
                 ATTACH,
                 MAKE_DIRECTORY,
                 MAKE_SYMLINK,
                 WRITE_BENEATH,
                 MAKE_READ_ONLY,
                 MASK,
                 SET_LIMIT,
                 SET_BOUNDING,
                 SET_CAPABILITIES,
                 NO_NEW_PRIVILEGES,
                 CHANGE_DIRECTORY,
                 SET_STDIO,
                 CONTROLLING_TERMINAL,
                 EXECUTE,
                 OPERATION_END,
};

#define SLOTS 32
#define SLOT_FIRST (-2) /* slot n travels as SLOT_FIRST - n; -1 is `none` */

struct step {
    enum operation operation;
    size_t integer_count;
    int64_t *integers;
    size_t string_count;
    char **strings; /* EXECUTE: init's name, the count of candidates, candidates, argv, NULL,
                       environment, NULL */
};

/* Seen by the supervisor and by both children, also where these do not share its memory. */
struct outcome {
    int thread; /* not 0 while the thread that cloned is there: a futex word */
    int error;  /* of the first clone */
    int first_pid;
    int second_pid; /* written by the kernel, and only once the second child exists */
};

/* Where a descriptor is named, and its number in the supervisor's table. */
struct named {
    int64_t *place;
    int64_t number;
};

struct plan {
    size_t count;
    struct step *steps;
    uint64_t flags; /* CLONE_* of the first child */
    int64_t cgroup; /* -1: stay in ours */
    bool share_memory;
    bool clones_again;
    int64_t report;
    struct outcome *outcome;
    char *stacks;
    bool memory_is_free; /* nobody is on the stacks any more */
    int slots[SLOTS];
    bool covered[2]; /* a file, a directory: the mount that masks them is attached */
    char manner[24]; /* how init is to run the command */
    size_t named_count;
    struct named *named; /* by the steps, and the report */
};

#define GUARD_SIZE 65536 /* the largest page size */
#define STACK_SIZE 65536
#define STACK_COUNT 3 /* the thread that clones, the first child, the second */

/* Where stack `number` of the plan begins: each has a guard below it. */
static inline char *stack_bottom(const struct plan *plan, int number)
{
    return plan->stacks + (size_t)number * (GUARD_SIZE + STACK_SIZE) + GUARD_SIZE;
}

/* Carry out one step: 0, or a negative errno. CLONE_AGAIN is not for this. (_steps.c) */
long take_step(struct plan *plan, const struct step *step);

/* Paths (_paths.c). Descriptors and 0 are success, negative errno is failure. */
#define PATH_SIZE 4096
#define GROUPS_MAX 64
#define DIRECTORY_MODE 0755
#define FILE_MODE 0644
#define MODE_TYPE 0170000 /* inode(7); linux/stat.h hides these beside a libc */
#define MODE_DIRECTORY 0040000
#define MODE_FILE 0100000
#define MODE_LINK 0120000

size_t length(const char *text);
void close_fd(long fd);
long open_at(long directory, const char *path, uint64_t flags, uint64_t resolve);
long open_path(const char *path);
long file_type(long fd);
long open_or_make(const char *path, bool directory, unsigned mode);
long open_parent(const char *path, const char **name, bool make);
long open_strictly(const char *path, bool directory, unsigned mode);

/* A thread of ours that clones the first child, waits until it has executed or ended, and ends. */
void clone_first_child(void *plan);

#endif
