/* anchor_supervisor.kernel._calls: system calls as Python asks for them: for what `os` lacks, and
 * several in one visit, for the interpreter lock to be given up once and not for each.
 *
 * Law: every pointer handed to the kernel is into an object that the caller holds, and memory that
 * the kernel may write to is locked against being resized until the call is over.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ARGUMENTS_MAX 6 /* syscall(2) */

struct arguments {
    long number;
    long values[ARGUMENTS_MAX];
    bool is_result[ARGUMENTS_MAX]; /* the value is an earlier call's result, by its place */
    Py_buffer locked[ARGUMENTS_MAX];
    Py_ssize_t locked_count;
};

static int read_argument(struct arguments *arguments, Py_ssize_t index, PyObject *item)
{
    if (item == Py_None)
        return 0;
    if (PyLong_Check(item)) {
        arguments->values[index] = (long)PyLong_AsUnsignedLongLongMask(item);
        return PyErr_Occurred() ? -1 : 0;
    }
    if (PyBytes_Check(item)) {
        arguments->values[index] = (long)(uintptr_t)PyBytes_AS_STRING(item);
        return 0;
    }
    if (PyTuple_Check(item) && PyTuple_GET_SIZE(item) == 1) {
        arguments->is_result[index] = true;
        arguments->values[index] = PyLong_AsLong(PyTuple_GET_ITEM(item, 0));
        return PyErr_Occurred() ? -1 : 0;
    }
    Py_buffer *buffer = &arguments->locked[arguments->locked_count];
    if (PyObject_GetBuffer(item, buffer, PyBUF_WRITABLE) < 0)
        return -1;
    arguments->locked_count++;
    arguments->values[index] = (long)(uintptr_t)buffer->buf;
    return 0;
}

static int read_arguments(struct arguments *arguments, PyObject *const *items, Py_ssize_t count)
{
    arguments->number = PyLong_AsLong(items[0]);
    if (PyErr_Occurred())
        return -1;
    for (Py_ssize_t i = 1; i < count; i++)
        if (read_argument(arguments, i - 1, items[i]) < 0)
            return -1;
    return 0;
}

static void unlock(struct arguments *arguments)
{
    for (Py_ssize_t i = 0; i < arguments->locked_count; i++)
        PyBuffer_Release(&arguments->locked[i]);
}

static long ask(const struct arguments *arguments)
{
    const long *v = arguments->values;
    long result = syscall(arguments->number, v[0], v[1], v[2], v[3], v[4], v[5]);
    return result < 0 ? -errno : result;
}

static PyObject *call(PyObject *Py_UNUSED(module), PyObject *const *items, Py_ssize_t count)
{
    struct arguments arguments = {0};
    if (count < 2 || count > 2 + ARGUMENTS_MAX) {
        PyErr_SetString(PyExc_TypeError,
                        "call takes whether it waits, a number, and at most 6 more");
        return NULL;
    }
    int waits = PyObject_IsTrue(items[0]);
    long result = 0;
    bool wrong = waits < 0 || read_arguments(&arguments, items + 1, count - 1) < 0;
    if (!wrong && waits) {
        Py_BEGIN_ALLOW_THREADS
        result = ask(&arguments);
        Py_END_ALLOW_THREADS
    } else if (!wrong) {
        result = ask(&arguments);
    }
    unlock(&arguments);
    return wrong ? NULL : PyLong_FromLong(result);
}

/* Make the calls in turn until one fails; say how many were made. */
static Py_ssize_t ask_all(struct arguments *calls, Py_ssize_t count, long *results)
{
    for (Py_ssize_t i = 0; i < count; i++) {
        for (int j = 0; j < ARGUMENTS_MAX; j++)
            if (calls[i].is_result[j])
                calls[i].values[j] = results[calls[i].values[j]];
        results[i] = ask(&calls[i]);
        if (results[i] < 0)
            return i + 1;
    }
    return count;
}

static int read_calls(struct arguments *calls, PyObject *const *items, Py_ssize_t count)
{
    for (Py_ssize_t i = 0; i < count; i++) {
        Py_ssize_t size = PyTuple_Check(items[i]) ? PyTuple_GET_SIZE(items[i]) : 0;
        if (size < 1 || size > 1 + ARGUMENTS_MAX) {
            PyErr_SetString(PyExc_TypeError, "a call is a tuple of a number and at most 6 more");
            return -1;
        }
        if (read_arguments(&calls[i], &PyTuple_GET_ITEM(items[i], 0), size) < 0)
            return -1;
        for (int j = 0; j < ARGUMENTS_MAX; j++)
            if (calls[i].is_result[j] && (calls[i].values[j] < 0 || calls[i].values[j] >= i)) {
                PyErr_SetString(PyExc_ValueError, "not the place of an earlier call");
                return -1;
            }
    }
    return 0;
}

static PyObject *list_of(const long *results, Py_ssize_t count)
{
    PyObject *list = PyList_New(count);
    for (Py_ssize_t i = 0; list && i < count; i++) {
        PyObject *result = PyLong_FromLong(results[i]);
        if (!result)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, i, result);
    }
    return list;
}

