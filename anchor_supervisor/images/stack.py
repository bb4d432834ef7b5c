"""Layers one above another, as the image's author meant them and overlayfs shows them.

Two things a layer cannot say by itself. One that hides all beneath it hides the root, and overlayfs
looks for no mark there: what is beneath it is left out. And a directory that a layer has content in
and no entry for was made with an owner and a mode that are a guess, which overlayfs would show: the
truth is in a layer beneath. Where they differ, a layer of our own goes on top, with nothing in it
but those directories and what leads to them. It is made of the others and can be made again, so no
image leads to it, only the lease of whoever uses it.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, final

from anchor_supervisor.errors import ImageError
from anchor_supervisor.images.entry import Name
from anchor_supervisor.images.layer_store import (
    Facts,
    claimed,
    finish,
    layer_facts,
    layer_root,
)
from anchor_supervisor.images.leases import Lease
from anchor_supervisor.images.model import MOST_LAYERS
from anchor_supervisor.images.store_layout import Layout, told
from anchor_supervisor.rootfs.removal import DIRECTORY_FLAGS
from anchor_supervisor.values import field, frozen

_OPAQUE: Final = "trusted.overlay.opaque"
_MOST_LOOKS: Final = 200_000  # a second or two; honest layers leave out a few dozen directories


@final
@frozen
class _Level:
    """A layer of the stack: its root, held open, and the directories it guessed."""

    root: int
    implied: frozenset[Name]


@final
@frozen
class _Attributes:
    """What a directory is like."""

    mode: int
    uid: int
    gid: int
    xattrs: Mapping[str, bytes]
    mtime_ns: int = field(eq=False)


@final
@frozen
class _Seen:
    """What one layer says of a name: `attributes` of a directory, or why there are none."""

    attributes: _Attributes | None
    hides: bool  # whatever is beneath, here or on the way


def stack(layout: Layout, lease: Lease, diff_ids: Sequence[str]) -> tuple[Path, ...]:
    """Return the directories of these layers (the lowest first), the uppermost first.

    Raises ImageError where one is not in the store.
    """
    lease.hold(*diff_ids)
    roots = [layer_root(layout, each) for each in diff_ids]
    facts = [layer_facts(layout, each) or Facts(0, 0) for each in diff_ids]
    lowest = max((number for number, each in enumerate(facts) if each.opaque), default=0)
    paths = tuple(reversed(roots[lowest:]))
    implied = [frozenset(each.implied) for each in reversed(facts[lowest:])]
    if not any(implied[:-1]) or len(paths) == MOST_LAYERS:
        return paths  # what the lowest layer has guessed nobody knows better
    name = "\0".join(("attributes", *diff_ids[lowest:]))
    digest = f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"
    lease.hold(digest)
    if layer_facts(layout, digest) is not None:
        return (layer_root(layout, digest), *paths)
    with ExitStack() as opened:
        levels = []
        for path, guessed in zip(paths, implied, strict=True):
            with told("open", path):
                root = os.open(path, DIRECTORY_FLAGS)
            opened.callback(os.close, root)
            levels.append(_Level(root, guessed))
        wrong = _misjudged(levels)
        if not wrong:
            return paths
        with claimed(layout, digest) as aside:
            if aside is not None:
                with told("write", aside):
                    _make(aside / "root", levels, wrong)
                finish(layout, aside, digest, Facts(0, len(wrong)))
    return (layer_root(layout, digest), *paths)


def _misjudged(levels: Sequence[_Level]) -> dict[Name, _Attributes]:
    """Every directory that would be shown as it is not, with what it should be like."""
    names = frozenset[Name]().union(*(level.implied for level in levels[:-1]))
    if len(names) * len(levels) > _MOST_LOOKS:
        message = f"the image's layers leave out {len(names)} of their directories"
        raise ImageError(message)
    found = ((name, _truth(levels, name)) for name in sorted(names))
    return {name: truth for name, truth in found if truth is not None}


def _truth(levels: Sequence[_Level], name: Name) -> _Attributes | None:
    """What the directory should be like; None where it is shown so, or nobody says."""
    guess: _Attributes | None = None
    for level, seen in _sightings(levels, name):
        if seen.attributes is None:
            continue
        if name not in level.implied:
            return seen.attributes if guess not in (None, seen.attributes) else None
        guess = guess or seen.attributes
    return None


def _sightings(levels: Sequence[_Level], name: Name) -> Iterator[tuple[_Level, _Seen]]:
    """What each layer says of the name, down to one that hides the rest."""
    for level in levels:
        seen = _look(level.root, name)
        yield level, seen
        if seen.hides:
            return


def _look(root: int, name: Name) -> _Seen:
    """Look a directory up in one layer, following nothing."""
    directory, hides = os.dup(root), False
    try:
        for component in name:
            try:
                below = os.open(component, DIRECTORY_FLAGS, dir_fd=directory)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    raise
                # A file, a link, or overlayfs's mark of a removal takes the place of what is below.
                return _Seen(None, hides or error.errno != errno.ENOENT)
            os.close(directory)
            directory = below
            hides = hides or _is_opaque(directory)
        return _Seen(_attributes(directory), hides)
    finally:
        os.close(directory)


def _is_opaque(directory: int) -> bool:
    try:
        return os.getxattr(directory, _OPAQUE) == b"y"
    except OSError:
        return False


def _attributes(directory: int) -> _Attributes:
    status = os.fstat(directory)
    xattrs = {
        name: os.getxattr(directory, name)
        for name in os.listxattr(directory)
        if name.startswith("user.")
    }
    mode = status.st_mode & 0o7777
    return _Attributes(mode, status.st_uid, status.st_gid, xattrs, status.st_mtime_ns)


def _make(top: Path, levels: Sequence[_Level], wrong: Mapping[Name, _Attributes]) -> None:
    """Make these directories, and what leads to them as it is shown without us."""
    names = {name[:depth] for name in wrong for depth in range(len(name) + 1)}
    root = os.open(top, DIRECTORY_FLAGS)
    try:
        for name in sorted(names, key=len):
            if name:
                with _opened(root, name[:-1]) as parent:
                    os.mkdir(name[-1], 0o700, dir_fd=parent)
        for name in sorted(names, key=len, reverse=True):
            attributes = wrong.get(name) or _shown(levels, name)
            with _opened(root, name) as directory:
                _set(directory, attributes)
    finally:
        os.close(root)


def _shown(levels: Sequence[_Level], name: Name) -> _Attributes:
    """The attributes of a directory that is there, in the uppermost layer that has it."""
    shown = next(
        seen.attributes for _, seen in _sightings(levels, name) if seen.attributes is not None
    )
    assert shown is not None
    return shown


@contextmanager
def _opened(root: int, name: Name) -> Iterator[int]:
    """Open a directory that we have made beneath `root`."""
    directory = os.dup(root)
    try:
        for component in name:
            below = os.open(component, DIRECTORY_FLAGS, dir_fd=directory)
            os.close(directory)
            directory = below
        yield directory
    finally:
        os.close(directory)


def _set(directory: int, attributes: _Attributes) -> None:
    os.fchown(directory, attributes.uid, attributes.gid)
    os.fchmod(directory, attributes.mode)
    for name, value in attributes.xattrs.items():
        os.setxattr(directory, name, value)
    os.utime(directory, ns=(attributes.mtime_ns, attributes.mtime_ns))
