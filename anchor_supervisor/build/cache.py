"""What earlier steps have made, under the digest of everything that they were made from.

    <data>/store/build-cache/keys/<hex>     the layer that a step made: small JSON
    <data>/store/build-cache/notes/<hex>    something that took long to find out
    <data>/store/build-cache/files          the digests of files seen in contexts
    <data>/store/build-cache/mounts/<hex>/  the directories of `RUN --mount=type=cache`
    <data>/store/build-cache/scratch/       what builds need for a moment

An entry counts only while its layer is in the store, so nothing has to be kept in step.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, final

from anchor_supervisor.build import scratch
from anchor_supervisor.errors import ImageError
from anchor_supervisor.images.model import Descriptor, Layer, checked_digest
from anchor_supervisor.images.store import Lease, Removal, Store
from anchor_supervisor.rootfs.private import make_private
from anchor_supervisor.rootfs.removal import DIRECTORY_FLAGS, remove_beneath
from anchor_supervisor.values import frozen

_NAME: Final = "name"
_DATA: Final = "data"


def key_of(*facts: object) -> str:
    """Return the digest that stands for these facts: texts, numbers, and lists of them."""
    text = json.dumps(facts, ensure_ascii=True, sort_keys=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()


@final
@frozen
class Made:
    """A layer that a step has made, and when (RFC 3339)."""

    layer: Layer
    created: str


@final
@frozen
class Cache:
    """The cache of one store. `reads` False: nothing is found, but all is kept for others."""

    store: Store
    reads: bool = True

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.store.data / "store" / "build-cache"

    def find(self, key: str, lease: Lease) -> Made | None:
        """Return the layer that was made from the same, and hold it; None where there is none."""
        if not self.reads:
            return None
        try:
            facts = json.loads((self.path / "keys" / key).read_bytes())
            made = Made(_layer(facts), str(facts["created"]))
        except (OSError, ValueError, KeyError, TypeError, ImageError):
            return None
        lease.hold(made.layer.diff_id, made.layer.blob.digest)
        return made if self.has(made.layer) else None

    def has(self, layer: Layer) -> bool:
        """Whether both forms of the layer are in the store."""
        try:
            self.store.layer_root(layer.diff_id)
        except ImageError:
            return False
        return self.store.blob(layer.blob.digest) is not None

    def keep(self, key: str, made: Made) -> None:
        """Write down what was made; whoever comes last has it."""
        layer = made.layer
        facts = {
            "diff_id": layer.diff_id,
            "media_type": layer.blob.media_type,
            "digest": layer.blob.digest,
            "blob_size": layer.blob.size,
            "size": layer.size,
            "created": made.created,
        }
        self._write("keys", key, json.dumps(facts))

    def recall(self, key: str) -> str | None:
        """Return what was noted under this key."""
        if not self.reads:
            return None
        try:
            return (self.path / "notes" / key).read_text("ascii")
        except (OSError, ValueError):
            return None

    def note(self, key: str, text: str) -> None:
        """Note something under this key."""
        self._write("notes", key, text)

    def _write(self, kind: str, key: str, text: str) -> None:
        folder = self.path / kind
        make_private(folder)
        aside = folder / f".{secrets.token_hex(8)}"
        aside.write_text(text, "ascii")
        aside.rename(folder / key)

    @contextlib.contextmanager
    def mount(self, name: str, *, alone: bool) -> Iterator[Path]:
        """Hold the directory of a cache mount; `alone` waits until nobody else has it."""
        with self._mount(name, fcntl.LOCK_EX if alone else fcntl.LOCK_SH) as found:
            assert found is not None
            yield found

    @contextlib.contextmanager
    def private_mount(self, name: str) -> Iterator[Path]:
        """Hold one of the directories of this name that nobody else has; a new one if need be."""
        with contextlib.ExitStack() as stack:
            number = 0
            while True:
                wanted = f"{name}\0{number}" if number else name
                mode = fcntl.LOCK_EX | fcntl.LOCK_NB
                found = stack.enter_context(self._mount(wanted, mode))
                if found is not None:
                    yield found
                    return
                number += 1

    @contextlib.contextmanager
    def _mount(self, name: str, mode: int) -> Iterator[Path | None]:
        """Lock and give it; None where LOCK_NB is in `mode` and somebody has it."""
        place = self.path / "mounts" / hashlib.sha256(name.encode()).hexdigest()
        while True:
            make_private(place)
            try:
                held = os.open(place, DIRECTORY_FLAGS)
            except FileNotFoundError:
                continue  # pruned since
            try:
                fcntl.flock(held, mode)
                if not _is_at(held, place):
                    continue
                (place / _NAME).write_text(name)
                with contextlib.suppress(FileExistsError):
                    (place / _DATA).mkdir(mode=0o700)
                yield place / _DATA
            except BlockingIOError:
                yield None
            finally:
                os.close(held)
            return


def _is_at(held: int, place: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(held), place.stat())
    except FileNotFoundError:
        return False


def _layer(facts: Any) -> Layer:  # noqa: ANN401 - JSON of ours, that somebody may have damaged
    blob = Descriptor(
        str(facts["media_type"]), checked_digest(facts["digest"]), int(facts["blob_size"])
    )
    return Layer(checked_digest(facts["diff_id"]), blob, int(facts["size"]))


def prune(store: Store, *, everything: bool = False, dry_run: bool = False) -> tuple[Removal, ...]:
    """Remove what the cache has for nothing: entries whose layer is gone, what dead builds left.

    `everything`: the directories of cache mounts as well, and all entries. To be called after the
    store's own prune.
    """
    cache = Cache(store)
    removed = [*_prune_entries(cache, everything=everything, dry_run=dry_run)]
    if everything:
        removed += _prune_mounts(cache, dry_run=dry_run)
    dead = scratch.sweep_dead(cache.path / "scratch", dry_run=dry_run)
    removed += [Removal("killed build", name, 0) for name in dead]
    return tuple(removed)


def _prune_entries(cache: Cache, *, everything: bool, dry_run: bool) -> Iterator[Removal]:
    for kind in ("keys", "notes"):
        folder = cache.path / kind
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            with contextlib.suppress(OSError):
                if everything or (kind == "keys" and not _is_good(cache, path)):
                    size = path.stat().st_size
                    if not dry_run:
                        path.unlink()
                    yield Removal("build step", path.name[:12], size)


def _is_good(cache: Cache, path: Path) -> bool:
    try:
        return cache.has(_layer(json.loads(path.read_bytes())))
    except (ValueError, KeyError, TypeError, ImageError):
        return False


def _prune_mounts(cache: Cache, *, dry_run: bool) -> Iterator[Removal]:
    folder = cache.path / "mounts"
    for place in sorted(folder.iterdir()) if folder.is_dir() else ():
        with contextlib.suppress(OSError):
            held = os.open(place, DIRECTORY_FLAGS)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                name = (place / _NAME).read_text().partition("\0")[0]
                size = _size_of(place)
                if not dry_run:
                    _remove(place)
                yield Removal("build cache", name, size)
            finally:
                os.close(held)


def _remove(place: Path) -> None:
    parent = os.open(place.parent, DIRECTORY_FLAGS)
    try:
        remove_beneath(parent, place.name)
    finally:
        os.close(parent)


def _size_of(place: Path) -> int:
    """Bytes on the disk; no link is followed (os.walk)."""
    total = 0
    for folder, _, files in os.walk(place):
        for name in files:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512  # noqa: PTH118
    return total