static PyObject *call_all(PyObject *Py_UNUSED(module), PyObject *const *items, Py_ssize_t count)
{
    struct arguments *calls = PyMem_Calloc((size_t)count + 1, sizeof *calls);
    long *results = PyMem_Calloc((size_t)count + 1, sizeof *results);
    PyObject *list = NULL;
    if (!calls || !results) {
        PyErr_NoMemory();
    } else if (read_calls(calls, items, count) == 0) {
        Py_ssize_t made;
        Py_BEGIN_ALLOW_THREADS
        made = ask_all(calls, count, results);
        Py_END_ALLOW_THREADS
        list = list_of(results, made);
    }
    for (Py_ssize_t i = 0; calls && i < count; i++)
        unlock(&calls[i]);
    PyMem_Free(calls);
    PyMem_Free(results);
    return list;
}

/* As close(2) has it, a descriptor is free again whatever close says. */
static PyObject *close_all(PyObject *Py_UNUSED(module), PyObject *const *items, Py_ssize_t count)
{
    int *descriptors = PyMem_Calloc((size_t)count + 1, sizeof *descriptors);
    if (!descriptors)
        return PyErr_NoMemory();
    for (Py_ssize_t i = 0; i < count && !PyErr_Occurred(); i++)
        descriptors[i] = (int)PyLong_AsLong(items[i]);
    bool wrong = PyErr_Occurred() != NULL;
    if (!wrong) {
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t i = 0; i < count; i++)
            close(descriptors[i]);
        Py_END_ALLOW_THREADS
    }
    PyMem_Free(descriptors);
    return wrong ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(call_doc,
             "call(waits, number, *arguments) -> result, or a negative errno\n--\n\n"
             "An argument is an integer, bytes, a writable buffer, or None. `waits` gives up the\n"
             "interpreter lock meanwhile.");
PyDoc_STRVAR(call_all_doc,
             "call_all(*(number, *arguments)) -> [result]\n--\n\n"
             "Make the calls in turn until one fails, whose negative errno is the last result.\n"
             "An argument may be `(place,)` of an earlier call, for its result.");

PyDoc_STRVAR(close_all_doc, "close_all(*descriptors)\n--\n\n"
                            "Close them, giving up the interpreter lock once.");

static PyMethodDef METHODS[] = {
    {"call", (PyCFunction)(void (*)(void))call, METH_FASTCALL, call_doc},
    {"call_all", (PyCFunction)(void (*)(void))call_all, METH_FASTCALL, call_all_doc},
    {"close_all", (PyCFunction)(void (*)(void))close_all, METH_FASTCALL, close_all_doc},
    {NULL, NULL, 0, NULL},
};

static const struct {
    const char *name;
    long number;
} NUMBERS[] = {
#define NUMBER(name) {#name, SYS_##name}
    NUMBER(close),
    NUMBER(fchmod),
    NUMBER(fchmodat),
    NUMBER(fchown),
    NUMBER(fchownat),
    NUMBER(fcntl),
    NUMBER(flock),
    NUMBER(fsconfig),
    NUMBER(fsmount),
    NUMBER(fsopen),
    NUMBER(fstatfs),
    NUMBER(ftruncate),
    NUMBER(inotify_add_watch),
    NUMBER(inotify_init1),
    NUMBER(inotify_rm_watch),
    NUMBER(lseek),
    NUMBER(memfd_create),
    NUMBER(mkdirat),
    NUMBER(mknodat),
    NUMBER(mount),
    NUMBER(mount_setattr),
    NUMBER(move_mount),
    NUMBER(open_tree),
    NUMBER(openat),
    NUMBER(openat2),
    NUMBER(prctl),
    NUMBER(pwrite64),
    NUMBER(renameat2),
    NUMBER(setfsgid),
    NUMBER(setfsuid),
    NUMBER(setns),
    NUMBER(syncfs),
    NUMBER(timerfd_create),
    NUMBER(timerfd_settime),
    NUMBER(umount2),
    NUMBER(unshare),
    NUMBER(write),
};

static int execute_module(PyObject *module)
{
    PyObject *numbers = PyDict_New();
    if (!numbers)
        return -1;
    for (size_t i = 0; i < sizeof NUMBERS / sizeof *NUMBERS; i++) {
        PyObject *number = PyLong_FromLong(NUMBERS[i].number);
        int result = number ? PyDict_SetItemString(numbers, NUMBERS[i].name, number) : -1;
        Py_XDECREF(number);
        if (result < 0) {
            Py_DECREF(numbers);
            return -1;
        }
    }
    int result = PyModule_AddObjectRef(module, "NUMBERS", numbers);
    Py_DECREF(numbers);
    return result;
}

static PyModuleDef_Slot SLOT_TABLE[] = {
    {Py_mod_exec, execute_module},
    {0, NULL},
};

static struct PyModuleDef DEFINITION = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_calls",
    .m_doc = "System calls that the standard library does not offer.",
    .m_methods = METHODS,
    .m_slots = SLOT_TABLE,
};

PyMODINIT_FUNC PyInit__calls(void)
{
    return PyModuleDef_Init(&DEFINITION);
}
