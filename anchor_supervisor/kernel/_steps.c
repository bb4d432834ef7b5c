/* The steps of the child half, in the order of their numbers: each gives 0 or a negative errno. */

#include "_child.h"
#include "_raw.h"

#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/keyctl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/prctl.h>

#define SIGNALS 64
#define SIGNAL_SET_SIZE 8
#define SIG_SETMASK 2
#define MNT_DETACH 2
#define TIOCSCTTY 0x540E

static long descriptor(const struct plan *plan, int64_t value)
{
    return value <= SLOT_FIRST ? plan->slots[SLOT_FIRST - value] : value;
}

static long set_ids(const struct step *step)
{
    unsigned groups[GROUPS_MAX];
    size_t count = step->integer_count - 2;
    for (size_t i = 0; i < count; i++)
        groups[i] = (unsigned)step->integers[i + 2];
    long result = sys(__NR_setgroups, count, groups);
    /* Capabilities survive until SET_CAPABILITIES says which; exec clears this flag. */
    if (result == 0)
        result = sys(__NR_prctl, PR_SET_KEEPCAPS, 1);
    unsigned uid = (unsigned)step->integers[0], gid = (unsigned)step->integers[1];
    if (result == 0)
        result = sys(__NR_setresgid, gid, gid, gid);
    return result ? result : sys(__NR_setresuid, uid, uid, uid);
}

static long new_session(void)
{
    long result = sys(__NR_setsid);
    if (result < 0)
        return result;
    result = sys(__NR_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0);
    return result < 0 && result != -ENOSYS ? result : 0; /* kernels without CONFIG_KEYS */
}

static long open_filesystem(struct plan *plan, const struct step *step)
{
    long context = sys(__NR_fsopen, step->strings[0], FSOPEN_CLOEXEC);
    if (context < 0)
        return context;
    long result = 0;
    for (size_t i = 2; i < step->integer_count && result == 0; i++) {
        const char *key = step->strings[2 * i - 3];
        result = step->integers[i] ? sys(__NR_fsconfig, context, FSCONFIG_SET_STRING, key,
                                         step->strings[2 * i - 2])
                                   : sys(__NR_fsconfig, context, FSCONFIG_SET_FLAG, key, 0);
    }
    if (result == 0)
        result = sys(__NR_fsconfig, context, FSCONFIG_CMD_CREATE, 0, 0);
    if (result == 0)
        result = sys(__NR_fsmount, context, FSMOUNT_CLOEXEC, step->integers[1]);
    close_fd(context);
    if (result < 0)
        return result;
    plan->slots[SLOT_FIRST - step->integers[0]] = (int)result;
    return 0;
}

static long enter_root(long fd, const char *staging)
{
    /* Where no user namespace was made the mounts we see are peers of the host's, and letting them
     * go would let the host's go (mount_namespaces(7)). */
    struct mount_attr private = {.propagation = MS_PRIVATE};
    long result = sys(__NR_mount_setattr, AT_FDCWD, "/", AT_RECURSIVE, &private, sizeof private);
    if (result == 0)
        result = sys(__NR_move_mount, fd, "", AT_FDCWD, staging, MOVE_MOUNT_F_EMPTY_PATH);
    if (result == 0)
        result = sys(__NR_fchdir, fd);
    if (result == 0)
        result = sys(__NR_pivot_root, ".", "."); /* pivot_root(2), NOTES: stacks the old on top */
    if (result == 0)
        result = sys(__NR_umount2, ".", MNT_DETACH);
    return result ? result : sys(__NR_chdir, "/");
}

