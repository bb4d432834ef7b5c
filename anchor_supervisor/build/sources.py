"""What a build takes from outside: base images, by the store or their registry, and the context."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from anchor_supervisor.build.ignore import Ignore, read_ignore
from anchor_supervisor.build.options import DOCKERFILES, BuildOptions, Reporter
from anchor_supervisor.errors import BuildError
from anchor_supervisor.images.model import Image, Platform
from anchor_supervisor.images.reference import parse
from anchor_supervisor.images.store import Lease, Store
from anchor_supervisor.kernel.mount import open_beneath
from anchor_supervisor.rootfs.removal import DIRECTORY_FLAGS

LARGEST_TEXT: Final = 4 << 20  # bytes of a Dockerfile, or of a .dockerignore
IGNORES: Final = (".dockerignore", ".containerignore")
_LOOK: Final = os.O_PATH | os.O_CLOEXEC


def find_image(
    text: str,
    store: Store,
    lease: Lease,
    *,
    platform: Platform,
    pull: bool,
    reporter: Reporter,
) -> Image:
    """Return an image and hold it: the store's, or where `pull` or it has none, its registry's.

    Raises ImageError where there is none, or only for another platform.
    """
    found = None if pull else store.find(text)
    if found is not None:
        lease.hold(found.digest)
        found = store.find(found.digest)
    if found is not None and _fits(found.config, platform):
        hold(found, store, lease)
        return found
    from anchor_supervisor.images.pull import pull as pull_image  # a network client, seldom needed

    reporter.note(f"pulling {text}")
    image = pull_image(parse(text), store, platform=platform, progress=reporter.progress)
    hold(image, store, lease)
    return image


def hold(image: Image, store: Store, lease: Lease) -> None:
    """Hold all of an image. Raises ImageError where it has gone meanwhile."""
    lease.hold(image.digest, image.config_blob.digest)
    for layer in image.layers:
        lease.hold(layer.diff_id, layer.blob.digest)
    store.image(image.digest)


def _fits(config: Mapping[str, Any], platform: Platform) -> bool:
    """Whether an image is for this platform; one that does not say is for any."""
    architecture = config.get("architecture")
    return not architecture or architecture == platform.architecture


def open_context(context: Path) -> int:
    """Open the context's directory; the caller closes it. Raises BuildError."""
    try:
        return os.open(context, DIRECTORY_FLAGS & ~os.O_NOFOLLOW)
    except OSError as error:
        message = f"context `{context}` cannot be opened: {error.strerror}"
        raise BuildError(message, hint="a directory with a Dockerfile in it") from error


def read_dockerfile(root: int, context: Path, options: BuildOptions) -> tuple[str, str]:
    """Return the Dockerfile's text, and what messages call it. Raises BuildError."""
    if options.text is not None:
        return options.text, "Dockerfile"
    if options.dockerfile is not None:
        path = options.dockerfile
        try:
            handle = os.open(path, _LOOK)
        except OSError as error:
            message = f"`{path}` cannot be opened: {error.strerror}"
            raise BuildError(message) from error
        return _text(_read(handle, str(path)), str(path)), str(path)
    for name in DOCKERFILES:
        content = _read_beneath(root, name)
        if content is not None:
            return _text(content, name), str(context / name)
    message = f"there is no `Dockerfile` in `{context}`"
    raise BuildError(message, hint="`-f FILE` names another one")


def read_ignored(root: int, context: Path, options: BuildOptions) -> Ignore:
    """Read what is left out of the context: by `<Dockerfile>.dockerignore`, else `.dockerignore`.

    Raises FleetError for what is no pattern, BuildError for what cannot be read.
    """
    if options.text is None:
        path = options.dockerfile or context / DOCKERFILES[0]
        own = path.with_name(f"{path.name}.dockerignore")
        if own.is_file():
            text = _text(_read(os.open(own, _LOOK), str(own)), str(own))
            return read_ignore(text, file=str(own))
    for name in IGNORES:
        content = _read_beneath(root, name)
        if content is not None:
            return read_ignore(_text(content, name), file=str(context / name))
    return Ignore()


def _read_beneath(root: int, name: str) -> bytes | None:
    """Read a file of the context, never one outside; None where there is none."""
    try:
        handle = open_beneath(root, name, _LOOK)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return None
        message = f"`{name}` cannot be opened: {os.strerror(error.errno or 0)}"
        raise BuildError(message) from error
    return _read(handle, name)


def _read(handle: int, words: str) -> bytes:
    """Read a plain file through its O_PATH handle, and close that. Raises BuildError."""
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            message = f"`{words}` is not a plain file"
            raise BuildError(message)
        with open(f"/proc/self/fd/{handle}", "rb") as file:  # noqa: PTH123 - a descriptor
            content = file.read(LARGEST_TEXT + 1)
    finally:
        os.close(handle)
    if len(content) > LARGEST_TEXT:
        message = f"`{words}` is larger than {LARGEST_TEXT} bytes"
        raise BuildError(message)
    return content


def _text(content: bytes, words: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"`{words}` is not UTF-8"
        raise BuildError(message) from error
