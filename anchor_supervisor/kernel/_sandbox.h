/* A container's namespaces: made by `_sandbox.c`, set up within by the child of `_inside.c`. */

#ifndef ANCHOR_SANDBOX_H
#define ANCHOR_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sandbox_step { /* the same numbers as in namespaces.py */
                    MAKE_NAMESPACES,
                    WRITE_UID_MAP,
                    WRITE_GID_MAP,
                    OPEN_USER,
                    OPEN_NET,
                    OPEN_IPC,
                    OPEN_UTS,
                    SET_FORWARDING,
                    SET_IPV6,
                    START_LOOPBACK,
                    BE_ALIVE,
};

struct sandbox_failure {
    int number; /* errno; 0 is success */
    enum sandbox_step step;
};

struct sandbox {
    int user; /* descriptors, -1 where there is none */
    int net;
    int ipc;
    int uts;
};

/* What the maker and the child tell each other. */
struct inside {
    int parent;   /* its pid */
    bool network; /* there is a network namespace to set up */
    int proc;     /* the procfs that it is set up through, or -1: the machine's */
    int let_go;   /* a futex word: not 0 once the child may end */
    bool done;    /* the child has come to its end by itself */
    struct sandbox_failure failure;
};

/* The child: sets up what can only be set up from within, waits until it is let go, and ends. */
void set_up_inside(void *inside);

/* Make the namespaces that `flags` name; `map` is the line for uid_map and gid_map, where there is
 * a user namespace, and `proc` as above. On failure nothing is left. */
struct sandbox_failure make_sandbox(uint64_t flags, const char *map, size_t length, int proc,
                                    struct sandbox *made);

/* Clone a child that has ended and was reaped: its pidfd, or a negative errno. */
int make_ended_child(void);

#endif
