"""What an image name in the fleet file is on this machine: directories to build a root from."""

from __future__ import annotations

from pathlib import Path
from typing import assert_never

from anchor_supervisor.errors import ImageError
from anchor_supervisor.fleet.model import Image, ImageKind
from anchor_supervisor.images import model
from anchor_supervisor.images.model import Limits
from anchor_supervisor.images.plain import Resolved, resolve_plain
from anchor_supervisor.images.store import Lease, Store
from anchor_supervisor.rootfs.layers import Layers


def resolve(
    image: Image,
    store: Store,
    lease: Lease,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> Resolved:
    """Find the image, and hold it; an archive is unpacked into the store where it is not yet.

    Blocks: an archive is read once to know its digest. Raises ImageError, naming the image, where
    it is missing or malformed; HostError for a full disk.
    """
    match image.kind:
        case ImageKind.HOST | ImageKind.DIRECTORY:
            return resolve_plain(image)
        case ImageKind.ARCHIVE:
            digest = store.ensure_archive(lease, Path(image.reference), limits)
            return Resolved(Layers((store.layer_root(digest),), digest))
        case ImageKind.STORE:
            return _from_store(image.reference, store, lease)
        case _ as never:
            assert_never(never)


def _from_store(name: str, store: Store, lease: Lease) -> Resolved:
    found = store.find(name)
    if found is None:
        message = f"image `{name}` is not in the store"
        raise ImageError(message, hint=f'`anchor pull {name}`, or set `pull = "missing"`')
    lease.hold(found.digest)
    held = store.image(found.digest)  # looked at again: before it was held it could go
    return Resolved(store_layers(held, store, lease), held)


def store_layers(image: model.Image, store: Store, lease: Lease) -> Layers:
    """Return the directories of an image that is held. Raises ImageError where it has none."""
    if not image.layers:
        message = f"image `{image.digest}` has no layers"
        raise ImageError(message, hint="nothing can be run in it")
    return Layers(store.stack(lease, [layer.diff_id for layer in image.layers]), image.digest)
