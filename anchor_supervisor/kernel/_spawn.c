/* anchor_supervisor.kernel._spawn: Python values become C memory, then a child carries them out.
 *
 * Law: nothing of Python is touched from the moment the interpreter lock is given up until it is
 * taken again; whatever fails, no child, zombie, descriptor or mapping is left.
 */

#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "_raw.h"
#include "_child.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NO_STEP (-2) /* the failure is not a step's: the first clone, or memory */
#define STACKS_SIZE ((size_t)STACK_COUNT * (GUARD_SIZE + STACK_SIZE))

/* Which values a step must bring. Strings and integers beyond these are counted by the step. */
struct shape {
    int8_t integers, strings, path; /* path: which string must be absolute, or -1 */
    bool in_first;                  /* may come before CLONE_AGAIN */
};

static const struct shape SHAPES[OPERATION_END] = {
    [JOIN_NAMESPACE] = {2, 0, -1, true},
    [SET_IDS] = {2, 0, -1, true},
    [CLONE_AGAIN] = {1, 0, -1, true},
    [NEW_SESSION] = {0, 0, -1, true},
    [SET_HOSTNAME] = {0, 1, -1, true},
    [OPEN_FILESYSTEM] = {2, 1, -1, false},
    [ENTER_ROOT] = {1, 1, 0, false},
    [ATTACH] = {3, 1, 0, false},
    [MAKE_DIRECTORY] = {1, 1, 0, false},
    [MAKE_SYMLINK] = {0, 2, 0, false},
    [WRITE_BENEATH] = {1, 2, -1, false},
    [MAKE_READ_ONLY] = {1, 1, 0, false},
    [MASK] = {2, 1, 0, false},
    [SET_LIMIT] = {3, 0, -1, true},
    [SET_BOUNDING] = {1, 0, -1, true},
    [SET_CAPABILITIES] = {1, 0, -1, true},
    [NO_NEW_PRIVILEGES] = {0, 0, -1, true},
    [CHANGE_DIRECTORY] = {1, 1, 0, false},
    [SET_STDIO] = {3, 0, -1, false},
    [CONTROLLING_TERMINAL] = {0, 0, -1, false},
    [EXECUTE] = {5, 2, -1, false},
};

struct failure {
    int number; /* errno; 0 is success */
    int step;
};

/* ---- Python values to C memory ---------------------------------------------------------- */

static void free_plan(struct plan *plan)
{
    for (size_t i = 0; i < plan->count && plan->steps; i++) {
        struct step *step = &plan->steps[i];
        PyMem_Free(step->integers);
        for (size_t j = 0; j < step->string_count && step->strings; j++)
            PyMem_Free(step->strings[j]);
        PyMem_Free(step->strings);
    }
    PyMem_Free(plan->steps);
}

static int refuse(size_t index, const char *why)
{
    PyErr_Format(PyExc_ValueError, "step %zu: %s", index, why);
    return -1;
}

static int read_integers(struct step *step, PyObject *integers)
{
    step->integer_count = (size_t)PyTuple_GET_SIZE(integers);
    step->integers = PyMem_Calloc(step->integer_count + 1, sizeof *step->integers);
    if (!step->integers) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < step->integer_count; i++) {
        PyObject *item = PyTuple_GET_ITEM(integers, (Py_ssize_t)i);
        int overflow = 0;
        long long value = PyLong_AsLongLongAndOverflow(item, &overflow);
        if (overflow > 0) /* limits and capability masks use all 64 bits */
            value = (long long)PyLong_AsUnsignedLongLong(item);
        if (PyErr_Occurred())
            return -1;
        if (overflow < 0) {
            PyErr_SetString(PyExc_OverflowError, "integer below 64 bits");
            return -1;
        }
        step->integers[i] = value;
    }
    return 0;
}

static char *copy_bytes(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = PyMem_Malloc(size);
    if (!copy)
        PyErr_NoMemory();
    else
        memcpy(copy, text, size);
    return copy;
}

