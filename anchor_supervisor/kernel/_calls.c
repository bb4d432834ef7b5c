/* anchor_supervisor.kernel._calls: a system call as Python asks for it, for what `os` lacks.
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
    long values[ARGUMENTS_MAX];
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
    Py_buffer *buffer = &arguments->locked[arguments->locked_count];
    if (PyObject_GetBuffer(item, buffer, PyBUF_WRITABLE) < 0)
        return -1;
    arguments->locked_count++;
    arguments->values[index] = (long)(uintptr_t)buffer->buf;
    return 0;
}

static long ask(const long *v, long number)
{
    long result = syscall(number, v[0], v[1], v[2], v[3], v[4], v[5]);
    return result < 0 ? -errno : result;
}

static PyObject *call(PyObject *Py_UNUSED(module), PyObject *const *items, Py_ssize_t count)
{
    struct arguments arguments = {0};
    if (count < 2 || count > 2 + ARGUMENTS_MAX) {
        PyErr_SetString(PyExc_TypeError,
                        "call takes a number, whether it waits, and at most 6 more");
        return NULL;
    }
    long number = PyLong_AsLong(items[0]);
    int waits = PyObject_IsTrue(items[1]);
    long result = 0;
    bool wrong = PyErr_Occurred() != NULL;
    for (Py_ssize_t i = 2; i < count && !wrong; i++)
        wrong = read_argument(&arguments, i - 2, items[i]) < 0;
    if (!wrong && waits) {
        Py_BEGIN_ALLOW_THREADS
        result = ask(arguments.values, number);
        Py_END_ALLOW_THREADS
    } else if (!wrong) {
        result = ask(arguments.values, number);
    }
    for (Py_ssize_t i = 0; i < arguments.locked_count; i++)
        PyBuffer_Release(&arguments.locked[i]);
    return wrong ? NULL : PyLong_FromLong(result);
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
             "call(number, waits, *arguments) -> result, or a negative errno\n--\n\n"
             "An argument is an integer, bytes, a writable buffer, or None. `waits` gives up the\n"
             "interpreter lock meanwhile.");

PyDoc_STRVAR(close_all_doc, "close_all(*descriptors)\n--\n\n"
                            "Close them, giving up the interpreter lock once.");

static PyMethodDef METHODS[] = {
    {"call", (PyCFunction)(void (*)(void))call, METH_FASTCALL, call_doc},
    {"close_all", (PyCFunction)(void (*)(void))close_all, METH_FASTCALL, close_all_doc},
    {NULL, NULL, 0, NULL},
};

static const struct {
    const char *name;
    long number;
} NUMBERS[] = {
#define NUMBER(name) {#name, SYS_##name}
    NUMBER(fchownat),       NUMBER(fsconfig),
    NUMBER(fsmount),        NUMBER(fsopen),
    NUMBER(fstatfs),        NUMBER(inotify_add_watch),
    NUMBER(inotify_init1),  NUMBER(inotify_rm_watch),
    NUMBER(mount),          NUMBER(mount_setattr),
    NUMBER(move_mount),     NUMBER(open_tree),
    NUMBER(openat2),        NUMBER(prctl),
    NUMBER(setfsgid),       NUMBER(setfsuid),
    NUMBER(setns),          NUMBER(syncfs),
    NUMBER(timerfd_create), NUMBER(timerfd_settime),
    NUMBER(umount2),        NUMBER(unshare),
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
