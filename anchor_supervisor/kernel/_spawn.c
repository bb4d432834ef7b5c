/* anchor_supervisor.kernel._spawn: Python values become C memory, then a child carries them out.
 *
 * Law: nothing of Python is touched from the moment the interpreter lock is given up until it is
 * taken again; whatever fails, no child, zombie, descriptor or mapping is left.
 */

#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "_child.h"
#include "_memory.h"
#include "_plan.h"
#include "_raw.h"
#include "_sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NO_STEP (-2)  /* the failure is not a step's: the first clone, or memory */
#define KILL_AGAIN 20 /* milliseconds */

struct failure {
    int number; /* errno; 0 is success */
    int step;
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t left_ms(int64_t deadline)
{
    int64_t left = deadline - now_ms();
    return left > 0 ? left : 0;
}

/* Wait until the thread that cloned has ended, and with it every use of the plan's memory. */
static bool thread_ended(struct outcome *outcome, int64_t timeout)
{
    int64_t deadline = now_ms() + timeout;
    for (;;) {
        int there = __atomic_load_n(&outcome->thread, __ATOMIC_ACQUIRE);
        if (!there)
            return true;
        int64_t left = left_ms(deadline);
        if (timeout >= 0 && left == 0)
            return false;
        struct timespec wait = {.tv_sec = left / 1000, .tv_nsec = left % 1000 * 1000000};
        sys(__NR_futex, &outcome->thread, FUTEX_WAIT, there, timeout < 0 ? 0 : &wait);
    }
}

/* Tell whether the child has ended by itself. The pid of a child of ours stays its own until we
 * reap it, which nobody else does. */
static bool reap(int pid)
{
    siginfo_t info = {0};
    /* __WALL: a child that has not executed has no SIGCHLD as its exit signal. */
    while (waitid(P_PID, (id_t)pid, &info, WEXITED | __WALL) < 0 && errno == EINTR)
        ;
    return info.si_code == CLD_EXITED;
}

static void kill_child(int pid)
{
    if (pid > 0)
        kill(pid, SIGKILL);
}

/* Clone from a thread of its own, because the caller of a vfork cannot keep a deadline. That
 * thread has no libc state and no stack but ours, and runs nothing but clone_first_child. */
static int run_thread(struct plan *plan, int64_t timeout)
{
    struct outcome *outcome = plan->outcome;
    struct clone_args args = {
        .flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                 CLONE_CHILD_CLEARTID,
        .child_tid = (uintptr_t)&outcome->thread,
        .stack = (uintptr_t)stack_bottom(plan, 0),
        .stack_size = STACK_SIZE,
    };
    outcome->thread = 1;
    long thread = raw_clone(&args, clone_first_child, plan);
    if (thread < 0)
        return (int)-thread;
    if (thread_ended(outcome, timeout))
        return outcome->error;
    do { /* again and again, since either may appear only now */
        kill_child(outcome->first_pid);
        kill_child(outcome->second_pid);
    } while (!thread_ended(outcome, KILL_AGAIN));
    return ETIMEDOUT;
}

/* Read what there is to be told about the child that stays. Once the thread has ended the child has
 * executed or ended; only init has more to say: that it has executed the command, or, where it does
 * not stay, nothing at all, and the pipe's end is what tells. */
static struct failure read_report(const struct plan *plan, int from, int pidfd, int64_t timeout)
{
    int last = (int)plan->count - 1;
    bool waits = pidfd >= 0 && plan->steps[last].integers[0] >= 0;
    struct pollfd watched[] = {{.fd = from, .events = POLLIN}, {.fd = pidfd, .events = POLLIN}};
    int64_t deadline = now_ms() + timeout;
    int ready;
    do {
        ready = poll(watched, 2, !waits ? 0 : timeout < 0 ? -1 : (int)left_ms(deadline));
    } while (ready < 0 && errno == EINTR);
    if (ready == 0 && waits)
        return (struct failure){ETIMEDOUT, last};
    struct report report;
    if (read(from, &report, sizeof report) != sizeof report)
        return (struct failure){0, NO_STEP};
    return (struct failure){report.number, report.step == LAST_STEP ? last : report.step};
}

static size_t clone_again_index(const struct plan *plan)
{
    size_t index = 0;
    while (index < plan->count && plan->steps[index].operation != CLONE_AGAIN)
        index++;
    return index;
}

static struct failure run_plan(struct plan *plan, int64_t timeout, int report[2], int *pid,
                               int *pidfd)
{
    struct outcome *outcome = plan->outcome;
    int64_t deadline = now_ms() + timeout;
    struct failure failure = {run_thread(plan, timeout), NO_STEP};
    close(report[1]);
    report[1] = -1;
    if (outcome->first_pid <= 0)
        return failure;
    *pid = outcome->first_pid;
    plan->memory_is_free = true;
    if (plan->clones_again) {
        /* Only then has it waited until the second was off its stack. */
        plan->memory_is_free = reap(outcome->first_pid);
        *pid = outcome->second_pid;
    }
    if (*pid > 0) {
        *pidfd = (int)sys(__NR_pidfd_open, *pid, 0);
        if (*pidfd < 0 && failure.number == 0)
            failure = (struct failure){-*pidfd, NO_STEP};
    }
    if (failure.number == 0)
        failure = read_report(plan, report[0], *pidfd, timeout < 0 ? -1 : left_ms(deadline));
    if (failure.number == 0 && *pid <= 0) /* killed by somebody else before it could clone */
        failure = (struct failure){ECANCELED, (int)clone_again_index(plan)};
    if (failure.number != 0 && *pid > 0) {
        kill_child(*pid);
        reap(*pid);
        if (*pidfd >= 0)
            close(*pidfd);
    }
    return failure;
}

/* The report must not be among the first three descriptors, which SET_STDIO overwrites. */
static int open_report(int report[2])
{
    if (pipe2(report, O_CLOEXEC | O_NONBLOCK) < 0)
        return errno;
    for (int i = 0; i < 2; i++) {
        if (report[i] > 2)
            continue;
        int high = fcntl(report[i], F_DUPFD_CLOEXEC, 3);
        if (high < 0)
            return errno;
        close(report[i]);
        report[i] = high;
    }
    return 0;
}

static struct failure spawn_plan(struct plan *plan, int64_t timeout, int *pid, int *pidfd)
{
    int report[2] = {-1, -1};
    sigset_t all, before;
    struct failure failure = {make_memory(plan), NO_STEP};
    if (failure.number == 0)
        failure.number = open_report(report);
    if (failure.number == 0) {
        plan->report = report[1];
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        failure = run_plan(plan, timeout, report, pid, pidfd);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    for (int i = 0; i < 2; i++)
        if (report[i] >= 0)
            close(report[i]);
    if (failure.number != 0 || !plan->memory_is_free)
        free_memory(plan);
    return failure;
}

struct module_state {
    PyObject *step_failed;
    struct spares spares;
};

static PyObject *raise_failure(PyObject *module, struct failure failure)
{
    struct module_state *state = PyModule_GetState(module);
    PyObject *arguments = Py_BuildValue("(ii)", failure.number, failure.step);
    if (arguments) {
        PyErr_SetObject(state->step_failed, arguments);
        Py_DECREF(arguments);
    }
    return NULL;
}

static PyObject *spawn(PyObject *module, PyObject *arguments)
{
    PyObject *steps, *given;
    unsigned long long flags;
    int cgroup, share_memory, pid = -1, pidfd = -1;
    long long timeout;
    struct plan plan = {0};
    struct spares *spares = &((struct module_state *)PyModule_GetState(module))->spares;
    if (!PyArg_ParseTuple(arguments, "O!O!KipL:spawn", &PyTuple_Type, &steps, &PyTuple_Type, &given,
                          &flags, &cgroup, &share_memory, &timeout))
        return NULL;
    plan.flags = flags;
    plan.cgroup = cgroup;
    plan.share_memory = share_memory;
    if (timeout > INT_MAX)
        timeout = INT_MAX;
    if (read_plan(&plan, steps, given) < 0) {
        free_plan(&plan);
        return NULL;
    }
    struct failure failure;
    take_spare(spares, &plan);
    Py_BEGIN_ALLOW_THREADS
    failure = spawn_plan(&plan, timeout, &pid, &pidfd);
    Py_END_ALLOW_THREADS
    keep_spare(spares, &plan);
    free_plan(&plan);
    if (failure.number != 0)
        return raise_failure(module, failure);
    return Py_BuildValue("(ii)", pid, pidfd);
}

static PyObject *make_namespaces(PyObject *module, PyObject *arguments)
{
    unsigned long long flags;
    const char *map;
    Py_ssize_t length;
    int proc;
    struct sandbox made;
    struct sandbox_failure failure;
    if (!PyArg_ParseTuple(arguments, "Ky#i:make_namespaces", &flags, &map, &length, &proc))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    failure = make_sandbox(flags, map, (size_t)length, proc, &made);
    Py_END_ALLOW_THREADS
    if (failure.number != 0)
        return raise_failure(module, (struct failure){failure.number, (int)failure.step});
    return Py_BuildValue("(iiii)", made.user, made.net, made.ipc, made.uts);
}

static PyObject *ended_child(PyObject *module, PyObject *Py_UNUSED(arguments))
{
    int pidfd;
    Py_BEGIN_ALLOW_THREADS
    pidfd = make_ended_child();
    Py_END_ALLOW_THREADS
    if (pidfd < 0)
        return raise_failure(module, (struct failure){-pidfd, NO_STEP});
    return PyLong_FromLong(pidfd);
}

PyDoc_STRVAR(spawn_doc,
             "spawn(steps, given, flags, cgroup, share_memory, timeout_ms) -> (pid, pidfd)\n--\n\n"
             "Clone a child that takes the encoded steps. Raises StepFailed(errno, step).");
PyDoc_STRVAR(
    make_namespaces_doc,
    "make_namespaces(flags, id_map, proc) -> (user, net, ipc, uts)\n--\n\n"
    "Make a container's namespaces, and set up its network from within, through the\n"
    "procfs that is open as `proc`, or the machine's (-1); a descriptor is -1 where there\n"
    "is none. Raises StepFailed(errno, step).");
PyDoc_STRVAR(ended_child_doc, "ended_child() -> pidfd\n--\n\n"
                              "Clone a child that has ended, and was reaped.");

static PyMethodDef METHODS[] = {
    {"spawn", spawn, METH_VARARGS, spawn_doc},
    {"make_namespaces", make_namespaces, METH_VARARGS, make_namespaces_doc},
    {"ended_child", ended_child, METH_NOARGS, ended_child_doc},
    {NULL, NULL, 0, NULL},
};

static int execute_module(PyObject *module)
{
    struct module_state *state = PyModule_GetState(module);
    state->step_failed =
        PyErr_NewException("anchor_supervisor.kernel._spawn.StepFailed", NULL, NULL);
    if (PyModule_AddObjectRef(module, "StepFailed", state->step_failed) < 0)
        return -1;
    return PyModule_AddIntConstant(module, "NO_STEP", NO_STEP);
}

static int traverse_module(PyObject *module, visitproc visit, void *arg)
{
    struct module_state *state = PyModule_GetState(module);
    Py_VISIT(state->step_failed);
    return 0;
}

static int clear_module(PyObject *module)
{
    struct module_state *state = PyModule_GetState(module);
    Py_CLEAR(state->step_failed);
    return 0;
}

static void free_module(void *module)
{
    free_spares(&((struct module_state *)PyModule_GetState(module))->spares);
}

static PyModuleDef_Slot SLOT_TABLE[] = {
    {Py_mod_exec, execute_module},
    {0, NULL},
};

static struct PyModuleDef DEFINITION = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_spawn",
    .m_doc = "The clone and what the child does before it executes a command.",
    .m_size = sizeof(struct module_state),
    .m_methods = METHODS,
    .m_slots = SLOT_TABLE,
    .m_traverse = traverse_module,
    .m_clear = clear_module,
    .m_free = free_module,
};

PyMODINIT_FUNC PyInit__spawn(void)
{
    return PyModuleDef_Init(&DEFINITION);
}