/* Copy the strings to `step->strings`: `before` places are left free, and one before string `gap`.
 * Every place that is not filled is NULL, as is the one after the last. */
static int read_strings(struct step *step, PyObject *strings, size_t before, size_t gap)
{
    size_t count = (size_t)PyTuple_GET_SIZE(strings);
    step->string_count = before + count + 2;
    step->strings = PyMem_Calloc(step->string_count, sizeof *step->strings);
    if (!step->strings) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        char *text;
        if (PyBytes_AsStringAndSize(PyTuple_GET_ITEM(strings, (Py_ssize_t)i), &text, NULL) < 0)
            return -1; /* a NUL inside is refused here */
        char *copy = copy_bytes(text);
        if (!copy)
            return -1;
        step->strings[before + i + (i >= gap)] = copy;
    }
    return 0;
}

/* Execute carries three groups; init's own arguments are put in front of them. */
static int read_execute(struct step *step, PyObject *strings, size_t index)
{
    const int64_t *integers = step->integers;
    int64_t count = PyTuple_GET_SIZE(strings);
    for (int i = 2; i < 5; i++)
        if (integers[i] < (i < 4) || integers[i] > count)
            return refuse(index, "wrong count of strings");
    if (integers[2] + integers[3] + integers[4] != count)
        return refuse(index, "wrong count of strings");
    if ((integers[0] >= 0 && integers[0] < 3) || (integers[1] >= 0 && integers[1] < 3))
        return refuse(index, "a descriptor for init must be above 2");
    if (read_strings(step, strings, 2, (size_t)(integers[2] + integers[3])) < 0)
        return -1;
    char digits[24];
    snprintf(digits, sizeof digits, "%lld", (long long)integers[2]);
    step->strings[0] = copy_bytes("anchor-init");
    step->strings[1] = copy_bytes(digits);
    return step->strings[0] && step->strings[1] ? 0 : -1;
}

static int check_step(const struct step *step, size_t index)
{
    const struct shape *shape = &SHAPES[step->operation];
    if (shape->path >= 0) {
        const char *path = step->strings[shape->path];
        if (path[0] != '/')
            return refuse(index, "the path is not absolute");
        if (strlen(path) >= PATH_SIZE)
            return refuse(index, "the path is too long");
    }
    if (step->operation == OPEN_FILESYSTEM) {
        if (step->integers[0] > SLOT_FIRST || step->integers[0] <= SLOT_FIRST - SLOTS)
            return refuse(index, "not a slot");
        if (step->string_count - 2 != 1 + 2 * (step->integer_count - 2))
            return refuse(index, "wrong count of options");
    }
    if (step->operation == SET_IDS && step->integer_count > 2 + GROUPS_MAX)
        return refuse(index, "too many groups");
    bool takes_descriptor = step->operation == ENTER_ROOT || step->operation == ATTACH ||
                            step->operation == WRITE_BENEATH || step->operation == MASK;
    for (size_t i = 0; takes_descriptor && i < (step->operation == MASK ? 2 : 1); i++)
        if (step->integers[i] <= SLOT_FIRST - SLOTS || step->integers[i] > INT_MAX)
            return refuse(index, "not a descriptor");
    return 0;
}

static int read_step(struct step *step, PyObject *item, size_t index)
{
    int operation;
    PyObject *integers, *strings;
    if (!PyTuple_Check(item))
        return refuse(index, "not a tuple");
    if (!PyArg_ParseTuple(item, "iO!O!", &operation, &PyTuple_Type, &integers, &PyTuple_Type,
                          &strings))
        return -1;
    if (operation < JOIN_NAMESPACE || operation >= OPERATION_END)
        return refuse(index, "unknown operation");
    step->operation = (enum operation)operation;
    if (PyTuple_GET_SIZE(integers) < SHAPES[operation].integers ||
        PyTuple_GET_SIZE(strings) < SHAPES[operation].strings)
        return refuse(index, "too few values");
    if (read_integers(step, integers) < 0)
        return -1;
    if (operation == EXECUTE)
        return read_execute(step, strings, index);
    if (read_strings(step, strings, 0, SIZE_MAX) < 0)
        return -1;
    return check_step(step, index);
}

