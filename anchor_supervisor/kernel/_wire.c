/* anchor_supervisor.kernel._wire: requests to rtnetlink and what the kernel says to them, also from
 * within other network namespaces; the interpreter lock is given up once for all of it.
 *
 * Law: nothing of Python is touched while the lock is given up; the requests are bytes in tuples
 * that are held meanwhile; a thread that has been elsewhere is home again, or says that it is not.
 */

#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REPLY_SIZE 16384 /* of one datagram; the largest that is asked for has about 3 KiB */

enum stage { ENTER, OPEN, TALK };

struct talk {
    int net; /* the namespace, or -1 */
    uint32_t last;
    const char *request;
    size_t length;
    char *replies;
    size_t size, used;
    int error;
    enum stage stage;
};

static int send_all(int fd, const struct talk *talk)
{
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    ssize_t sent;
    do {
        sent =
            sendto(fd, talk->request, talk->length, 0, (struct sockaddr *)&kernel, sizeof kernel);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? errno : 0;
}

static int make_room(struct talk *talk)
{
    if (talk->size - talk->used >= REPLY_SIZE)
        return 0;
    size_t size = 2 * talk->size + REPLY_SIZE;
    char *larger = realloc(talk->replies, size);
    if (!larger)
        return ENOMEM;
    talk->replies = larger;
    talk->size = size;
    return 0;
}

/* Whether the last request is answered, with success or not, in this datagram. */
static bool says_the_last(const char *data, size_t length, uint32_t last)
{
    while (length >= sizeof(struct nlmsghdr)) {
        struct nlmsghdr header;
        memcpy(&header, data, sizeof header);
        if (header.nlmsg_len < sizeof header || header.nlmsg_len > length)
            return false;
        if (header.nlmsg_type == NLMSG_ERROR && header.nlmsg_seq == last)
            return true;
        size_t step = NLMSG_ALIGN(header.nlmsg_len);
        if (step > length)
            return false;
        data += step;
        length -= step;
    }
    return false;
}

/* Whether this datagram is nothing but word that the last request has succeeded. */
static bool is_success(const char *data, size_t length, uint32_t last)
{
    struct nlmsghdr header;
    int status;
    if (length < sizeof header + sizeof status)
        return false;
    memcpy(&header, data, sizeof header);
    memcpy(&status, data + sizeof header, sizeof status);
    return header.nlmsg_type == NLMSG_ERROR && header.nlmsg_seq == last && status == 0 &&
           NLMSG_ALIGN(header.nlmsg_len) >= length;
}

/* Receive until the last request is answered; that it succeeded is the absence of a refusal. The
 * kernel carries requests out while they are sent, so everything is there by now: there is nothing
 * to wait for. */
static int receive_all(int fd, struct talk *talk)
{
    for (;;) {
        struct sockaddr_nl sender = {0};
        socklen_t sender_size = sizeof sender;
        int error = make_room(talk);
        if (error)
            return error;
        char *place = talk->replies + talk->used;
        ssize_t length = recvfrom(fd, place, REPLY_SIZE, MSG_DONTWAIT | MSG_TRUNC,
                                  (struct sockaddr *)&sender, &sender_size);
        if (length < 0 && errno == EINTR)
            continue;
        if (length < 0)
            return errno;
        if (sender.nl_pid != 0) /* who has CAP_NET_ADMIN here may write to us: not the kernel */
            continue;
        if (length > REPLY_SIZE)
            return EMSGSIZE;
        if (is_success(place, (size_t)length, talk->last))
            return 0;
        talk->used += (size_t)length;
        if (says_the_last(place, (size_t)length, talk->last))
            return 0;
    }
}

static void carry_out(int fd, struct talk *talk)
{
    talk->stage = TALK;
    talk->error = send_all(fd, talk);
    if (talk->error == 0)
        talk->error = receive_all(fd, talk);
}

/* Leaves the thread in the namespace. */
static void carry_out_inside(struct talk *talk)
{
    int on = 1;
    talk->stage = ENTER;
    if (setns(talk->net, CLONE_NEWNET) < 0) {
        talk->error = errno;
        return;
    }
    talk->stage = OPEN;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0 || setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on) < 0 ||
        setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on) < 0)
        talk->error = errno;
    else
        carry_out(fd, talk);
    if (fd >= 0)
        close(fd);
}

