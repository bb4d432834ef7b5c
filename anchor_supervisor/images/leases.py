"""Leases: what a living process needs of the store, in a file that it holds locked.

The first line says who and with which pid, every further one a digest. flock(2) ends with the last
descriptor of its holder, so a lease is alive exactly as long as the process, and whatever it has
forked with a copy; and longer, where it has said what a kill would leave behind (a fleet's cgroup,
with containers in it that go on without their supervisor). What is in a lease is written under the
store's shared lock and believed under the exclusive one: a prune sees either all of what somebody
needs, or ends before they look.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol, final

from anchor_supervisor.errors import ImageError
from anchor_supervisor.images.model import checked_digest
from anchor_supervisor.images.store_layout import (
    Layout,
    claim_file,
    names_in,
    sweep,
    told,
    write_all,
)
from anchor_supervisor.values import define, field, frozen


class Lease(Protocol):
    """What a process holds so that nothing it needs is removed meanwhile. Ends with it."""

    def hold(self, *digests: str) -> None:
        """From here on these digests (blobs, diff ids, manifests) stay, once they are there.

        May be called from any thread. Raises HostError for a full disk.
        """


@final
@define(eq=False)
class _Lease:
    """A lease that is a file."""

    _layout: Layout
    _path: Path
    _file: int
    _held: set[str] = field(factory=set, init=False)
    _mutex: threading.Lock = field(factory=threading.Lock, init=False)

    def hold(self, *digests: str) -> None:
        """Write what is new under the store's lock: from then on every prune knows of it."""
        with self._mutex:
            new = [checked_digest(each) for each in digests if each not in self._held]
            if not new:
                return
            with self._layout.shared(), told("write", self._path):
                size = os.fstat(self._file).st_size
                try:
                    write_all(self._file, "".join(f"{digest}\n" for digest in new).encode())
                except OSError:
                    os.ftruncate(self._file, size)  # half a line would spoil the next one
                    os.lseek(self._file, size, os.SEEK_SET)
                    raise
            self._held.update(new)


@contextlib.contextmanager
def lease(layout: Layout, holder: str, outlived_by: Path | None) -> Iterator[Lease]:
    """Take a lease for as long as the block lasts, and sweep what the dead have left.

    Where its holder is killed, the lease goes on for as long as `outlived_by` is there.
    """
    layout.make()
    sweep(layout)
    _sweep_dead(layout)
    path = layout.leases / secrets.token_hex(16)
    with layout.shared(), told("write", path):
        file = claim_file(path)
        try:
            who = {
                "holder": holder,
                "pid": os.getpid(),
                "outlived_by": None if outlived_by is None else str(outlived_by),
            }
            write_all(file, f"{json.dumps(who)}\n".encode())
        except BaseException:
            path.unlink()
            os.close(file)
            raise
    try:
        yield _Lease(layout, path, file)
    finally:
        path.unlink(missing_ok=True)
        os.close(file)


@final
@frozen
class Held:
    """One lease as others see it: whose it is, and what it holds."""

    path: Path
    holder: str
    digests: frozenset[str]


def living(layout: Layout) -> tuple[tuple[Held, ...], tuple[Path, ...]]:
    """Every lease that counts, and the files of dead ones. Call under the store's lock."""
    held, dead = [], []
    for name in names_in(layout.leases):
        path = layout.leases / name
        with told("read", path):
            try:
                file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # its holder is done
            with os.fdopen(file, "rb") as opened:
                if _is_dead(file) and not _is_outlived(opened):
                    dead.append(path)
                else:
                    opened.seek(0)
                    held.append(_read(path, opened.read()))
    return tuple(held), tuple(dead)


def _sweep_dead(layout: Layout) -> None:
    """Remove dead leases. One that is not locked yet because it is new will be made again."""
    for name in names_in(layout.leases):
        path = layout.leases / name
        with told("remove", path), contextlib.suppress(FileNotFoundError):
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(file, "rb") as opened:
                if _is_dead(file) and not _is_outlived(opened):
                    path.unlink(missing_ok=True)


def _is_dead(file: int) -> bool:
    """Whether nobody holds it. Asked with a shared lock: whoever else asks is not its holder."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_outlived(opened: BinaryIO) -> bool:
    """Whether what a dead holder has left behind still needs what it held."""
    place = _first_line(opened.readline()).get("outlived_by")
    return isinstance(place, str) and os.path.lexists(place)


def _first_line(line: bytes) -> Mapping[str, Any]:
    with contextlib.suppress(ValueError):
        who = json.loads(line)
        if isinstance(who, dict):
            return who
    return {}


def _read(path: Path, content: bytes) -> Held:
    first, _, rest = content.partition(b"\n")
    holder = _first_line(first).get("holder", "unknown")
    digests = set()
    for line in rest.decode(errors="replace").split("\n"):
        with contextlib.suppress(ImageError):
            digests.add(checked_digest(line))
    return Held(path, str(holder), frozenset(digests))