/* Only what leaves no descriptor behind may come before CLONE_AGAIN: the first child works in the
 * supervisor's descriptor table. */
static int check_order(struct plan *plan)
{
    size_t again = 0;
    for (size_t i = 0; i < plan->count; i++) {
        enum operation operation = plan->steps[i].operation;
        if ((operation == EXECUTE) != (i == plan->count - 1))
            return refuse(i, "execute must be the last step, and the only one of its kind");
        if (operation == CLONE_AGAIN) {
            if (plan->clones_again)
                return refuse(i, "a second clone again");
            plan->clones_again = true;
            again = i;
        }
    }
    for (size_t i = 0; i < again; i++)
        if (!SHAPES[plan->steps[i].operation].in_first)
            return refuse(i, "must come after clone again");
    return plan->count ? 0 : refuse(0, "execute is missing");
}

static int read_plan(struct plan *plan, PyObject *steps)
{
    PyObject *items = PySequence_Fast(steps, "steps must be a sequence");
    if (!items)
        return -1;
    int result = 0;
    plan->count = (size_t)PySequence_Fast_GET_SIZE(items);
    plan->steps = PyMem_Calloc(plan->count + 1, sizeof *plan->steps);
    if (!plan->steps) {
        PyErr_NoMemory();
        result = -1;
    }
    for (size_t i = 0; i < plan->count && result == 0; i++)
        result = read_step(&plan->steps[i], PySequence_Fast_GET_ITEM(items, (Py_ssize_t)i), i);
    Py_DECREF(items);
    return result == 0 ? check_order(plan) : result;
}

/* ---- the clone, without the interpreter lock -------------------------------------------- */

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

