/* What the kernel itself needs for a container, and nothing else: the floor of every figure.
 *
 *     floor ROOT WORK CGROUP COUNT GAP_MS cow|bind net|nonet
 *
 * Makes COUNT containers over the directory ROOT, one after the other, GAP_MS between them. Each:
 * clone3(2) into a cgroup with pid, mount, uts, ipc, cgroup (and network) namespaces; a root,
 * overlay with an upper directory of its own beneath WORK, or a read-only bind; /proc, /dev with
 * its devices, devpts, shm, mqueue, masked and read-only paths; pivot_root(2); no capabilities, a
 * seccomp filter of some length; execve(2) of ROOT's `/first`, which says when it came to be; and
 * its end is reaped. Prints for each: nanoseconds from the decision to start it until its first
 * instruction, and until it was reaped. No user namespace, no address, no log, no limits, no
 * policy: whoever does more is compared with this.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *const DEVICES[] = {"null", "zero", "full", "random", "urandom", "tty"};
static const char *const MASKED[] = {"/proc/kcore", "/proc/keys", "/proc/timer_list",
                                     "/proc/sysrq-trigger"};
static const char *const READ_ONLY[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"};

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    _exit(1);
}

static void must(long result, const char *what)
{
    if (result < 0) {
        give_up(what);
    }
}

static int64_t now(void)
{
    struct timespec moment;
    clock_gettime(CLOCK_MONOTONIC, &moment);
    return (int64_t)moment.tv_sec * 1000000000 + moment.tv_nsec;
}

struct container {
    const char *root, *upper, *work, *merged;
    int cow, writer;
};

static void mount_root(const struct container *one)
{
    char options[4096];
    if (!one->cow) {
        must(mount(one->root, one->merged, NULL, MS_BIND, NULL), "bind the root");
        return;
    }
    snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s,workdir=%s,volatile", one->root,
             one->upper, one->work);
    must(mount("overlay", one->merged, "overlay", 0, options), "mount the overlay");
}

static void mount_devices(void)
{
    char path[64], source[64];
    must(mount("tmpfs", "dev", "tmpfs", MS_NOSUID, "mode=755,size=64k"), "mount /dev");
    for (size_t i = 0; i < COUNT_OF(DEVICES); i++) {
        snprintf(path, sizeof path, "dev/%s", DEVICES[i]);
        snprintf(source, sizeof source, "/dev/%s", DEVICES[i]);
        must(mknod(path, S_IFREG | 0666, 0), "make a device's place");
        must(mount(source, path, NULL, MS_BIND, NULL), "bind a device");
    }
    must(mkdir("dev/pts", 0755), "make dev/pts");
    must(mkdir("dev/shm", 01777), "make dev/shm");
    must(mkdir("dev/mqueue", 0755), "make dev/mqueue");
    must(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=666"),
         "mount devpts");
    must(mount("shm", "dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "size=64m"), "mount shm");
    must(mount("mqueue", "dev/mqueue", "mqueue", MS_NOSUID, NULL), "mount mqueue");
}

static void change_root(void)
{
    must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
    must(umount2(".", MNT_DETACH), "let the old root go");
    must(chdir("/"), "chdir");
    for (size_t i = 0; i < COUNT_OF(MASKED); i++) {
        if (mount("/dev/null", MASKED[i], NULL, MS_BIND, NULL) < 0 && errno != ENOENT) {
            give_up("mask a path");
        }
    }
    for (size_t i = 0; i < COUNT_OF(READ_ONLY); i++) {
        const char *path = READ_ONLY[i];
        must(mount(path, path, NULL, MS_BIND | MS_REC, NULL), "bind a path");
        must(mount(NULL, path, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), "make it read-only");
    }
}

static void filter_calls(void)
{
    /* As long as a usual profile, and of the same work: a comparison for each call that is denied.
     */
    static struct sock_filter code[260];
    unsigned short length = 0;
    code[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0);
    while (length < COUNT_OF(code) - 2) {
        code[length] =
            (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 100000U + length, 0, 0);
        length++;
    }
    code[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {length, code};
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
    must(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program), "seccomp");
}

static _Noreturn void become(const struct container *one)
{
    static char *const arguments[] = {"/first", NULL}, *const environment[] = {NULL};
    must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "make mounts private");
    mount_root(one);
    must(chdir(one->merged), "enter the root");
    must(mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL), "mount /proc");
    mount_devices();
    change_root();
    must(sethostname("floor", 5), "sethostname");
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++) {
        must(prctl(PR_CAPBSET_DROP, capability, 0, 0, 0), "drop a capability");
    }
    must(dup2(one->writer, 1), "dup2");
    must(syscall(SYS_close_range, 3, ~0U, 0), "close_range");
    filter_calls();
    execve("/first", arguments, environment);
    give_up("execve");
}

static void run(const struct container *one, int cgroup, uint64_t namespaces, int reader)
{
    int pidfd = -1;
    char line[32] = {0};
    const int64_t begun = now();
    if (one->cow) {
        must(mkdir(one->upper, 0755), "make the upper directory");
        must(mkdir(one->work, 0755), "make the work directory");
    }
    struct clone_args arguments = {
        .flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP |
                 CLONE_PIDFD | CLONE_INTO_CGROUP | namespaces,
        .pidfd = (uint64_t)(uintptr_t)&pidfd,
        .exit_signal = SIGCHLD,
        .cgroup = (uint64_t)cgroup,
    };
    const long pid = syscall(SYS_clone3, &arguments, sizeof arguments);
    must(pid, "clone3");
    if (pid == 0) {
        become(one);
    }
    siginfo_t end;
    must(waitid(P_PIDFD, (id_t)pidfd, &end, WEXITED), "waitid");
    const int64_t reaped = now();
    must(read(reader, line, sizeof line - 1), "read");
    close(pidfd);
    if (end.si_status != 0) {
        give_up("the program failed");
    }
    printf("%lld %lld\n", strtoll(line, NULL, 10) - (long long)begun, (long long)(reaped - begun));
}

int main(int argc, char **argv)
{
    if (argc != 8) {
        fprintf(stderr, "usage: floor ROOT WORK CGROUP COUNT GAP_MS cow|bind net|nonet\n");
        return 2;
    }
    int ends[2];
    char upper[4096], work[4096], merged[4096];
    const long gap = strtol(argv[5], NULL, 10);
    const uint64_t namespaces = strcmp(argv[7], "net") == 0 ? CLONE_NEWNET : 0;
    const int cgroup = open(argv[3], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(cgroup, "open the cgroup");
    must(pipe2(ends, O_CLOEXEC), "pipe");
    /* As few mounts as there can be are copied with each container's mount namespace. */
    must(unshare(CLONE_NEWNS), "unshare");
    must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "make mounts private");
    snprintf(merged, sizeof merged, "%s/merged", argv[2]);
    if (mkdir(merged, 0755) < 0 && errno != EEXIST) {
        give_up("make the place of the root");
    }
    for (long i = 0; i < strtol(argv[4], NULL, 10); i++) {
        const struct timespec pause = {gap / 1000, gap % 1000 * 1000000L};
        snprintf(upper, sizeof upper, "%s/upper%ld", argv[2], i);
        snprintf(work, sizeof work, "%s/work%ld", argv[2], i);
        const struct container one = {argv[1], upper, work, merged, strcmp(argv[6], "cow") == 0,
                                      ends[1]};
        run(&one, cgroup, namespaces, ends[0]);
        nanosleep(&pause, NULL);
    }
    return 0;
}
