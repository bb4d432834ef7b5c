"""Images that need no store: the machine's own root, and somebody's directory."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING, final

from anchor_supervisor.digests import sha256
from anchor_supervisor.errors import ImageError, KernelError
from anchor_supervisor.fleet.model import Image, ImageKind
from anchor_supervisor.rootfs.layers import HOST_ROOT, Layers
from anchor_supervisor.values import frozen

if TYPE_CHECKING:
    from anchor_supervisor.images import model


@final
@frozen
class Resolved:
    """An image's directories, and, where it comes from the store, what it says of itself."""

    layers: Layers
    image: model.Image | None = None


def is_plain(image: Image) -> bool:
    """Whether the image is found without the store."""
    return image.kind in {ImageKind.HOST, ImageKind.DIRECTORY}


def resolve_plain(image: Image) -> Resolved:
    """Find such an image. Raises ImageError, naming it, where it is missing."""
    if image.kind is ImageKind.HOST:
        return Resolved(Layers((HOST_ROOT,), "host", host=True))
    return Resolved(_directory(Path(image.reference)))


def _directory(path: Path) -> Layers:
    try:
        status = path.stat()
    except FileNotFoundError as error:
        message = f"no image at `{path}`"
        raise ImageError(message, hint="a directory with a root in it") from error
    except OSError as error:
        raise KernelError(error.errno or errno.EIO, "look at image", str(path)) from error
    if not path.is_dir():
        message = f"image `{path}` is neither a directory nor an archive"
        raise ImageError(message)
    name = f"{path}\0{status.st_dev}\0{status.st_ino}"
    return Layers((path,), f"directory:{sha256(name.encode()).hexdigest()}")
