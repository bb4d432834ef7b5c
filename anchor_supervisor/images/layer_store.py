"""Layers unpacked once, each under the digest of the bytes it came from.

`layers/<hex>/` is a whole layer, or is not there: it is unpacked aside, written to the disk and
then renamed. The directory a layer is unpacked into is also the lock of whoever does it (flock(2)
ends with its holder), so a second comer waits and then finds the work done, and what a killed
process left is known by its being unlocked.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, cast, final

from anchor_supervisor.errors import HostError, ImageError, KernelError
from anchor_supervisor.images.entry import Name
from anchor_supervisor.images.leases import Lease
from anchor_supervisor.images.model import Limits, hexadecimal
from anchor_supervisor.images.store_layout import (
    UNPACKING,
    Layout,
    claim_directory,
    is_at,
    is_there,
    move_into_place,
    release,
    remove_tree,
    told,
)
from anchor_supervisor.kernel import libc
from anchor_supervisor.rootfs.removal import DIRECTORY_FLAGS
from anchor_supervisor.values import frozen

_ROOT: Final = "root"
_FACTS: Final = "facts.json"
_ARCHIVED_IMAGE: Final = frozenset({"manifest.json", "index.json", "oci-layout", "repositories"})
_ROOT_ENTRIES: Final = frozenset({"bin", "dev", "etc", "lib", "proc", "sbin", "usr", "var"})


@final
@frozen
class Facts:
    """What is known of an unpacked layer: bytes of its plain tar, and entries.

    `opaque`: it hides whatever is beneath it. `implied` are directories whose owner and mode are
    a guess; `()` is the root.
    """

    size: int
    entries: int
    opaque: bool = False
    implied: tuple[Name, ...] = ()


def layer_facts(layout: Layout, digest: str) -> Facts | None:
    """Look a layer up; None where it is not in the store. Raises ImageError for bad facts."""
    path = layout.layers / hexadecimal(digest) / _FACTS
    with told("read", path):
        try:
            text = path.read_text()
        except FileNotFoundError:
            return None
    try:
        values = json.loads(text)
        implied = tuple(_name(each) for each in values["implied"])
        return Facts(int(values["size"]), int(values["entries"]), bool(values["opaque"]), implied)
    except (ValueError, KeyError, TypeError) as error:
        message = f"`{path}` is damaged: {error}"
        raise ImageError(message) from error


def _name(text: str) -> Name:
    return tuple(os.fsencode(text).split(b"/")) if text else ()


def layer_root(layout: Layout, digest: str) -> Path:
    """Where the layer's content is. Raises ImageError where it is not in the store."""
    root = layout.layers / hexadecimal(digest) / _ROOT
    if not is_there(root):
        message = f"layer `{digest}` is not in the store"
        raise ImageError(message, hint="pull or import the image again")
    return root


def unpack_layer(
    layout: Layout,
    lease: Lease,
    source: BinaryIO,
    diff_id: str | None,
    limits: Limits,
    advance: Callable[[int], None] = lambda _: None,
    *,
    is_known: bool = False,
) -> tuple[str, Facts]:
    """Unpack a layer unless it is here; `diff_id` None: it is named by what it turns out to be.

    `is_known`: `diff_id` is an image's word, and not what somebody here has made of these bytes;
    that they are those bytes says then that they are whole. Raises ImageError where the unpacked
    bytes are not those of `diff_id`.
    """
    with claimed(layout, diff_id) as aside:
        if aside is None:
            return _found(layout, diff_id)
        counted = cast("BinaryIO", _Counted(source, advance))
        actual, facts = _unpack_into(aside, counted, limits, is_known=is_known)
        if diff_id not in (None, actual):
            message = f"the layer is not what its image says: its digest is `{actual}`"
            raise ImageError(message)
        if diff_id is None:
            lease.hold(actual)
            if layer_facts(layout, actual) is not None:
                return _found(layout, actual)
        finish(layout, aside, actual, facts)
        return actual, facts


