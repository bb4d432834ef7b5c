/* Process 1 of a container: runs the command, reaps orphans, passes signals on, and no more.
 *
 * Law: no libc, no relocations, no heap, no writable data. It is loaded by the kernel straight
 * from a sealed memfd, so nothing in the image can replace or subvert it.
 *
 * Arguments: the count of candidates, the candidates, and the command's own argv. Where the count
 * is written `=N` init does not stay but becomes the command: even then it was worth its while,
 * for /proc/self/exe of a process that has yet to execute is the file it came from. Where it is
 * written `+N` init is not process 1 but the reaper of one command: it tells the command's end and
 * stays until nothing is left of what the command started, which would else be left to a process 1
 * that may never reap. Unlike process 1 it can be stopped by the command, so it reports before it
 * starts that, and tells by a negative errno in the status where that fails.
 * Descriptors:
 * INIT_REPORT takes one word, whether the command could be executed, and is closed then;
 * INIT_STATUS, where it is open, takes the command's raw wait status (4 bytes), which outlives the
 * supervisor.
 */

#include "_raw.h"

#include <linux/errno.h>
#include <linux/prctl.h>

#define SIGCHLD 17
#define SIG_SETMASK 2
#define SIGNAL_SET_SIZE 8
#define WNOHANG 1
#define TIOCSPGRP 0x5410
#define F_SETFD 2
#define FD_CLOEXEC 1
#define NOT_EXECUTABLE 126
#define NOT_FOUND 127

#define STACK_SIZE 2048

struct command {
    char **candidates, **argv, **envp;
    long count;
    int to_the_last;
    volatile long failure; /* written by the child, which shares this memory until it executes */
};

static void leave(int code)
{
    for (;;)
        sys(__NR_exit_group, code);
}

static void tell(long number)
{
    struct report report = {.step = LAST_STEP, .number = (int)-number};
    sys(__NR_write, INIT_REPORT, &report, sizeof report);
    sys(__NR_close, INIT_REPORT);
}

static void give_up(long number)
{
    tell(number);
    leave(number == -ENOENT || number == -ENOTDIR ? NOT_FOUND : NOT_EXECUTABLE);
}

static long parse_count(const char *digits)
{
    long count = 0;
    digits += *digits == '=' || *digits == '+';
    while (*digits >= '0' && *digits <= '9')
        count = count * 10 + (*digits++ - '0');
    return count;
}

/* As execvpe(3): what is missing is passed over, and a refusal is remembered over it. */
static long execute_first(const struct command *command)
{
    long found = -ENOENT;
    for (long i = 0; i < command->count; i++) {
        long result = sys(__NR_execve, command->candidates[i], command->argv, command->envp);
        if (result == -EACCES)
            found = result;
        else if (result != -ENOENT && result != -ENOTDIR)
            return result;
    }
    return found;
}

/* The command's own process: its own process group, in the foreground where there is a terminal,
 * so that Ctrl-C reaches the command and not init. */
static void become_command(void *argument)
{
    struct command *command = argument;
    int group = (int)sys(__NR_getpid);
    unsigned long none = 0;

    sys(__NR_setpgid, 0, 0);
    sys(__NR_ioctl, 0, TIOCSPGRP, &group); /* SIGTTOU is still blocked; no terminal, no matter */
    sys(__NR_close, INIT_STATUS);
    sys(__NR_close, INIT_REPORT);
    sys(__NR_rt_sigprocmask, SIG_SETMASK, &none, 0, SIGNAL_SET_SIZE);
    command->failure = execute_first(command);
    leave(0);
}

static void make_way(const struct command *command)
{
    unsigned long none = 0;
    sys(__NR_close, INIT_STATUS);
    sys(__NR_fcntl, INIT_REPORT, F_SETFD, FD_CLOEXEC);
    sys(__NR_rt_sigprocmask, SIG_SETMASK, &none, 0, SIGNAL_SET_SIZE);
    give_up(execute_first(command));
}

static void finish(int status)
{
    sys(__NR_write, INIT_STATUS, &status, sizeof status);
    leave(status & 0x7f ? 128 + (status & 0x7f) : status >> 8 & 0xff);
}

/* The command's pid, or 0 once it has ended: the number may be another's then. */
static long reap(long command, int to_the_last)
{
    int status;
    long pid;
    while ((pid = sys(__NR_wait4, -1, &status, WNOHANG, 0)) > 0) {
        if (pid != command)
            continue;
        if (!to_the_last)
            finish(status);
        sys(__NR_write, INIT_STATUS, &status, sizeof status);
        command = 0;
    }
    if (pid == -ECHILD)
        leave(0);
    return command;
}

static long start(struct command *command)
{
    char stack[STACK_SIZE] __attribute__((aligned(16)));
    long pid = raw_clone_old(CLONE_VM | CLONE_VFORK | SIGCHLD, stack + sizeof stack, become_command,
                             command);
    long failure = pid < 0 ? pid : command->failure;
    int told = (int)failure;
    if (failure && command->to_the_last)
        sys(__NR_write, INIT_STATUS, &told, sizeof told);
    if (failure)
        give_up(failure);
    return pid;
}

/* Called by the entry below with the stack as the kernel left it: argc, argv, NULL, envp, NULL. */
__attribute__((used, noreturn, visibility("hidden"))) void anchor_init_main(long *stack)
{
    long argument_count = stack[0];
    char **arguments = (char **)(stack + 1);
    unsigned long all = ~0UL;
    unsigned info[32]; /* siginfo_t: 128 bytes */
    struct command command = {
        .candidates = arguments + 2,
        .envp = arguments + argument_count + 1,
        .count = argument_count > 3 ? parse_count(arguments[1]) : 0,
        .to_the_last = argument_count > 3 && arguments[1][0] == '+',
    };
    command.argv = command.candidates + command.count;
    if (command.count < 1 || command.count > argument_count - 3)
        give_up(-EINVAL);

    /* The container runs as the same user and must not take our status descriptor: without this,
     * pidfd_getfd(2) would let it (PTRACE_MODE_ATTACH_REALCREDS). */
    sys(__NR_prctl, PR_SET_DUMPABLE, 0);
    sys(__NR_prctl, PR_SET_NAME, "anchor-init");
    sys(__NR_rt_sigprocmask, SIG_SETMASK, &all, 0, SIGNAL_SET_SIZE);
    if (arguments[1][0] == '=')
        make_way(&command);
    if (command.to_the_last) {
        sys(__NR_prctl, PR_SET_CHILD_SUBREAPER, 1);
        tell(0);
    }
    long pid = start(&command);
    if (!command.to_the_last)
        tell(0);
    for (;;) {
        long number = sys(__NR_rt_sigtimedwait, &all, info, 0, SIGNAL_SET_SIZE);
        if (number == SIGCHLD)
            pid = reap(pid, command.to_the_last);
        else if (number > 0 && pid > 0)
            sys(__NR_kill, pid, number);
    }
}

#if defined(__x86_64__)
__asm__(".text\n"
        ".globl anchor_init\n"
        ".hidden anchor_init\n"
        "anchor_init:\n\t"
        "xor %ebp, %ebp\n\t"
        "mov %rsp, %rdi\n\t"
        "and $-16, %rsp\n\t"
        "call anchor_init_main\n");
#else
__asm__(".text\n"
        ".globl anchor_init\n"
        ".hidden anchor_init\n"
        "anchor_init:\n\t"
        "mov x29, xzr\n\t"
        "mov x30, xzr\n\t"
        "mov x0, sp\n\t"
        "bl anchor_init_main\n");
#endif