static int make_memory(struct plan *plan)
{
    plan->outcome = mmap(NULL, sizeof *plan->outcome, PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    plan->stacks = mmap(NULL, STACKS_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                        -1, 0);
    if (plan->outcome == MAP_FAILED || plan->stacks == MAP_FAILED)
        return errno;
    for (int i = 0; i < STACK_COUNT; i++)
        if (mprotect(stack_bottom(plan, i), STACK_SIZE, PROT_READ | PROT_WRITE) < 0)
            return errno;
    return 0;
}

static void free_memory(struct plan *plan)
{
    if (plan->outcome != MAP_FAILED)
        munmap(plan->outcome, sizeof *plan->outcome);
    if (plan->stacks != MAP_FAILED)
        munmap(plan->stacks, STACKS_SIZE);
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

static void reap(int pidfd)
{
    siginfo_t info;
    /* __WALL: a child that has not executed has no SIGCHLD as its exit signal. */
    while (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | __WALL) < 0 && errno == EINTR)
        ;
    close(pidfd);
}

static void kill_child(int pid, int pidfd)
{
    if (pid > 0)
        sys(__NR_pidfd_send_signal, pidfd, SIGKILL);
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
    /* The first before the second: once it is gone, no second can appear. */
    kill_child(outcome->first_pid, outcome->first_pidfd);
    while (!thread_ended(outcome, 20))
        kill_child(outcome->second_pid, outcome->second_pidfd);
    return ETIMEDOUT;
}

/* Read what a child that failed has to say. Its silence, once every writer is gone, is success. */
static struct failure read_report(int from, int64_t timeout, size_t count)
{
    struct report report;
    struct pollfd watched = {.fd = from, .events = POLLIN};
    int64_t deadline = now_ms() + timeout;
    int ready;
    do {
        ready = poll(&watched, 1, timeout < 0 ? -1 : (int)left_ms(deadline));
    } while (ready < 0 && errno == EINTR);
    if (ready == 0)
        return (struct failure){ETIMEDOUT, (int)count - 1};
    ssize_t size = read(from, &report, sizeof report);
    if (size != sizeof report)
        return (struct failure){0, NO_STEP};
    return (struct failure){report.number, report.step == LAST_STEP ? (int)count - 1 : report.step};
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
    *pidfd = outcome->first_pidfd;
    if (plan->clones_again) {
        reap(outcome->first_pidfd);
        *pid = outcome->second_pid;
        *pidfd = outcome->second_pid > 0 ? outcome->second_pidfd : -1;
    }
    if (failure.number == 0)
        failure = read_report(report[0], timeout < 0 ? -1 : left_ms(deadline), plan->count);
    if (failure.number == 0 && *pid <= 0) /* killed by somebody else before it could clone */
        failure = (struct failure){ECANCELED, (int)clone_again_index(plan)};
    if (failure.number != 0 && *pid > 0) {
        kill_child(*pid, *pidfd);
        reap(*pidfd);
    }
    return failure;
}

/* Every descriptor that a step may name is at most 2 or above; the report must not be among the
 * first three, which SET_STDIO overwrites. */
static int open_report(int report[2])
{
    if (pipe2(report, O_CLOEXEC) < 0)
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
    free_memory(plan);
    return failure;
}

/* ---- the module -------------------------------------------------------------------------- */

struct module_state {
    PyObject *step_failed;
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
    PyObject *steps;
    unsigned long long flags;
    int share_memory, pid = -1, pidfd = -1;
    long long timeout;
    struct plan plan = {.outcome = MAP_FAILED, .stacks = MAP_FAILED, .cgroup = -1};
    if (!PyArg_ParseTuple(arguments, "OKipL:spawn", &steps, &flags, &plan.cgroup, &share_memory,
                          &timeout))
        return NULL;
    plan.flags = flags;
    plan.share_memory = share_memory;
    if (timeout > INT_MAX)
        timeout = INT_MAX;
    if (read_plan(&plan, steps) < 0) {
        free_plan(&plan);
        return NULL;
    }
    struct failure failure;
    Py_BEGIN_ALLOW_THREADS
    failure = spawn_plan(&plan, timeout, &pid, &pidfd);
    Py_END_ALLOW_THREADS
    free_plan(&plan);
    if (failure.number != 0)
        return raise_failure(module, failure);
    return Py_BuildValue("(ii)", pid, pidfd);
}

static PyObject *make_namespaces(PyObject *module, PyObject *arguments)
{
    unsigned long long flags;
    int pidfd = -1;
    long pid;
    sigset_t all, before;
    if (!PyArg_ParseTuple(arguments, "K:make_namespaces", &flags))
        return NULL;
    struct clone_args args = {
        .flags = flags | CLONE_VM | CLONE_FILES | CLONE_PIDFD | CLONE_CLEAR_SIGHAND,
        .pidfd = (uintptr_t)&pidfd,
    };
    Py_BEGIN_ALLOW_THREADS
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid = raw_clone_idle(&args);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    Py_END_ALLOW_THREADS
    if (pid < 0)
        return raise_failure(module, (struct failure){(int)-pid, NO_STEP});
    return Py_BuildValue("(ii)", (int)pid, pidfd);
}

PyDoc_STRVAR(spawn_doc,
             "spawn(steps, flags, cgroup, share_memory, timeout_ms) -> (pid, pidfd)\n--\n\n"
             "Clone a child that takes the encoded steps. Raises StepFailed(errno, step).");
PyDoc_STRVAR(make_namespaces_doc,
             "make_namespaces(flags) -> (pid, pidfd)\n--\n\n"
             "Clone a child that only waits in new namespaces, to be killed and reaped.");

static PyMethodDef METHODS[] = {
    {"spawn", spawn, METH_VARARGS, spawn_doc},
    {"make_namespaces", make_namespaces, METH_VARARGS, make_namespaces_doc},
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
};

PyMODINIT_FUNC PyInit__spawn(void)
{
    return PyModuleDef_Init(&DEFINITION);
}