def unpack_archive(layout: Layout, lease: Lease, archive: Path, limits: Limits) -> str:
    """Unpack an archive of a root unless it is here; return its digest.

    A layer of the digest of the archive's own bytes, compressed or not. Raises ImageError for a
    missing or bad archive, HostError for a full disk.
    """
    try:
        with archive.open("rb") as file:
            before = os.fstat(file.fileno())
            digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
            lease.hold(digest)
            with claimed(layout, digest) as aside:
                if aside is None:
                    return digest
                file.seek(0)
                _, facts = _unpack_into(aside, file, limits)
                _check_unchanged(file, before)
                _check_is_root(aside / _ROOT, archive)
                finish(layout, aside, digest, facts)
    except IsADirectoryError as error:
        message = f"image `{archive}` is a directory, not an archive"
        raise ImageError(message) from error
    except FileNotFoundError as error:
        message = f"no image at `{archive}`"
        raise ImageError(message) from error
    except (ImageError, HostError) as error:
        if isinstance(error, KernelError):
            raise
        message = f"image `{archive}`: {error.message}"
        raise type(error)(message, hint=error.hint) from error
    except OSError as error:
        raise KernelError(error.errno or 0, "read", str(archive)) from error
    return digest


def _check_unchanged(file: BinaryIO, before: os.stat_result) -> None:
    """What was unpacked must be what was digested, or the name would lie for ever."""
    after = os.fstat(file.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        message = "the archive was changed while it was read"
        raise ImageError(message, hint="try again when it is complete")


def _check_is_root(root: Path, archive: Path) -> None:
    """Refuse an archive that carries an image instead of being a root."""
    names = {path.name for path in root.iterdir()}
    if names & _ARCHIVED_IMAGE and not names & _ROOT_ENTRIES:
        message = "it holds a saved image, not a root file system"
        hint = f"anchor import {archive} NAME"
        raise ImageError(message, hint=hint)


def _found(layout: Layout, digest: str | None) -> tuple[str, Facts]:
    assert digest is not None
    facts = layer_facts(layout, digest)
    assert facts is not None  # it is held, and was there
    return digest, facts


@contextlib.contextmanager
def claimed(layout: Layout, digest: str | None) -> Iterator[Path | None]:
    """Give a directory to unpack into, alone; None when the layer is here, or appears meanwhile."""
    name = secrets.token_hex(16) if digest is None else hexadecimal(digest)
    final = None if digest is None else layout.layers / name
    if final is not None and is_there(final):
        yield None
        return
    aside = layout.ingest / f"{UNPACKING}{name}"
    with told("make", aside):
        claim = claim_directory(aside)
    try:
        if final is not None and is_there(final):
            yield None
        else:
            with told("empty", aside):
                _start_over(aside)
            yield aside
    finally:
        try:
            if is_at(claim, aside):  # where all went well it was renamed
                with told("remove", aside):
                    remove_tree(aside)
        finally:
            release(claim)


def _start_over(aside: Path) -> None:
    """Remove what a killed process has left."""
    remove_tree(aside / _ROOT)
    remove_tree(aside / _FACTS)
    (aside / _ROOT).mkdir(mode=0o700)


def _unpack_into(
    aside: Path, source: BinaryIO, limits: Limits, *, is_known: bool = False
) -> tuple[str, Facts]:
    # Not above: it brings every decompressor, and most starts of a fleet unpack nothing.
    from anchor_supervisor.images.unpack import unpack

    root = os.open(aside / _ROOT, DIRECTORY_FLAGS)
    try:
        done = unpack(source, root, limits, is_known=is_known)
    finally:
        os.close(root)
    return done.digest, Facts(done.size, done.entries, done.is_opaque, done.implied)


def finish(layout: Layout, aside: Path, digest: str, facts: Facts) -> None:
    """Write the facts, have the disk know all of it, and give the layer its name."""
    with told("write", aside):
        document = {
            "size": facts.size,
            "entries": facts.entries,
            "opaque": facts.opaque,
            "implied": [os.fsdecode(b"/".join(each)) for each in facts.implied],
        }
        (aside / _FACTS).write_text(json.dumps(document))
        directory = os.open(aside, DIRECTORY_FLAGS)
        try:
            libc.syncfs(directory, digest)
        finally:
            os.close(directory)
        # A layer whose name nobody knew beforehand may have been unpacked twice at once: rename(2)
        # refuses a directory that is not empty, and the first one stays.
        with contextlib.suppress(FileExistsError):
            _move(aside, layout.layers / hexadecimal(digest))


def _move(aside: Path, final: Path) -> None:
    try:
        move_into_place(aside, final)
    except OSError as error:
        if not final.is_dir():
            raise
        raise FileExistsError from error


@final
class _Counted:
    """A file that tells how much of it has been read."""

    def __init__(self, file: BinaryIO, advance: Callable[[int], None]) -> None:
        self._file = file
        self._advance = advance

    def read(self, size: int = -1) -> bytes:
        """Read on."""
        data = self._file.read(size)
        self._advance(len(data))
        return data
