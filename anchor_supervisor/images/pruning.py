"""What no name and no living process leads to, and how it goes.

Decided and renamed away under the store's exclusive lock, which is a matter of moments; sized and
removed after it, however much that is. Names go before images, and images before what they are
made of, so that a kill in between leaves nothing half: what is still registered is whole.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, final

from anchor_supervisor.images import catalogue, leases
from anchor_supervisor.images.model import hexadecimal
from anchor_supervisor.images.store_layout import (
    NO_SPACE,
    PART,
    TRASH,
    UNPACKING,
    Layout,
    claim_directory,
    is_there,
    lock_unused,
    names_in,
    release,
    remove_tree,
    told,
)
from anchor_supervisor.values import frozen

_SHOWN: Final = 12  # digits
_BLOCK: Final = 512  # bytes in st_blocks' unit (stat(2))
_ON_THE_WAY: Final = frozenset({"part", "unfinished"})


@final
@frozen
class Removal:
    """What `prune` would take away, or took: kinds, short names, bytes on the disk.

    Kinds are `name`, `image`, `layer`, `blob`, `part` (of a blob) and `unfinished`.
    """

    kind: str
    name: str
    size: int


@final
@frozen
class _Doomed:
    kind: str
    name: str
    path: Path


def prune(
    layout: Layout,
    *,
    everything: bool = False,
    dry_run: bool = False,
    on_wait: Callable[[], None],
    only: str | None = None,
) -> tuple[Removal, ...]:
    """Remove what no name and no living lease leads to; `everything`: unused names as well.

    `only` this image, and of what it is made of what no other needs.
    """
    if not is_there(layout.top):
        return ()
    layout.make()
    if dry_run:
        with layout.exclusive(on_wait):
            doomed = list(_doomed(layout, everything=everything, only=only))
        return tuple(Removal(each.kind, each.name, disk_size(each.path)) for each in doomed)
    with _trash(layout) as aside:
        with layout.exclusive(on_wait), told("remove from", layout.top):
            own = aside(0).parent
            doomed = list(_doomed(layout, everything=everything, own=own, only=only))
            moved = [_moved(each, aside(number)) for number, each in enumerate(doomed)]
            for dead in leases.living(layout)[1]:
                dead.unlink(missing_ok=True)
        return tuple(_removed(each, path) for each, path in moved if path is not None)


@contextlib.contextmanager
def _trash(layout: Layout) -> Iterator[Callable[[int], Path]]:
    """Give places for what is to go: in a directory of our own, or, on a full disk, beside it.

    A prune is what a full disk needs most, and renaming takes no space.
    """
    trash = layout.ingest / f"{TRASH}{secrets.token_hex(16)}"
    with told("make", trash):
        try:
            claim = claim_directory(trash)
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            claim = None
    if claim is None:
        yield lambda number: trash.with_name(f"{trash.name}-{number}")
        return
    try:
        yield lambda number: trash / str(number)
    finally:
        with told("remove", trash):
            remove_tree(trash)
        release(claim)


def _moved(doomed: _Doomed, aside: Path) -> tuple[_Doomed, Path | None]:
    """Take it out of the store; None where it was on its way and its owner was faster."""
    if doomed.kind not in _ON_THE_WAY:
        doomed.path.rename(aside)
        return doomed, aside
    unused = lock_unused(doomed.path)
    if unused is None:
        return doomed, None
    try:
        doomed.path.rename(aside)
    finally:
        release(unused)
    return doomed, aside


def _removed(doomed: _Doomed, path: Path) -> Removal:
    size = disk_size(path)
    with told("remove", path):
        remove_tree(path)
    return Removal(doomed.kind, doomed.name, size)


def needed(layout: Layout, digests: Iterable[str]) -> frozenset[str]:
    """These digests and all that the images among them are made of."""
    found: set[str] = set()
    for digest in digests:
        if digest not in found:
            found.add(digest)
            entry = catalogue.record(layout, digest)
            if entry is not None:
                found.update(entry.digests)
    return frozenset(found)


def holders(layout: Layout, digest: str) -> tuple[str, ...]:
    """Which living processes hold this digest, or an image made of it, in their own words."""
    if not is_there(layout.top):
        return ()
    with layout.shared():
        held, _ = leases.living(layout)
        return tuple(sorted(each.holder for each in held if digest in needed(layout, each.digests)))


def _doomed(
    layout: Layout, *, everything: bool, own: Path | None = None, only: str | None = None
) -> Iterator[_Doomed]:
    if only is not None:
        yield from _doomed_of(layout, only)
        return
    held = frozenset[str]().union(*(each.digests for each in leases.living(layout)[0]))
    kept_by_names = set()
    for path, reference, digest in catalogue.named(layout):
        if catalogue.record(layout, digest) is None or (everything and digest not in held):
            yield _Doomed("name", reference, path)
        else:
            kept_by_names.add(digest)
    keep = {hexadecimal(each) for each in needed(layout, held | kept_by_names)}
    yield from _not_kept(layout, keep)
    yield from _abandoned(layout, keep, own)


def _doomed_of(layout: Layout, image: str) -> Iterator[_Doomed]:
    """Of one image: other images keep what they are made of, whether they have names or not."""
    held = frozenset[str]().union(*(each.digests for each in leases.living(layout)[0]))
    with_name = {digest for _, _, digest in catalogue.named(layout)}
    others = set(catalogue.registered(layout)) - {image}
    keep = {hexadecimal(each) for each in needed(layout, held | with_name | others)}
    own = {hexadecimal(each) for each in needed(layout, [image])}
    yield from (each for each in _not_kept(layout, keep) if each.path.stem in own)


def _not_kept(layout: Layout, keep: set[str]) -> Iterator[_Doomed]:
    for kind, directory in (
        *(("image", layout.images), ("layer", layout.layers), ("blob", layout.blobs)),
    ):
        for name in names_in(directory):
            digits = name.removesuffix(".json")
            if digits not in keep:
                yield _Doomed(kind, digits[:_SHOWN], directory / name)


def _abandoned(layout: Layout, keep: set[str], own: Path | None) -> Iterator[_Doomed]:
    """What is on its way while nobody holds it. A part that a living lease holds is resumed."""
    for name in names_in(layout.ingest):
        path = layout.ingest / name
        digits = name.removesuffix(PART)
        is_wanted = name.endswith(PART) and digits in keep and not is_there(layout.blobs / digits)
        if path == own or is_wanted:
            continue
        unused = lock_unused(path)
        if unused is None:
            continue
        release(unused)
        kind = "part" if name.endswith(PART) else "unfinished"
        yield _Doomed(kind, name.removeprefix(UNPACKING)[:_SHOWN], path)


def disk_size(path: Path) -> int:
    """Bytes that a file or a tree takes on the disk; what cannot be looked at counts for nothing.

    A name too long for the kernel (a tree of thousands of levels) is one such.
    """
    total, seen, pending = 0, set[tuple[int, int]](), [os.fsencode(path)]
    while pending:
        place = pending.pop()
        with contextlib.suppress(OSError):
            status = os.lstat(place)
            if status.st_nlink > 1:
                identity = (status.st_dev, status.st_ino)
                if identity in seen:
                    continue
                seen.add(identity)
            total += status.st_blocks * _BLOCK
            if stat.S_ISDIR(status.st_mode):  # scandir would follow a link out of the store
                with os.scandir(place) as entries:
                    pending += [entry.path for entry in entries]
    return total
