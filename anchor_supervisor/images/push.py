"""An image of the store brought to a registry, byte for byte, so that its digest stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, final

from anchor_supervisor.errors import ImageError, NetworkError
from anchor_supervisor.images.catalogue import short
from anchor_supervisor.images.crew import Stage, Stoppable, carry_out
from anchor_supervisor.images.faults import about
from anchor_supervisor.images.hang_up import Watch
from anchor_supervisor.images.model import Descriptor, Image
from anchor_supervisor.images.progress import Progress, Silent
from anchor_supervisor.images.reference import Reference
from anchor_supervisor.images.registry import Registry
from anchor_supervisor.images.store import Store
from anchor_supervisor.images.transport import Patience
from anchor_supervisor.values import frozen

UPLOADS: Final = 3  # at a time


def push(
    image: Image,
    reference: Reference,
    store: Store,
    *,
    insecure: bool = False,
    progress: Progress = Silent(),  # noqa: B008 - it has no state
    patience: Patience = Patience(),  # noqa: B008 - frozen
) -> str:
    """Give a registry what it lacks of an image, and the image its name; return its digest there.

    Raises ImageError, NetworkError, HostError as `pull` does.
    """
    try:
        with (
            store.lease(f"push {reference.familiar}") as lease,
            Registry(
                reference,
                actions="pull,push",
                insecure=insecure,
                patience=patience,
                note=progress.note,
            ) as registry,
        ):
            blobs = {blob.digest: blob for blob in (layer.blob for layer in image.layers)}
            blobs[image.config_blob.digest] = image.config_blob
            lease.hold(image.digest, *blobs)
            return _carry_out(image, reference, store, registry, tuple(blobs.values()), progress)
    except (ImageError, NetworkError) as error:
        words = f"cannot push `{reference.familiar}`"
        raise about(words, error) from error


def _carry_out(
    image: Image,
    reference: Reference,
    store: Store,
    registry: Registry,
    blobs: tuple[Descriptor, ...],
    progress: Progress,
) -> str:
    if reference.digest not in {None, image.digest}:
        message = f"the image's digest is `{image.digest}`"
        raise ImageError(message, hint="name a tag, or no digest")
    watch = registry.transport.watch
    uploads = _Uploads(store, registry, Stoppable(progress, watch.stopped), watch)
    carry_out(blobs, (Stage("upload", UPLOADS, uploads.upload),), registry.transport.stop)
    content = _path(store, image.manifest).read_bytes()
    which = reference.tag or image.digest
    registry.put_manifest(which, image.manifest.media_type, content, image.digest)
    return image.digest


def _path(store: Store, blob: Descriptor) -> Path:
    path = store.blob(blob.digest)
    if path is None:
        message = f"blob `{blob.digest}` is not in the store any more"
        raise ImageError(message, hint="pull or build the image again")
    return path


@final
@frozen
class _Body:
    """A blob that tells how far its reading is; each piece is a step of its connection."""

    content: Callable[[int], bytes]
    item: str
    progress: Progress
    watch: Watch

    def read(self, size: int = -1, /) -> bytes:
        """Give the next bytes, as http.client asks for them."""
        self.watch.step()
        piece = self.content(size)
        self.progress.advance(self.item, len(piece))
        return piece


@final
@frozen
class _Uploads:
    """Blobs on their way, each in one of several threads."""

    store: Store
    registry: Registry
    progress: Progress
    watch: Watch

    def upload(self, blob: Descriptor) -> None:
        """Give one blob to the registry, unless it is there."""
        item = short(blob.digest)
        if self.registry.has_blob(blob.digest):
            self.progress.end(item, "already there")
            return
        path = _path(self.store, blob)

        def attempt() -> None:
            self.progress.begin(item, "uploading", blob.size)
            with path.open("rb") as file:

                def body() -> _Body:
                    file.seek(0)
                    return _Body(file.read, item, self.progress, self.watch)

                self.registry.upload(blob.digest, blob.size, body)

        self.registry.patiently(attempt)
        self.progress.end(item, "pushed")