static long move_onto(long mount, long target)
{
    return sys(__NR_move_mount, mount, "", target, "",
               MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

static long attach(long mount, const struct step *step)
{
    bool directory = step->integers[1], strict = step->integers[2];
    unsigned mode = directory ? DIRECTORY_MODE : FILE_MODE;
    long target = (strict ? open_strictly : open_or_make)(step->strings[0], directory, mode);
    if (target < 0)
        return target;
    long result = move_onto(mount, target);
    close_fd(target);
    return result;
}

static long make_directory(const char *path, unsigned mode)
{
    long found = open_or_make(path, true, mode);
    if (found < 0)
        return found;
    long type = file_type(found);
    close_fd(found);
    return type < 0 ? type : type == MODE_DIRECTORY ? 0 : -ENOTDIR;
}

static long make_symlink(const char *path, const char *target)
{
    const char *name;
    long parent = open_parent(path, &name, false);
    if (parent < 0)
        return parent;
    long result = sys(__NR_symlinkat, target, parent, name);
    close_fd(parent);
    return result;
}

static long write_beneath(long directory, const char *path, const char *value)
{
    long fd = open_at(directory, path, O_WRONLY | O_TRUNC,
                      RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
    if (fd < 0)
        return fd;
    long size = (long)length(value);
    long result = sys(__NR_write, fd, value, size);
    close_fd(fd);
    return result < 0 ? result : result == size ? 0 : -EIO;
}

static long make_read_only(const char *path, bool remount)
{
    struct mount_attr read_only = {.attr_set = MOUNT_ATTR_RDONLY};
    long target = open_path(path);
    if (target < 0)
        return target == -ENOENT ? 0 : target;
    long mount = remount ? target
                         : sys(__NR_open_tree, target, "",
                               OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
    long result = mount < 0 ? mount : 0;
    if (result == 0)
        result = sys(__NR_mount_setattr, mount, "", AT_EMPTY_PATH | (remount ? 0 : AT_RECURSIVE),
                     &read_only, sizeof read_only);
    if (result == 0 && !remount)
        result = move_onto(mount, target);
    if (mount >= 0 && !remount)
        close_fd(mount);
    close_fd(target);
    return result;
}

/* The first of a kind that is covered takes the mount itself, the others its clones. A mount that
 * nobody takes is dissolved by its last close, which waits for an RCU grace period. */
static long cover(bool *covered, long mount, long target)
{
    long clone = -EINVAL;
    if (*covered)
        clone = sys(__NR_open_tree, mount, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    if (clone < 0 && clone != -EINVAL) /* that: a detached one, before Linux 6.15 */
        return clone;
    long result = move_onto(clone < 0 ? mount : clone, target);
    if (clone >= 0)
        close_fd(clone);
    if (result == 0)
        *covered = true;
    return result;
}

static long mask(struct plan *plan, const char *path, long empty, long null)
{
    long target = open_path(path);
    if (target < 0)
        return target == -ENOENT ? 0 : target;
    long type = file_type(target);
    bool directory = type == MODE_DIRECTORY;
    long result =
        type < 0 ? type : cover(&plan->covered[directory], directory ? empty : null, target);
    close_fd(target);
    return result;
}

static long set_bounding(uint64_t kept)
{
    long result = sys(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL);
    for (int bit = 0; bit < 64 && result == 0; bit++) {
        if (sys(__NR_prctl, PR_CAPBSET_READ, bit) < 0)
            break; /* past the last capability this kernel has */
        if (!(kept >> bit & 1))
            result = sys(__NR_prctl, PR_CAPBSET_DROP, bit);
    }
    return result;
}

static long set_capabilities(uint64_t held)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {
        {.effective = (unsigned)held, .permitted = (unsigned)held},
        {.effective = (unsigned)(held >> 32), .permitted = (unsigned)(held >> 32)},
    };
    return sys(__NR_capset, &header, data);
}

static long set_limit(const int64_t *integers)
{
    uint64_t limit[2] = {(uint64_t)integers[1], (uint64_t)integers[2]};
    return sys(__NR_prlimit64, 0, integers[0], limit, 0);
}

static long change_directory(const char *path, bool create)
{
    char where[PATH_SIZE];
    long fd = create ? open_or_make(path, true, DIRECTORY_MODE) : open_path(path);
    if (fd < 0)
        return fd;
    long result = sys(__NR_fchdir, fd);
    close_fd(fd);
    if (result < 0)
        return result;
    result = sys(__NR_getcwd, where, sizeof where);
    /* A directory that is not beneath the root reads "(unreachable)/...": getcwd(2). */
    return result < 0 ? result : where[0] == '/' ? 0 : -EXDEV;
}

/* The same where its number is above `bound`, and will not be overwritten. */
static long above(long bound, long fd)
{
    return fd > bound ? fd : sys(__NR_fcntl, fd, F_DUPFD_CLOEXEC, bound + 1);
}

static long set_stdio(const int64_t *integers)
{
    long result = 0;
    long high[3];
    for (int i = 0; i < 3; i++) {
        high[i] = above(2, integers[i]);
        if (high[i] < 0)
            return high[i];
    }
    for (int i = 0; i < 3 && result >= 0; i++)
        result = sys(__NR_dup3, high[i], i, 0);
    return result < 0 ? result : 0;
}

/* Hand init its two descriptors, at the numbers it knows. */
static long give_to_init(const struct plan *plan, int64_t status)
{
    long result = 0;
    if (status >= 0)
        status = result = above(INIT_STATUS, status);
    if (result >= 0 && status >= 0)
        result = sys(__NR_dup3, status, INIT_STATUS, 0);
    if (result >= 0)
        result = sys(__NR_dup3, plan->report, INIT_REPORT, 0);
    return result < 0 ? result : 0;
}

/* As execvpe(3): what is missing is passed over, and a refusal is remembered over it. */
static long execute_first(char **names, long count, char **argv, char **envp)
{
    long found = -ENOENT;
    for (long i = 0; i < count; i++) {
        long result = sys(__NR_execve, names[i], argv, envp);
        if (result == -EACCES)
            found = result;
        else if (result != -ENOENT && result != -ENOTDIR)
            return result;
    }
    return found;
}

static long execute(const struct plan *plan, const struct step *step)
{
    long init = step->integers[0], candidates = step->integers[2], arguments = step->integers[3];
    char **names = step->strings + 2, **argv = names + candidates, **envp = argv + arguments + 1;
    struct {
        uint64_t handler, flags, restorer, mask;
    } reset = {0};
    uint64_t none = 0;

    /* CLONE_CLEAR_SIGHAND leaves what the supervisor ignores ignored (Python: SIGPIPE). */
    for (int number = 1; number <= SIGNALS; number++)
        sys(__NR_rt_sigaction, number, &reset, 0, SIGNAL_SET_SIZE);
    sys(__NR_umask, 022);
    long result = sys(__NR_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC);
    if (result < 0)
        return result;
    if (init >= 0) {
        init = above(INIT_STATUS, init);
        if (init < 0)
            return init;
        result = give_to_init(plan, step->integers[1]);
        return result ? result : sys(__NR_execveat, init, "", step->strings, envp, AT_EMPTY_PATH);
    }
    sys(__NR_rt_sigprocmask, SIG_SETMASK, &none, 0, SIGNAL_SET_SIZE);
    return execute_first(names, candidates, argv, envp);
}

long take_step(struct plan *plan, const struct step *step)
{
    const int64_t *integers = step->integers;
    char **strings = step->strings;
    switch (step->operation) {
    case JOIN_NAMESPACE:
        return sys(__NR_setns, integers[0], integers[1]);
    case SET_IDS:
        return set_ids(step);
    case NEW_SESSION:
        return new_session();
    case SET_HOSTNAME:
        return sys(__NR_sethostname, strings[0], length(strings[0]));
    case OPEN_FILESYSTEM:
        return open_filesystem(plan, step);
    case ENTER_ROOT:
        return enter_root(descriptor(plan, integers[0]), strings[0]);
    case ATTACH:
        return attach(descriptor(plan, integers[0]), step);
    case MAKE_DIRECTORY:
        return make_directory(strings[0], (unsigned)integers[0]);
    case MAKE_SYMLINK:
        return make_symlink(strings[0], strings[1]);
    case WRITE_BENEATH:
        return write_beneath(descriptor(plan, integers[0]), strings[0], strings[1]);
    case MAKE_READ_ONLY:
        return make_read_only(strings[0], integers[0]);
    case MASK:
        return mask(plan, strings[0], descriptor(plan, integers[0]), descriptor(plan, integers[1]));
    case SET_LIMIT:
        return set_limit(integers);
    case SET_BOUNDING:
        return set_bounding((uint64_t)integers[0]);
    case SET_CAPABILITIES:
        return set_capabilities((uint64_t)integers[0]);
    case NO_NEW_PRIVILEGES:
        return sys(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1);
    case CHANGE_DIRECTORY:
        return change_directory(strings[0], integers[0]);
    case SET_STDIO:
        return set_stdio(integers);
    case CONTROLLING_TERMINAL:
        return sys(__NR_ioctl, 0, TIOCSCTTY, 0);
    case EXECUTE:
        return execute(plan, step);
    case CLONE_AGAIN:
    case OPERATION_END:
        break;
    }
    return -ENOSYS;
}
