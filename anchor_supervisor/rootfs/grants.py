"""Secrets and configs: files in memory of one container's own, each mounted where it is wanted.

The file system is made anew for every run and is nowhere in the machine's mount table: only the
supervisor's descriptor leads to it, and the container's mounts of single files, which are read-only
and neither set-id nor executable. What is in it is never swapped out either.

A file that is mounted cannot be exchanged for another, so a change while the container runs is
written into the same inode, from its start, and only then cut: a reader finds the old content or
the new, and never an empty file. One that reads at that very moment may see the new content
followed by the rest of a longer old one; who is told by a signal reads after it was all written.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, final

from anchor_supervisor.errors import ImageError, KernelError
from anchor_supervisor.fleet.model import Grant
from anchor_supervisor.kernel import mount
from anchor_supervisor.kernel.apart import in_own_namespace
from anchor_supervisor.kernel.descriptors import Descriptors
from anchor_supervisor.kernel.namespaces import IdRange
from anchor_supervisor.rootfs import users
from anchor_supervisor.values import frozen

_SEEN_ONLY: Final = (
    mount.MOUNT_ATTR_RDONLY
    | mount.MOUNT_ATTR_NOSUID
    | mount.MOUNT_ATTR_NODEV
    | mount.MOUNT_ATTR_NOEXEC
)
_PLACE: Final = "grants"


@final
@frozen
class OpenGrant:
    """A secret or a config, and its file as a detached mount."""

    grant: Grant
    fd: int


@final
class GrantFiles:
    """The secrets and configs of one run, in memory. May be used by several threads."""

    def __init__(
        self, grants: Sequence[Grant], root: int, user: tuple[int, int], ids: IdRange | None
    ) -> None:
        """Write them all. `root` is where owners are looked up, `user` who owns what names none.

        Ids are as the container numbers them; `ids` are the machine's numbers for them. Raises
        ImageError for an owner that the root does not know, KernelError for full memory.
        """
        self._lock = threading.Lock()
        self._grants = tuple(grants)
        owners = [_owner(grant, root, user, ids) for grant in grants]
        self._mount = _memory()
        try:
            for number, (grant, owner) in enumerate(zip(grants, owners, strict=True)):
                self._write(number, grant, owner)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let the memory go, once no container has any of it mounted; twice is allowed."""
        with self._lock:
            if self._mount >= 0:
                os.close(self._mount)
                self._mount = -1

    def mounts(self, opened: Descriptors) -> tuple[OpenGrant, ...]:
        """Make a detached mount of each file, owned by `opened`. To be called once."""
        try:
            clones = self._clones(self._mount, opened)
        except KernelError as error:
            if error.errno != errno.EINVAL:
                raise
            # Before Linux 6.15 only what is attached can be cloned.
            clones = in_own_namespace(lambda: self._clones(self._attached(), opened))
        return tuple(map(OpenGrant, self._grants, clones))

    def rewrite(self, grants: Sequence[Grant]) -> None:
        """Give the files the content that these grants have for the same targets.

        What else differs takes a new run. Raises KernelError; then that file has its old content,
        or a part of the new one.
        """
        wanted = {grant.target: grant for grant in grants}
        with self._lock:
            if self._mount < 0:
                return
            now = list(self._grants)
            for number, grant in enumerate(self._grants):
                fresh = wanted.get(grant.target, grant)
                if fresh.content != grant.content:
                    with _told(grant):
                        self._overwrite(number, fresh.content)
                    now[number] = fresh
                    self._grants = tuple(now)

    def _write(self, number: int, grant: Grant, owner: tuple[int, int]) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with _told(grant):
            file = os.open(str(number), flags, 0o600, dir_fd=self._mount)
            try:
                _put(file, grant.content)
                os.fchown(file, *owner)
                os.fchmod(file, grant.mode)
            finally:
                os.close(file)

    def _overwrite(self, number: int, content: bytes) -> None:
        # Its reader may hold a lease on it (F_SETLEASE, fcntl(2)), which would keep us for 45 s.
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC
        file = os.open(str(number), flags, dir_fd=self._mount)
        try:
            _put(file, content)
            if os.fstat(file).st_size > len(content):
                os.ftruncate(file, len(content))
        finally:
            os.close(file)

    def _clones(self, directory: int, opened: Descriptors) -> list[int]:
        clones = []
        for number in range(len(self._grants)):
            file = os.open(str(number), os.O_PATH | os.O_CLOEXEC, dir_fd=directory)
            try:
                clones.append(opened.add(mount.clone_tree(file, attributes=_SEEN_ONLY)))
            finally:
                os.close(file)
        return clones

    def _attached(self) -> int:
        """Attach it in the namespace of this thread, and of that alone; the descriptor stays."""
        os.mkdir(_PLACE)  # noqa: PTH102 - the thread's own working directory
        mount.attach(self._mount, _PLACE)
        return self._mount


def _owner(grant: Grant, root: int, user: tuple[int, int], ids: IdRange | None) -> tuple[int, int]:
    """The machine's numbers of who owns the file."""
    uid, gid = user
    if grant.owner is not None:
        count = users.LARGEST_ID + 1 if ids is None else ids.count
        try:
            found = users.lookup(root, grant.owner, id_count=count)
        except ImageError as error:
            message = f"{grant.kind} `{grant.name}`: {error.message}"
            raise ImageError(message, hint=error.hint) from error
        uid, gid = found.uid, found.gid
    first = 0 if ids is None else ids.first
    return first + uid, first + gid


def _memory() -> int:
    """Make an empty file system that the kernel never swaps out; the caller closes the mount."""
    mode = ("mode", "700")
    try:
        return mount.new_filesystem("tmpfs", (mode, ("noswap", None)))
    except KernelError as error:
        if error.errno != errno.EINVAL:  # before Linux 6.4 there is no such option
            raise
        return mount.new_filesystem("ramfs", (mode,))


def _put(file: int, content: bytes) -> None:
    written = 0
    while written < len(content):
        written += os.pwrite(file, content[written:], written)


@contextmanager
def _told(grant: Grant) -> Iterator[None]:
    """Name the secret or config in what goes wrong, and nothing that is in it."""
    try:
        yield
    except OSError as error:
        raise KernelError(error.errno or 0, f"write {grant.kind}", grant.name) from None
