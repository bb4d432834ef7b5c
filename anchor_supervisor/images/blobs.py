"""Blobs: written aside under their digest or as what they turn out to be, verified, moved in.

A part keeps its bytes when whoever wrote it dies or loses its connection; the next one hashes them
again and goes on. Only the bytes that are there count, never what anybody said about them.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, final

from anchor_supervisor.errors import HostError, ImageError
from anchor_supervisor.images.leases import Lease
from anchor_supervisor.images.model import LARGEST_JSON, Descriptor, hexadecimal
from anchor_supervisor.images.store_layout import (
    PART,
    Layout,
    claim_file,
    is_there,
    lock_unused,
    move_into_place,
    new_file,
    release,
    told,
    write_all,
)
from anchor_supervisor.values import define, field

_CHUNK: Final = 1 << 20
_NO_KERNEL_COPY: Final = (
    *(errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EPERM),
)


def blob_path(layout: Layout, digest: str) -> Path | None:
    """Where a blob is; None where it is not."""
    path = layout.blobs / hexadecimal(digest)
    return path if is_there(path) else None


@final
@define(eq=False)
class BlobWriter:
    """A blob on its way. What has been written survives a broken connection, not a wrong digest."""

    _layout: Layout
    _descriptor: Descriptor
    _path: Path
    _file: int
    _position: int = field(default=0, init=False)
    _hash: Any = field(factory=hashlib.sha256, init=False)
    _done: bool = field(default=False, init=False)

    @property
    def position(self) -> int:
        """Bytes that are there already, from an earlier try."""
        return self._position

    def write(self, data: bytes | memoryview) -> None:
        """Append. Raises ImageError for more than there should be, HostError for a full disk."""
        if self._position + len(data) > self._descriptor.size:
            self._forget()
            message = (
                f"blob `{self._descriptor.digest}` has more than the {self._descriptor.size} bytes "
                "that it should have"
            )
            raise ImageError(message)
        try:
            with told("write", self._path):
                write_all(self._file, data)
        except HostError:
            self._forget()
            raise
        self._hash.update(data)
        self._position += len(data)

    def restart(self) -> None:
        """Begin again at the first byte, where a server will not go on in the middle."""
        with told("write", self._path):
            os.ftruncate(self._file, 0)
            os.lseek(self._file, 0, os.SEEK_SET)
        self._position, self._hash = 0, hashlib.sha256()

    def commit(self) -> Descriptor:
        """Verify digest and size, sync, and move into place. Raises ImageError, and forgets it."""
        wanted = self._descriptor
        if self._position != wanted.size:
            self._forget()
            message = f"blob `{wanted.digest}` has {self._position} bytes and not {wanted.size}"
            raise ImageError(message)
        digest = f"sha256:{self._hash.hexdigest()}"
        if digest != wanted.digest:
            self._forget()
            message = f"blob `{wanted.digest}` is damaged: its digest is `{digest}`"
            raise ImageError(message)
        try:
            with told("write", self._path):
                os.fsync(self._file)
                move_into_place(self._path, self._layout.blobs / hexadecimal(wanted.digest))
        except HostError:
            self._forget()
            raise
        self._done = True
        return wanted

    def resume(self) -> None:
        """Take over what an earlier try has left."""
        with told("read", self._path):
            if os.fstat(self._file).st_size > self._descriptor.size:
                os.ftruncate(self._file, 0)
            while piece := os.read(self._file, _CHUNK):
                self._hash.update(piece)
                self._position += len(piece)

    def leave(self) -> None:
        """Let go; a part with nothing in it is not worth keeping."""
        if not self._done and not self._position:
            self._path.unlink(missing_ok=True)
        release(self._file)

    def _forget(self) -> None:
        if not self._done:
            self._path.unlink(missing_ok=True)
            self._done = True


@contextlib.contextmanager
def write_blob(layout: Layout, lease: Lease, descriptor: Descriptor) -> Iterator[BlobWriter | None]:
    """Begin or resume a blob whose digest and size are known; None: it is here already."""
    lease.hold(descriptor.digest)
    final = layout.blobs / hexadecimal(descriptor.digest)
    path = layout.ingest / f"{final.name}{PART}"
    if _is_here(final, descriptor):
        _remove_part(path)
        yield None
        return
    with told("write", path):
        file = claim_file(path)
    writer = BlobWriter(layout, descriptor, path, file)
    try:
        # Its last holder may have finished it between our look and our lock.
        if _is_here(final, descriptor):
            path.unlink(missing_ok=True)
            yield None
            return
        writer.resume()
        yield writer
    finally:
        writer.leave()


def _remove_part(path: Path) -> None:
    """Remove what was on its way when the blob came another way."""
    with told("remove", path):
        unused = lock_unused(path)
        if unused is not None:
            path.unlink()
            release(unused)


def _is_here(final: Path, descriptor: Descriptor) -> bool:
    try:
        size = final.stat().st_size
    except FileNotFoundError:
        return False
    if size == descriptor.size:
        return True
    message = f"blob `{descriptor.digest}` has {size} bytes and not {descriptor.size}"
    raise ImageError(message)


@final
@define(eq=False)
class NewBlob:
    """A blob on its way whose digest nobody knows yet. Gone unless it is committed."""

    _layout: Layout
    _lease: Lease
    _media_type: str
    _path: Path
    _file: int
    _size: int = field(default=0, init=False)
    _hash: Any = field(factory=hashlib.sha256, init=False)

    def write(self, data: bytes | memoryview) -> None:
        """Append. Raises HostError for a full disk."""
        with told("write", self._path):
            write_all(self._file, data)
        self._hash.update(data)
        self._size += len(data)

    def copy(self, source: BinaryIO) -> None:
        """Append what is left of a file, by the kernel where it can (some share the blocks).

        What is hashed is the copy, so a file that changes meanwhile cannot lie.
        """
        with told("write", self._path):
            _copy_in_kernel(source, self._file)
            os.lseek(self._file, self._size, os.SEEK_SET)
            while piece := os.read(self._file, _CHUNK):
                self._hash.update(piece)
                self._size += len(piece)
        while piece := source.read(_CHUNK):
            self.write(piece)

    def commit(self) -> Descriptor:
        """Sync, and move into place; hold it."""
        digest = f"sha256:{self._hash.hexdigest()}"
        self._lease.hold(digest)
        final = self._layout.blobs / hexadecimal(digest)
        with told("write", self._path):
            if not final.exists():
                os.fsync(self._file)
                move_into_place(self._path, final)
        return Descriptor(self._media_type, digest, self._size)


def _copy_in_kernel(source: BinaryIO, target: int) -> None:
    """Copy as much as copy_file_range(2) will; the source's position follows."""
    if not isinstance(getattr(source, "raw", None), io.FileIO):
        return  # its descriptor, if it has one, may be of something that is read differently
    origin = source.fileno()
    if not stat.S_ISREG(os.fstat(origin).st_mode):
        return
    position = source.tell()
    while True:
        try:
            count = os.copy_file_range(origin, target, 1 << 30, offset_src=position)
        except OSError as error:
            if error.errno not in _NO_KERNEL_COPY:
                raise
            break
        if not count:
            break
        position += count
    source.seek(position)


