"""What an image name in the fleet file is on this machine: directories to build a root from."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import assert_never, final

from anchor_supervisor.errors import ImageError, KernelError
from anchor_supervisor.fleet.model import Image, ImageKind
from anchor_supervisor.images import model
from anchor_supervisor.images.model import Limits
from anchor_supervisor.images.store import Lease, Store
from anchor_supervisor.rootfs.layers import HOST_ROOT, Layers
from anchor_supervisor.values import frozen


@final
@frozen
class Resolved:
    """An image's directories, and, where it comes from the store, what it says of itself."""

    layers: Layers
    image: model.Image | None = None


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
        case ImageKind.HOST:
            return Resolved(Layers((HOST_ROOT,), "host", host=True))
        case ImageKind.DIRECTORY:
            return Resolved(_directory(Path(image.reference)))
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


def _directory(path: Path) -> Layers:
    try:
        status = path.stat()
    except FileNotFoundError as error:
        message = f"no image at `{path}`"
        raise ImageError(message, hint="a directory with a root in it") from error
    except OSError as error:
        raise KernelError(error.errno or 0, "look at image", str(path)) from error
    if not path.is_dir():
        message = f"image `{path}` is neither a directory nor an archive"
        raise ImageError(message)
    name = f"{path}\0{status.st_dev}\0{status.st_ino}"
    return Layers((path,), f"directory:{hashlib.sha256(name.encode()).hexdigest()}")
