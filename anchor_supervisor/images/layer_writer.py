"""A new layer, written as a plain tar and stored as everybody stores layers: gzip, and unpacked.

The bytes are digested, compressed and written to a file without a name, so that whatever ends this
process leaves nothing. The same tar makes the same blob: the gzip header has no time and no name.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import zlib
from types import TracebackType
from typing import IO, BinaryIO, Final, Self, cast, final

from anchor_supervisor.errors import KernelError, SupervisionBug
from anchor_supervisor.images.model import OCI_LAYER_GZIP, Layer
from anchor_supervisor.images.progress import Progress, Silent
from anchor_supervisor.images.store import Lease, Store
from anchor_supervisor.images.unpack import Limits

_LEVEL: Final = 4
_GZIP: Final = 16 + zlib.MAX_WBITS  # with a gzip header, whose time is 0 (zlib.h, deflateInit2)
_BATCH: Final = 256 << 10


@final
class LayerWriter:
    """A layer on its way into the store; leaving the block without `finish` forgets it.

    `with LayerWriter(store, lease) as w: pack_tree(source, w.write); layer = w.finish()`
    """

    def __init__(
        self,
        store: Store,
        lease: Lease,
        *,
        progress: Progress | None = None,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        """Begin in the store's own file system, which is where the blob will be."""
        self._store = store
        self._lease = lease
        self._progress = progress or Silent()
        self._limits = limits
        self._digest = hashlib.sha256()
        self._gzip = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        self._batch = bytearray()
        self._size = 0
        self._is_finished = False
        folder = store.data / "store" / "ingest"
        try:
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - ours until the end
        except OSError as error:
            raise KernelError(error.errno or 0, "write", str(folder)) from error

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file, and so remove it."""
        self._file.close()

    @property
    def size(self) -> int:
        """Bytes of plain tar so far."""
        return self._size

    def write(self, data: bytes | memoryview) -> None:
        """Append plain tar bytes. Raises HostError for a full disk."""
        self._size += len(data)
        self._batch += data
        if len(self._batch) >= _BATCH:
            self._flush()

    def finish(self) -> Layer:
        """Store the blob, unpack it, and say what it is. Raises ImageError for a malformed tar."""
        if self._is_finished:
            raise SupervisionBug("a layer was finished twice")
        self._is_finished = True
        self._flush()
        self._keep(self._gzip.flush())
        self._file.flush()
        self._file.seek(0)
        diff_id = f"sha256:{self._digest.hexdigest()}"
        self._lease.hold(diff_id)
        source = cast("BinaryIO", self._file)
        blob = self._store.add_blob_file(self._lease, OCI_LAYER_GZIP, source)
        return self._store.ensure_layer(
            self._lease, blob, diff_id, limits=self._limits, progress=self._progress
        )

    def _flush(self) -> None:
        """Digest and compress what has gathered; both let other threads run for so much."""
        batch, self._batch = self._batch, bytearray()
        self._digest.update(batch)
        self._keep(self._gzip.compress(batch))

    def _keep(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            where = os.fspath(self._store.data)
            hint = "free some space, or move ANCHOR_DATA_DIR"
            raise KernelError(error.errno or 0, "write a layer below", where, hint=hint) from error