@contextlib.contextmanager
def new_blob(layout: Layout, lease: Lease, media_type: str) -> Iterator[NewBlob]:
    """Begin a blob that is gone when the block ends, unless it was committed."""
    with contextlib.ExitStack() as opened:
        with told("write", layout.ingest):
            file, path = opened.enter_context(new_file(layout))
        yield NewBlob(layout, lease, media_type, path, file)


def read_json(layout: Layout, descriptor: Descriptor) -> Mapping[str, Any]:
    """Read and verify a small JSON object. Raises ImageError."""
    digest = descriptor.digest
    if descriptor.size > LARGEST_JSON:
        message = f"`{digest}` is {descriptor.size} bytes of JSON, more than {LARGEST_JSON}"
        raise ImageError(message)
    path = layout.blobs / hexadecimal(digest)
    with told("read", path):
        try:
            with path.open("rb") as file:
                content = file.read(descriptor.size + 1)
        except FileNotFoundError:
            message = f"blob `{digest}` is not in the store"
            raise ImageError(message, hint="pull or import the image again") from None
    if len(content) != descriptor.size or hashlib.sha256(content).hexdigest() != hexadecimal(
        digest
    ):
        message = f"blob `{digest}` is damaged: it is not what its digest says"
        raise ImageError(message)
    return parsed_json(content, digest)


def parsed_json(content: bytes, words: str) -> Mapping[str, Any]:
    """Parse an untrusted JSON object; `words` name it. Raises ImageError."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:  # a bad encoding is a ValueError too
        message = f"`{words}` is not JSON: {error!s:.100}"
        raise ImageError(message) from error
    if not isinstance(document, dict):
        message = f"`{words}` is not a JSON object"
        raise ImageError(message)
    return document
