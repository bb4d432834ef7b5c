"""A new layer, written as a plain tar and stored as everybody stores layers: gzip, and unpacked.

The same tar makes the same blob. Whatever ends this process before it is whole, nothing is left.
"""

from __future__ import annotations

import contextlib
import hashlib
from types import TracebackType
from typing import Final, Self, final

from anchor_supervisor.errors import ImageError, SupervisionBug
from anchor_supervisor.images.catalogue import short
from anchor_supervisor.images.gzip_writer import GzipWriter
from anchor_supervisor.images.leases import Lease
from anchor_supervisor.images.model import OCI_LAYER_GZIP, Layer, Limits
from anchor_supervisor.images.progress import Progress
from anchor_supervisor.images.store import Store

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
        """Prepare; the block makes the blob."""
        self._store = store
        self._lease = lease
        self._progress = progress
        self._limits = limits
        self._digest = hashlib.sha256()
        self._batch = bytearray()
        self._size = 0
        self._is_finished = False
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Begin the blob. Raises HostError for a full disk."""
        with contextlib.ExitStack() as opened:
            self._blob = opened.enter_context(self._store.new_blob(self._lease, OCI_LAYER_GZIP))
            self._gzip = GzipWriter(self._blob.write)
            opened.callback(self._gzip.close)
            self._open = opened.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Forget what is not finished."""
        self._open.__exit__(kind, error, trace)

    @property
    def size(self) -> int:
        """Bytes of plain tar so far."""
        return self._size

    def write(self, data: bytes | memoryview) -> None:
        """Append plain tar bytes. Raises HostError for a full disk, ImageError past the limit."""
        self._size += len(data)
        if self._size > self._limits.size:
            message = f"the layer is larger than {self._limits.size} bytes"
            raise ImageError(message)
        self._batch += data
        if len(self._batch) >= _BATCH:
            self._flush()

    def finish(self, wanted: str | None = None) -> Layer:
        """Store the blob, unpack it, and say what it is. Raises ImageError for a malformed tar.

        `wanted` is the diff id that an image names: anything else is an error, and this the whole.
        """
        if self._is_finished:
            raise SupervisionBug("a layer was finished twice")
        self._is_finished = True
        self._flush()
        self._gzip.finish()
        diff_id = f"sha256:{self._digest.hexdigest()}"
        if wanted not in (None, diff_id):
            item = short(str(wanted))
            message = f"layer `{item}` is not what its image says: its digest is `{diff_id}`"
            raise ImageError(message)
        self._lease.hold(diff_id)
        blob = self._blob.commit()
        return self._store.ensure_layer(
            *(self._lease, blob, diff_id),
            is_own=wanted is None,
            limits=self._limits,
            progress=self._progress,
        )

    def _flush(self) -> None:
        """Digest what has gathered, which lets other threads run, and have it compressed."""
        batch, self._batch = self._batch, bytearray()
        self._digest.update(batch)
        self._gzip.write(batch)
