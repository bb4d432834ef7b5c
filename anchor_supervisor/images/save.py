"""Images written as an OCI archive: a tar of a layout, which skopeo, podman and docker all load.

Docker before 29 reads manifest.json instead of index.json; both name the same blobs. The bytes
depend on nothing but the images and their names: no time, no owner, everything in order.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
import select
import stat
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, cast, final

from anchor_supervisor.errors import ImageError
from anchor_supervisor.images.load_docker import MANIFEST
from anchor_supervisor.images.load_files import blob_name
from anchor_supervisor.images.load_oci import INDEX, LAYOUT, REFERENCE_NAME, WHOLE_NAME
from anchor_supervisor.images.manifests import descriptor_json, json_bytes
from anchor_supervisor.images.model import OCI_INDEX, Descriptor, Image
from anchor_supervisor.images.progress import Progress, Silent
from anchor_supervisor.images.reference import Reference
from anchor_supervisor.images.store import Store
from anchor_supervisor.images.store_layout import told
from anchor_supervisor.rootfs.removal import DIRECTORY_FLAGS
from anchor_supervisor.values import frozen

_BUFFER: Final = 1 << 20
_WRITE: Final = os.O_WRONLY | os.O_CLOEXEC


@final
@frozen
class Saved:
    """An image to save, and the names it is to have in the archive."""

    image: Image
    names: tuple[Reference, ...] = ()


def save(
    wanted: Sequence[Saved],
    store: Store,
    sink: BinaryIO,
    *,
    progress: Progress = Silent(),  # noqa: B008 - has no state
) -> None:
    """Write an archive of these images to `sink`, which need not be a file.

    Raises ImageError where a blob is missing or damaged; what has been written is worthless then.
    """
    with store.lease("save") as lease:
        lease.hold(*(one.image.digest for one in wanted))
        blobs = {blob.digest: blob for one in wanted for blob in _blobs(one.image)}
        shown = {layer.blob.digest for one in wanted for layer in one.image.layers}
        with tarfile.open(
            fileobj=cast("IO[bytes]", _Sink(sink)),
            mode="w|",
            format=tarfile.GNU_FORMAT,
            bufsize=_BUFFER,
        ) as archive:
            _add_directory(archive, "blobs")
            _add_directory(archive, "blobs/sha256")
            for digest in sorted(blobs):
                _add_blob(archive, store, blobs[digest], progress if digest in shown else Silent())
            _add(archive, INDEX, json_bytes(_index(wanted)))
            _add(archive, MANIFEST, _list_bytes([_docker_entry(one) for one in wanted]))
            _add(archive, LAYOUT, json_bytes({"imageLayoutVersion": "1.0.0"}))


def save_file(
    wanted: Sequence[Saved],
    store: Store,
    target: Path,
    *,
    progress: Progress = Silent(),  # noqa: B008 - has no state
) -> None:
    """Write an archive to `target`, which is there as a whole or as it was before."""
    if target.exists() and not stat.S_ISREG(target.stat().st_mode):
        with told("write", target), target.open("wb") as special:  # a pipe, /dev/null
            save(wanted, store, special, progress=progress)
        return
    with _replaced(target) as file:
        save(wanted, store, file, progress=progress)


@contextlib.contextmanager
def _replaced(target: Path) -> Iterator[BinaryIO]:
    """Give a file without a name, which gets that of `target` once it is whole."""
    with told("write", target):
        final = Path(os.path.realpath(target))  # a link stays one
        aside = f".{final.name[:200]}.{secrets.token_hex(4)}"
        folder = os.open(final.parent, DIRECTORY_FLAGS)
        try:
            number, is_named = _made(folder, aside)
            with os.fdopen(number, "wb") as file:
                yield file
                file.flush()
                os.fsync(number)
                if not is_named:
                    # Python follows the link in /proc only where it calls linkat(2).
                    whole = f"/proc/self/fd/{number}"
                    os.link(whole, aside, src_dir_fd=folder, dst_dir_fd=folder)
            os.rename(aside, final.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(aside, dir_fd=folder)
            raise
        finally:
            os.close(folder)


def _made(folder: int, aside: str) -> tuple[int, bool]:
    """Make a file without a name; with one where the file system has no such files."""
    with contextlib.suppress(OSError):
        return os.open(".", os.O_TMPFILE | _WRITE, 0o666, dir_fd=folder), False
    return os.open(aside, os.O_CREAT | os.O_EXCL | _WRITE, 0o666, dir_fd=folder), True


def _blobs(image: Image) -> Iterator[Descriptor]:
    yield image.manifest
    yield image.config_blob
    for layer in image.layers:
        yield layer.blob


def _index(wanted: Sequence[Saved]) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [entry for one in wanted for entry in _entries(one)],
    }


def _entries(one: Saved) -> Iterator[dict[str, Any]]:
    platform = {
        key: value
        for key in ("architecture", "os", "variant")
        if isinstance(value := one.image.config.get(key), str) and value
    }
    entry = {**descriptor_json(one.image.manifest), "platform": platform}
    for name in one.names:
        yield {**entry, "annotations": {WHOLE_NAME: str(name), REFERENCE_NAME: str(name)}}
    if not one.names:
        yield entry


def _docker_entry(one: Saved) -> dict[str, Any]:
    return {
        "Config": blob_name(one.image.config_blob.digest),
        "RepoTags": [name.familiar for name in one.names],
        "Layers": [blob_name(layer.blob.digest) for layer in one.image.layers],
    }


def _list_bytes(value: list[dict[str, Any]]) -> bytes:
    return b"[" + b",".join(map(json_bytes, value)) + b"]"


def _add_directory(archive: tarfile.TarFile, name: str) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, 0o755
    archive.addfile(info)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def _add_blob(archive: tarfile.TarFile, store: Store, blob: Descriptor, progress: Progress) -> None:
    path = store.blob(blob.digest)
    if path is None:
        message = f"blob `{blob.digest}` is not in the store"
        raise ImageError(message, hint="pull or import the image again")
    item = blob.digest.removeprefix("sha256:")[:12]
    progress.begin(item, "writing", blob.size)
    info = tarfile.TarInfo(blob_name(blob.digest))
    info.size = blob.size
    with path.open("rb") as file:
        checked = _Checked(file, blob, progress)
        archive.addfile(info, cast("IO[bytes]", checked))
        checked.finish()
    progress.end(item, "written")


@final
class _Checked:
    """A blob on its way out, digested as it is read: a damaged store is not to be passed on."""

    def __init__(self, file: BinaryIO, blob: Descriptor, progress: Progress) -> None:
        self._file, self._blob, self._progress = file, blob, progress
        self._hash = hashlib.sha256()

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise self._damaged()
        self._hash.update(data)
        self._progress.advance(self._blob.digest.removeprefix("sha256:")[:12], len(data))
        return data

    def finish(self) -> None:
        if self._file.read(1) or f"sha256:{self._hash.hexdigest()}" != self._blob.digest:
            raise self._damaged()

    def _damaged(self) -> ImageError:
        message = f"blob `{self._blob.digest}` is damaged: it is not what its digest says"
        return ImageError(message, hint="pull or import the image again")


@final
class _Sink:
    """Writes all it is given, wherever it goes: a pipe may take less at a time."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        rest = memoryview(data)
        while rest:
            count: int | None = self._file.write(rest)
            if count is None:  # somebody has made the pipe non-blocking, for themselves
                select.select([], [self._file], [])
            rest = rest[count or 0 :]
        return len(data)
