/* The child of `_sandbox.c`: what has to be done inside a container's network namespace, before
 * anything runs in it. The law of `_child.c` holds here too: ask the kernel, nothing else.
 */

#include "_raw.h"
#include "_sandbox.h"

#include <linux/close_range.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/futex.h>
#include <linux/if.h>
#include <linux/in.h>
#include <linux/prctl.h>
#include <linux/sockios.h>

#define SIGNAL_KILL 9
#define TYPE_DATAGRAM 2 /* SOCK_DGRAM; libc alone says so */
#define FAMILY_INET 2

static void leave(void)
{
    for (;;)
        sys(__NR_exit_group, 0);
}

/* Set a sysctl; a kernel without IPv6 has nothing to disable. */
static long write_setting(const char *path, char value)
{
    long fd = sys(__NR_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC);
    if (fd == -ENOENT)
        return 0;
    if (fd < 0)
        return fd;
    long result = sys(__NR_write, fd, &value, sizeof value);
    sys(__NR_close, fd);
    return result;
}

static long start_loopback(void)
{
    struct ifreq request = {.ifr_ifrn.ifrn_name = "lo", .ifr_ifru.ifru_flags = IFF_UP};
    long fd = sys(__NR_socket, FAMILY_INET, TYPE_DATAGRAM | O_CLOEXEC);
    if (fd < 0)
        return fd;
    long result = sys(__NR_ioctl, fd, SIOCSIFFLAGS, &request);
    sys(__NR_close, fd);
    return result;
}

static struct sandbox_failure set_up_network(long there)
{
    /* Before any interface is made: what comes into being later inherits `default`, so no
     * interface ever has an IPv6 address to test for duplicates or takes a router's word. The
     * loopback keeps ::1. Forwarding is inherited from the machine, and would lead around an
     * internal network. */
    long result = there < 0 ? there : write_setting("sys/net/ipv4/ip_forward", '0');
    if (result < 0)
        return (struct sandbox_failure){(int)-result, SET_FORWARDING};
    result = write_setting("sys/net/ipv6/conf/default/disable_ipv6", '1');
    if (result < 0)
        return (struct sandbox_failure){(int)-result, SET_IPV6};
    result = start_loopback();
    if (result < 0)
        return (struct sandbox_failure){(int)-result, START_LOOPBACK};
    return (struct sandbox_failure){0, MAKE_NAMESPACES};
}

void set_up_inside(void *argument)
{
    struct inside *inside = argument;
    sys(__NR_prctl, PR_SET_PDEATHSIG, SIGNAL_KILL);
    /* Where the parent died before we could ask, we are another's by now: nobody would let us go.
     */
    if (sys(__NR_getppid) != inside->parent)
        leave();
    /* Our working directory is ours alone; a descriptor will be gone in a moment. */
    long there = inside->proc < 0 ? sys(__NR_chdir, "/proc") : sys(__NR_fchdir, inside->proc);
    /* A table of our own, and a short one: were we killed, nothing of ours would stay in theirs. */
    sys(__NR_close_range, 3, ~0U, CLOSE_RANGE_UNSHARE);
    if (inside->network)
        inside->failure = set_up_network(there);
    inside->done = true;
    while (!__atomic_load_n(&inside->let_go, __ATOMIC_ACQUIRE))
        sys(__NR_futex, &inside->let_go, FUTEX_WAIT_PRIVATE, 0, 0);
    leave();
}
