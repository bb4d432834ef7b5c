/* Python values become C memory: nothing else is left to do in a child but ask the kernel.
 *
 * Every tuple is checked here, so that the child half need not doubt what it reads.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "_plan.h"

#include <limits.h>

/* Which values a step must bring. Strings and integers beyond these are counted by the step. */
struct shape {
    int8_t integers, strings;
    int8_t path;        /* which string must be absolute, or -1 */
    int8_t descriptors; /* how many integers, from the first on, are descriptors */
    bool in_first;      /* may come before CLONE_AGAIN */
};

static const struct shape SHAPES[OPERATION_END] = {
    [JOIN_NAMESPACE] = {2, 0, -1, 1, true},
    [SET_IDS] = {2, 0, -1, 0, true},
    [CLONE_AGAIN] = {1, 0, -1, 0, true},
    [NEW_SESSION] = {0, 0, -1, 0, true},
    [SET_HOSTNAME] = {0, 1, -1, 0, true},
    [OPEN_FILESYSTEM] = {2, 1, -1, 0, false},
    [ENTER_ROOT] = {1, 1, 0, 1, false},
    [ATTACH] = {3, 1, 0, 1, false},
    [MAKE_DIRECTORY] = {1, 1, 0, 0, false},
    [MAKE_SYMLINK] = {0, 2, 0, 0, false},
    [WRITE_BENEATH] = {1, 2, -1, 1, false},
    [MAKE_READ_ONLY] = {1, 1, 0, 0, false},
    [MASK] = {2, 1, 0, 2, false},
    [SET_LIMIT] = {3, 0, -1, 0, true},
    [SET_BOUNDING] = {1, 0, -1, 0, true},
    [SET_CAPABILITIES] = {1, 0, -1, 0, true},
    [NO_NEW_PRIVILEGES] = {0, 0, -1, 0, true},
    [CHANGE_DIRECTORY] = {1, 1, 0, 0, false},
    [SET_STDIO] = {3, 0, -1, 3, false},
    [CONTROLLING_TERMINAL] = {0, 0, -1, 0, false},
    [EXECUTE] = {6, 2, -1, 2, false},
};

void free_plan(struct plan *plan)
{
    for (size_t i = 0; i < plan->count && plan->steps; i++) {
        PyMem_Free(plan->steps[i].integers);
        PyMem_Free(plan->steps[i].strings);
    }
    PyMem_Free(plan->steps);
    PyMem_Free(plan->named);
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

/* Point to the strings from `step->strings`: `before` places are left free, and one before string
 * `gap`. Every place that is not filled is NULL, as is the one after the last. */
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
        PyObject *text = PyTuple_GET_ITEM(strings, (Py_ssize_t)i);
        char **place = &step->strings[before + i + (i >= gap)];
        if (PyBytes_AsStringAndSize(text, place, NULL) < 0)
            return -1; /* a NUL inside is refused here */
    }
    return 0;
}

static char INIT_NAME[] = "anchor-init";

/* Execute carries three groups; init's own arguments are put in front of them. */
static int read_execute(struct plan *plan, struct step *step, PyObject *strings, size_t index)
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
    const char *manner = integers[5] == 0 ? "=" : integers[5] == 1 ? "" : "+";
    snprintf(plan->manner, sizeof plan->manner, "%s%lld", manner, (long long)integers[2]);
    step->strings[0] = INIT_NAME;
    step->strings[1] = plan->manner;
    return 0;
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
    for (int i = 0; i < shape->descriptors; i++)
        if (step->integers[i] <= SLOT_FIRST - SLOTS || step->integers[i] > INT_MAX)
            return refuse(index, "not a descriptor");
    return 0;
}

/* A place among the descriptors that were given travels as a number below those of the slots. */
static int fill_in(struct step *step, PyObject *given, size_t index)
{
    for (int i = 0; i < SHAPES[step->operation].descriptors; i++) {
        int64_t place = SLOT_FIRST - SLOTS - step->integers[i];
        if (place < 0)
            continue;
        if (place >= PyTuple_GET_SIZE(given))
            return refuse(index, "no descriptor was given for this place");
        long fd = PyLong_AsLong(PyTuple_GET_ITEM(given, (Py_ssize_t)place));
        if (fd == -1 && PyErr_Occurred())
            return -1;
        if (fd < 0)
            return refuse(index, "not a descriptor");
        step->integers[i] = fd;
    }
    return 0;
}

static int read_step(struct plan *plan, PyObject *item, PyObject *given, size_t index)
{
    struct step *step = &plan->steps[index];
    if (!PyTuple_Check(item) || PyTuple_GET_SIZE(item) != 3)
        return refuse(index, "not a tuple of three");
    long operation = PyLong_AsLong(PyTuple_GET_ITEM(item, 0));
    if (operation == -1 && PyErr_Occurred())
        return -1;
    PyObject *integers = PyTuple_GET_ITEM(item, 1), *strings = PyTuple_GET_ITEM(item, 2);
    if (!PyTuple_Check(integers) || !PyTuple_Check(strings))
        return refuse(index, "its values are not in tuples");
    if (operation < JOIN_NAMESPACE || operation >= OPERATION_END)
        return refuse(index, "unknown operation");
    step->operation = (enum operation)operation;
    if (PyTuple_GET_SIZE(integers) < SHAPES[operation].integers ||
        PyTuple_GET_SIZE(strings) < SHAPES[operation].strings)
        return refuse(index, "too few values");
    if (read_integers(step, integers) < 0 || fill_in(step, given, index) < 0)
        return -1;
    if (operation == EXECUTE)
        return read_execute(plan, step, strings, index);
    if (read_strings(step, strings, 0, SIZE_MAX) < 0)
        return -1;
    return check_step(step, index);
}

/* Only what changes the process itself may come before CLONE_AGAIN. */
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

/* Note where descriptors are named: in each step, so many integers from the front, and the report.
 */
static int note_descriptors(struct plan *plan)
{
    size_t room = 1;
    for (size_t i = 0; i < plan->count; i++)
        room += (size_t)SHAPES[plan->steps[i].operation].descriptors;
    plan->named = PyMem_Calloc(room, sizeof *plan->named);
    if (!plan->named) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < plan->count; i++) {
        const struct step *step = &plan->steps[i];
        for (int j = 0; j < SHAPES[step->operation].descriptors; j++)
            if (step->integers[j] >= 0)
                plan->named[plan->named_count++].place = &step->integers[j];
    }
    plan->named[plan->named_count++].place = &plan->report;
    return 0;
}

int read_plan(struct plan *plan, PyObject *steps, PyObject *given)
{
    int result = 0;
    plan->count = (size_t)PyTuple_GET_SIZE(steps);
    plan->steps = PyMem_Calloc(plan->count + 1, sizeof *plan->steps);
    if (!plan->steps) {
        PyErr_NoMemory();
        result = -1;
    }
    for (size_t i = 0; i < plan->count && result == 0; i++)
        result = read_step(plan, PyTuple_GET_ITEM(steps, (Py_ssize_t)i), given, i);
    if (result == 0)
        result = check_order(plan);
    return result == 0 ? note_descriptors(plan) : result;
}
