/* Paths inside a container: every one is an image's or a volume's word, so none is trusted.
 *
 * They are resolved by the kernel within the process's root. After ENTER_ROOT nothing outside the
 * container is mounted there, and magic links, the one way to an inherited descriptor, are refused.
 * What is to be used is opened once, with O_PATH, and used by that descriptor.
 */

#include "_child.h"
#include "_raw.h"

#include <asm/statfs.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <linux/stat.h>

#define TRIES_MAX 256 /* components to make and dangling links to follow in one path */

static void copy_text(char *to, const char *from)
{
    while ((*to++ = *from++))
        ;
}

size_t length(const char *text)
{
    size_t count = 0;
    while (text[count])
        count++;
    return count;
}

void close_fd(long fd)
{
    sys(__NR_close, fd);
}

long open_at(long directory, const char *path, uint64_t flags, uint64_t resolve)
{
    struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = resolve | RESOLVE_NO_MAGICLINKS};
    return sys(__NR_openat2, directory, path, &how, sizeof how);
}

long open_path(const char *path)
{
    return open_at(AT_FDCWD, path, O_PATH, 0);
}

long file_type(long fd)
{
    struct statx found;
    long result = sys(__NR_statx, fd, "", AT_EMPTY_PATH, STATX_TYPE, &found);
    return result < 0 ? result : found.stx_mode & MODE_TYPE;
}

static long make_entry(long parent, const char *name, bool directory, unsigned mode)
{
    return directory ? sys(__NR_mkdirat, parent, name, mode)
                     : sys(__NR_mknodat, parent, name, MODE_FILE | mode, 0);
}

/* The component of `text` that starts at `start` and ends before `end` is in the way: where it is
 * a dangling link, put what it points to in its place; where it has appeared meanwhile, good. */
static long follow_dangling(long parent, const char *name, char *text, size_t start, size_t end)
{
    char whole[PATH_SIZE * 2];
    struct statfs place;
    if (sys(__NR_fstatfs, parent, &place) < 0 || place.f_type == PROC_SUPER_MAGIC)
        return -ELOOP; /* a magic link's text is not where it leads */
    long size = sys(__NR_readlinkat, parent, name, whole + start, PATH_SIZE - 1);
    if (size == -EINVAL)
        return 0;
    if (size < 0)
        return size;
    size_t from = whole[start] == '/' ? start : 0;
    for (size_t i = 0; i < start; i++)
        whole[i] = text[i];
    if (start - from + (size_t)size + length(text + end) >= PATH_SIZE)
        return -ENAMETOOLONG;
    copy_text(whole + start + size, text + end);
    copy_text(text, whole + from);
    return 0;
}

/* Make the first component of `text` that is missing: a directory, unless it is the last one. */
static long make_first_missing(char *text, bool directory, unsigned mode)
{
    char prefix[PATH_SIZE];
    copy_text(prefix, text);
    for (size_t start = 0, end = 0; text[end]; start = end) {
        while (text[start] == '/')
            start++;
        for (end = start; text[end] && text[end] != '/';)
            end++;
        prefix[end] = '\0';
        long found = open_path(prefix);
        prefix[end] = text[end];
        if (found >= 0)
            close_fd(found);
        if (found != -ENOENT) {
            if (found < 0)
                return found;
            continue;
        }
        char first = prefix[start];
        prefix[start] = '\0';
        long parent = open_path(prefix);
        prefix[start] = first;
        if (parent < 0)
            return parent;
        prefix[end] = '\0';
        bool last = text[end] == '\0';
        long result =
            make_entry(parent, prefix + start, directory || !last, last ? mode : DIRECTORY_MODE);
        if (result == -EEXIST)
            result = follow_dangling(parent, prefix + start, text, start, end);
        close_fd(parent);
        return result;
    }
    return 0;
}

/* An O_PATH descriptor of `path`; what is missing on the way is made, one component at a time,
 * so that a link swapped in by somebody else meanwhile is resolved like any other. */
long open_or_make(const char *path, bool directory, unsigned mode)
{
    char text[PATH_SIZE];
    copy_text(text, path);
    for (int tries = 0; tries < TRIES_MAX; tries++) {
        long found = open_path(text);
        if (found != -ENOENT)
            return found;
        long result = make_first_missing(text, directory, mode);
        if (result < 0)
            return result;
    }
    return -ELOOP;
}

/* Open the directory that holds the last component of `path`, and point `*name` at that. */
long open_parent(const char *path, const char **name, bool make)
{
    char parent[PATH_SIZE];
    size_t start = 0;
    copy_text(parent, path);
    for (size_t i = 0; path[i]; i++)
        if (path[i] == '/')
            start = i + 1;
    *name = path + start;
    parent[start] = '\0';
    return make ? open_or_make(parent, true, DIRECTORY_MODE) : open_path(parent);
}

/* As open_or_make, but the last component must not be a link. */
long open_strictly(const char *path, bool directory, unsigned mode)
{
    const char *name;
    long parent = open_parent(path, &name, true);
    if (parent < 0)
        return parent;
    long found = make_entry(parent, name, directory, mode);
    if (found == 0 || found == -EEXIST || found == -EROFS)
        found = open_at(parent, name, O_PATH | O_NOFOLLOW, RESOLVE_BENEATH);
    close_fd(parent);
    if (found < 0)
        return found;
    long type = file_type(found);
    if (type >= 0 && type != MODE_LINK)
        return found;
    close_fd(found);
    return type < 0 ? type : -ELOOP;
}
