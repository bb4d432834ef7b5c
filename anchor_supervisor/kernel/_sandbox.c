/* A container's namespaces, which outlive every process: made by a child that sets up its network
 * from within, while its parent writes the maps and opens the namespaces by the child's pidfd.
 *
 * Law: nothing of Python here, since the interpreter lock is given up; whatever fails, no child,
 * zombie or descriptor is left.
 */

#define _GNU_SOURCE

#include "_sandbox.h"
#include "_raw.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD_STACK 16384 /* of our own stack: the child is gone when we return */
#define PATH_LENGTH 64

/* linux/pidfd.h of 6.11, which says them by a type of descriptor and a number. */
#define OPEN_BY_PIDFD(number) _IO(0xff, number)

struct kind {
    uint64_t flag;
    unsigned long request;
    const char *name;
    enum sandbox_step step;
    size_t place;
};

static const struct kind KINDS[] = {
    {CLONE_NEWUSER, OPEN_BY_PIDFD(9), "user", OPEN_USER, offsetof(struct sandbox, user)},
    {CLONE_NEWNET, OPEN_BY_PIDFD(4), "net", OPEN_NET, offsetof(struct sandbox, net)},
    {CLONE_NEWIPC, OPEN_BY_PIDFD(2), "ipc", OPEN_IPC, offsetof(struct sandbox, ipc)},
    {CLONE_NEWUTS, OPEN_BY_PIDFD(10), "uts", OPEN_UTS, offsetof(struct sandbox, uts)},
};
#define KIND_COUNT (sizeof KINDS / sizeof *KINDS)

static int write_map(int pid, const char *name, const char *map, size_t length)
{
    char path[PATH_LENGTH];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    int error = write(fd, map, length) < 0 ? errno : 0;
    close(fd);
    return error;
}

/* By the pidfd on Linux 6.11 and newer, by /proc before. */
static int open_namespace(int pid, int pidfd, const struct kind *kind)
{
    int fd = ioctl(pidfd, kind->request, 0);
    if (fd >= 0 || (errno != ENOTTY && errno != EINVAL))
        return fd;
    char path[PATH_LENGTH];
    snprintf(path, sizeof path, "/proc/%d/ns/%s", pid, kind->name);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static int *place_of(struct sandbox *made, const struct kind *kind)
{
    return (int *)((char *)made + kind->place);
}

static struct sandbox_failure take_namespaces(uint64_t flags, const char *map, size_t length,
                                              int pid, int pidfd, struct sandbox *made)
{
    int error = 0;
    if (flags & CLONE_NEWUSER) {
        error = write_map(pid, "uid_map", map, length);
        if (error)
            return (struct sandbox_failure){error, WRITE_UID_MAP};
        error = write_map(pid, "gid_map", map, length);
        if (error)
            return (struct sandbox_failure){error, WRITE_GID_MAP};
    }
    for (size_t i = 0; i < KIND_COUNT; i++) {
        if (!(flags & KINDS[i].flag))
            continue;
        int fd = open_namespace(pid, pidfd, &KINDS[i]);
        if (fd < 0)
            return (struct sandbox_failure){errno, KINDS[i].step};
        *place_of(made, &KINDS[i]) = fd;
    }
    return (struct sandbox_failure){0, MAKE_NAMESPACES};
}

/* Clone a child of ours on `stack`. It shares our memory, and no handler of ours runs in it: it
 * has none, and every signal is blocked. */
static long clone_inside(uint64_t flags, char *stack, struct inside *inside, int *pidfd)
{
    struct clone_args args = {
        .flags = flags | CLONE_VM | CLONE_FILES | CLONE_PIDFD | CLONE_CLEAR_SIGHAND,
        .pidfd = (uintptr_t)pidfd,
        .stack = (uintptr_t)stack,
        .stack_size = CHILD_STACK,
    };
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    long pid = raw_clone(&args, set_up_inside, inside);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return pid;
}

/* Let the child end, by force where that is wanted, and reap it. */
static void end_child(struct inside *inside, int pidfd, bool by_force)
{
    siginfo_t info;
    __atomic_store_n(&inside->let_go, 1, __ATOMIC_RELEASE);
    if (by_force)
        sys(__NR_pidfd_send_signal, pidfd, SIGKILL);
    else
        sys(__NR_futex, &inside->let_go, FUTEX_WAKE_PRIVATE, 1);
    /* __WALL: it has no SIGCHLD as its exit signal. */
    while (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | __WALL) < 0 && errno == EINTR)
        ;
}

struct sandbox_failure make_sandbox(uint64_t flags, const char *map, size_t length, int proc,
                                    struct sandbox *made)
{
    _Alignas(16) char stack[CHILD_STACK];
    struct inside inside = {.parent = getpid(), .network = flags & CLONE_NEWNET, .proc = proc};
    int pidfd = -1;
    *made = (struct sandbox){-1, -1, -1, -1};
    long pid = clone_inside(flags, stack, &inside, &pidfd);
    if (pid < 0)
        return (struct sandbox_failure){(int)-pid, MAKE_NAMESPACES};
    struct sandbox_failure failure = take_namespaces(flags, map, length, (int)pid, pidfd, made);
    end_child(&inside, pidfd, failure.number != 0);
    close(pidfd);
    if (failure.number == 0)
        failure = inside.failure;
    if (failure.number == 0 && !inside.done) /* killed by somebody else */
        failure = (struct sandbox_failure){ECANCELED, BE_ALIVE};
    for (size_t i = 0; failure.number != 0 && i < KIND_COUNT; i++)
        if (*place_of(made, &KINDS[i]) >= 0)
            close(*place_of(made, &KINDS[i]));
    return failure;
}

int make_ended_child(void)
{
    _Alignas(16) char stack[CHILD_STACK];
    struct inside inside = {.parent = getpid()};
    int pidfd = -1;
    long pid = clone_inside(0, stack, &inside, &pidfd);
    if (pid < 0)
        return (int)pid;
    end_child(&inside, pidfd, false);
    return pidfd;
}
