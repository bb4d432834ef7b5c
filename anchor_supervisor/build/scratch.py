"""Room for what a build needs for a moment: directories that nobody needs once it has ended.

Each build has one of its own, which it holds locked (flock(2) ends with its holder), so what a
killed build has left is known by its being unlocked, and the next one removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import final

from anchor_supervisor.rootfs.private import make_private
from anchor_supervisor.rootfs.removal import DIRECTORY_FLAGS, remove_beneath
from anchor_supervisor.values import define, field


@final
@define(eq=False)
class Scratch:
    """A build's own directory; each of its directories has a name that was never used before."""

    path: Path
    _count: int = field(default=0, init=False)

    def directory(self) -> Path:
        """Make a new, empty directory."""
        self._count += 1
        made = self.path / str(self._count)
        made.mkdir(mode=0o700)
        return made

    def file(self, content: bytes, mode: int = 0o600) -> Path:
        """Make a new file that is alone in its directory."""
        path = self.directory() / "content"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(content)
            os.fchmod(fd, mode)
        return path


@contextlib.contextmanager
def scratch(parent: Path) -> Iterator[Scratch]:
    """Give a directory in `parent` for the length of the block, and sweep what the dead left."""
    above, name, held = _room(parent)
    try:
        yield Scratch(parent / name)
    finally:
        remove_beneath(above, name)
        with contextlib.suppress(OSError):  # others have some there
            parent.rmdir()
        os.close(held)
        os.close(above)


def _room(parent: Path) -> tuple[int, str, int]:
    """Claim a directory; whoever has just left may have removed the one above it."""
    while True:
        make_private(parent)
        with contextlib.suppress(FileNotFoundError):
            above = os.open(parent, DIRECTORY_FLAGS)
            try:
                sweep(above)
                return above, *_claim(above)
            except BaseException:
                os.close(above)
                raise


def sweep_dead(parent: Path, *, dry_run: bool = False) -> list[str]:
    """Remove what the dead have left in `parent`, and that where nothing is in it any more.

    Returns the names of what they had.
    """
    with contextlib.suppress(FileNotFoundError):
        above = os.open(parent, DIRECTORY_FLAGS)
        try:
            removed = sweep(above, dry_run=dry_run)
        finally:
            os.close(above)
        if not dry_run:
            with contextlib.suppress(OSError):
                parent.rmdir()
        return removed
    return []


def sweep(parent: int, *, dry_run: bool = False) -> list[str]:
    """Remove the directories that nobody holds; return their names."""
    removed = []
    with os.scandir(parent) as entries:
        names = [entry.name for entry in entries]
    for name in names:
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            held = os.open(name, DIRECTORY_FLAGS, dir_fd=parent)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if is_still(held, parent, name):
                    if not dry_run:
                        remove_beneath(parent, name)
                    removed.append(name)
            finally:
                os.close(held)
    return removed


def _claim(parent: int) -> tuple[str, int]:
    """Make a directory and lock it; a sweeper may have been faster, so look again."""
    while True:
        name = secrets.token_hex(8)
        os.mkdir(name, 0o700, dir_fd=parent)
        try:
            held = os.open(name, DIRECTORY_FLAGS, dir_fd=parent)
        except FileNotFoundError:
            continue
        fcntl.flock(held, fcntl.LOCK_EX)
        if is_still(held, parent, name):
            return name, held
        os.close(held)


def is_still(held: int, parent: int, name: str) -> bool:
    """Whether a name still means what we hold open."""
    try:
        return os.path.samestat(os.fstat(held), os.stat(name, dir_fd=parent, follow_symlinks=False))
    except FileNotFoundError:
        return False
