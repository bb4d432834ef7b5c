"""Where the store keeps what, its lock, and how anything gets into it.

Whatever is written lies in `ingest/` first, locked by whoever writes it: flock(2) ends with its
holder, so what a killed process left is known by its being unlocked. The store's own lock is held
only for moments: shared to say what is needed, exclusive to decide what is not.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, final

from anchor_supervisor.errors import AnchorError, HostError, KernelError
from anchor_supervisor.rootfs.private import make_private
from anchor_supervisor.rootfs.removal import DIRECTORY_FLAGS, remove_beneath
from anchor_supervisor.values import frozen

PART: Final = ".part"  # of a blob; kept to be resumed, until a prune
NEW: Final = ".new"
UNPACKING: Final = "layer-"
TRASH: Final = "trash-"

FILE_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT)


@final
@frozen
class Layout:
    """The store's directories. Every one is only its owner's (CVE-2021-41091)."""

    top: Path

    @property
    def leases(self) -> Path:
        """A file for each living process that needs something."""
        return self.top / "leases"

    @property
    def ingest(self) -> Path:
        """What is on its way in, or on its way out."""
        return self.top / "ingest"

    @property
    def blobs(self) -> Path:
        """Blobs by the hexadecimal half of their digest."""
        return self.top / "blobs" / "sha256"

    @property
    def layers(self) -> Path:
        """Unpacked layers."""
        return self.top / "layers"

    @property
    def images(self) -> Path:
        """Registered images."""
        return self.top / "images"

    @property
    def names(self) -> Path:
        """What names lead to."""
        return self.top / "names"

    def make(self) -> None:
        """Make every directory that is missing. Raises KernelError."""
        with told("make", self.top):
            for place in (
                *(self.leases, self.ingest, self.blobs, self.layers, self.images, self.names),
            ):
                make_private(place)

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """For as long as the block lasts nothing is removed. For moments only."""
        with self._locked(fcntl.LOCK_SH, None):
            yield

    @contextlib.contextmanager
    def exclusive(self, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
        """For as long as the block lasts nobody can begin to need anything. For moments only."""
        with self._locked(fcntl.LOCK_EX, on_wait):
            yield

    @contextlib.contextmanager
    def _locked(self, how: int, on_wait: Callable[[], None] | None) -> Iterator[None]:
        with told("lock", self.top):
            lock = os.open(self.top / "lock", FILE_FLAGS, 0o600)
        try:
            with told("lock", self.top):
                _flock(lock, how, on_wait)
            yield
        finally:
            release(lock)


def _flock(lock: int, how: int, on_wait: Callable[[], None] | None) -> None:
    if on_wait is not None:
        try:
            fcntl.flock(lock, how | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
        else:
            return
    fcntl.flock(lock, how)


@contextlib.contextmanager
def told(verb: str, subject: Path | str) -> Iterator[None]:
    """Say a failed system call in words: a full disk, or what failed on what."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            message = f"no space left on the device to {verb} `{subject}`"
            hint = "free some (`anchor prune` may), or move ANCHOR_DATA_DIR"
            raise HostError(message, hint=hint) from error
        if isinstance(error, AnchorError):
            raise
        raise KernelError(error.errno or 0, verb, str(subject)) from error


def claim_file(path: Path) -> int:
    """Open the file, made where missing, and hold it alone; waits for whoever has it.

    Having waited, we look again whether the name still means what we have locked: its last holder
    has renamed it if all went well, and a sweep may have taken it before it was locked.
    """
    while True:
        file = os.open(path, FILE_FLAGS, 0o600)
        if _held_there(file, path):
            return file


def claim_directory(path: Path) -> int:
    """As `claim_file`, for a directory."""
    while True:
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        try:
            directory = os.open(path, DIRECTORY_FLAGS)
        except FileNotFoundError:
            continue
        if _held_there(directory, path):
            return directory


def _held_there(opened: int, path: Path) -> bool:
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        if is_at(opened, path):
            return True
    except BaseException:
        os.close(opened)
        raise
    os.close(opened)
    return False


def release(opened: int) -> None:
    """Unlock and close.

    Closing alone would leave the lock to the copy that a child has between clone and exec.
    """
    fcntl.flock(opened, fcntl.LOCK_UN)
    os.close(opened)


def is_at(opened: int, path: Path) -> bool:
    """Whether the name still means what is open."""
    try:
        return os.path.samestat(os.fstat(opened), path.lstat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def new_file(layout: Layout) -> Iterator[tuple[int, Path]]:
    """A file that is gone when the block ends, unless it was moved to its place."""
    path = layout.ingest / f"{secrets.token_hex(16)}{NEW}"
    file = claim_file(path)
    try:
        yield file, path
    finally:
        path.unlink(missing_ok=True)
        release(file)


def write_all(file: int, content: bytes | memoryview) -> None:
    """write(2) until all of it is written."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file, rest) :]


def move_into_place(path: Path, final: Path) -> None:
    """Rename, and have the disk know of it."""
    path.rename(final)
    sync_directory(final.parent)


def sync_directory(directory: Path) -> None:
    """Have the disk know which names the directory has."""
    opened = os.open(directory, DIRECTORY_FLAGS)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def add_file(layout: Layout, final: Path, content: bytes) -> None:
    """Write a small file in one piece, in place of what may be there."""
    with told("write", final), new_file(layout) as (file, path):
        write_all(file, content)
        os.fsync(file)
        move_into_place(path, final)


def names_in(directory: Path) -> list[str]:
    """Every name in the directory, in order; none where there is no directory yet."""
    with told("read", directory):
        try:
            return sorted(path.name for path in directory.iterdir())
        except FileNotFoundError:
            return []


def is_there(path: Path) -> bool:
    """Whether anything has the name. Raises KernelError where we may not look."""
    with told("look at", path):
        try:
            path.lstat()
        except FileNotFoundError:
            return False
    return True


def lock_unused(path: Path) -> int | None:
    """Lock what nobody holds; None for what somebody does, or what has gone."""
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_at(opened, path):
            return opened
    except BlockingIOError:
        pass
    except BaseException:
        os.close(opened)
        raise
    os.close(opened)
    return None


def sweep(layout: Layout) -> None:
    """Remove what killed processes left on its way. Parts stay: they can be resumed."""
    for name in names_in(layout.ingest):
        if name.endswith(PART):
            continue
        path = layout.ingest / name
        with told("remove", path):
            unused = lock_unused(path)
            if unused is None:
                continue
            try:
                remove_tree(path)
            finally:
                release(unused)


def remove_tree(path: Path) -> None:
    """Remove a file or a whole directory, whatever is in it; what is gone is fine."""
    parent = os.open(path.parent, DIRECTORY_FLAGS)
    try:
        remove_beneath(parent, path.name)
    finally:
        os.close(parent)
