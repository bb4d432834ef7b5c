"""What an image name in the fleet file is on this machine: directories to build a root from."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import assert_never

from anchor_supervisor.errors import ImageError, KernelError
from anchor_supervisor.fleet.model import Image, ImageKind
from anchor_supervisor.images.layer_store import unpacked
from anchor_supervisor.images.unpack import Limits
from anchor_supervisor.rootfs.layers import HOST_ROOT, Layers


def resolve(image: Image, data: Path, limits: Limits = Limits()) -> Layers:  # noqa: B008 - frozen
    """Find the image; an archive is unpacked beneath `data` where it has not been yet.

    Blocks: an archive is read once to know its digest. Raises ImageError, naming the image, where
    it is missing, malformed, or of a kind that is not supported yet; HostError for a full disk.
    """
    match image.kind:
        case ImageKind.HOST:
            return Layers((HOST_ROOT,), "host", host=True)
        case ImageKind.DIRECTORY:
            return _directory(Path(image.reference))
        case ImageKind.ARCHIVE:
            layer = unpacked(Path(image.reference), data, limits)
            return Layers((layer,), f"sha256:{layer.name}")
        case ImageKind.STORE:
            message = f"image `{image.reference}`: images from the store are not supported yet"
            raise ImageError(
                message,
                hint='`host`, a directory such as "./rootfs", or an archive such as "./rootfs.tar"',
            )
        case _ as never:
            assert_never(never)


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