/* Visit each namespace, and come home: an errno where that failed. */
static int carry_out_everywhere(struct talk *talks, size_t count)
{
    int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    int error = home < 0 ? errno : 0;
    for (size_t i = 0; i < count; i++) {
        if (error)
            talks[i].error = error;
        else
            carry_out_inside(&talks[i]);
    }
    if (error)
        return 0;
    error = setns(home, CLONE_NEWNET) < 0 ? errno : 0;
    close(home);
    return error;
}

static PyObject *exchange(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    struct talk talk = {.net = -1};
    Py_ssize_t length;
    int fd;
    if (!PyArg_ParseTuple(arguments, "iIy#:exchange", &fd, &talk.last, &talk.request, &length))
        return NULL;
    talk.length = (size_t)length;
    Py_BEGIN_ALLOW_THREADS
    carry_out(fd, &talk);
    Py_END_ALLOW_THREADS
    PyObject *result = NULL;
    if (talk.error) {
        errno = talk.error;
        PyErr_SetFromErrno(PyExc_OSError);
    } else {
        result = PyBytes_FromStringAndSize(talk.replies, (Py_ssize_t)talk.used);
    }
    free(talk.replies);
    return result;
}

static PyObject *results_of(struct talk *talks, Py_ssize_t count)
{
    PyObject *results = PyList_New(count);
    for (Py_ssize_t i = 0; results && i < count; i++) {
        struct talk *talk = &talks[i];
        PyObject *result = talk->error
                               ? Py_BuildValue("(ii)", talk->error, (int)talk->stage)
                               : PyBytes_FromStringAndSize(talk->replies, (Py_ssize_t)talk->used);
        if (!result)
            Py_CLEAR(results);
        else
            PyList_SET_ITEM(results, i, result);
    }
    return results;
}

static PyObject *exchange_inside(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    Py_ssize_t count = PyTuple_GET_SIZE(arguments);
    struct talk *talks = PyMem_Calloc((size_t)count + 1, sizeof *talks);
    if (!talks)
        return PyErr_NoMemory();
    PyObject *results = NULL;
    bool wrong = false;
    for (Py_ssize_t i = 0; i < count && !wrong; i++) {
        PyObject *item = PyTuple_GET_ITEM(arguments, i);
        Py_ssize_t length = 0;
        wrong =
            !PyTuple_Check(item) || !PyArg_ParseTuple(item, "iIy#:exchange_inside", &talks[i].net,
                                                      &talks[i].last, &talks[i].request, &length);
        talks[i].length = (size_t)length;
    }
    if (wrong) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "exchange_inside takes tuples");
    } else {
        int error;
        Py_BEGIN_ALLOW_THREADS
        error = carry_out_everywhere(talks, (size_t)count);
        Py_END_ALLOW_THREADS
        errno = error;
        results = error ? PyErr_SetFromErrno(PyExc_OSError) : results_of(talks, count);
    }
    for (Py_ssize_t i = 0; i < count; i++)
        free(talks[i].replies);
    PyMem_Free(talks);
    return results;
}

PyDoc_STRVAR(
    exchange_doc,
    "exchange(socket, last, requests) -> replies\n--\n\n"
    "Send requests and receive until the one numbered `last` is answered; the word of its\n"
    "success alone is left out. OSError.");
PyDoc_STRVAR(exchange_inside_doc,
             "exchange_inside(*(namespace, last, requests)) -> [replies or (errno, stage)]\n--\n\n"
             "Do so in each network namespace, by a socket of its own. OSError: this thread could\n"
             "not come home.");

static PyMethodDef METHODS[] = {
    {"exchange", exchange, METH_VARARGS, exchange_doc},
    {"exchange_inside", exchange_inside, METH_VARARGS, exchange_inside_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot SLOT_TABLE[] = {
    {0, NULL},
};

static struct PyModuleDef DEFINITION = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_wire",
    .m_doc = "Requests to rtnetlink, here and in other network namespaces.",
    .m_methods = METHODS,
    .m_slots = SLOT_TABLE,
};

PyMODINIT_FUNC PyInit__wire(void)
{
    return PyModuleDef_Init(&DEFINITION);
}
