"""Images found as people name them, and what to say where there is none."""

from __future__ import annotations

import difflib
from typing import Final, final

from anchor_supervisor.errors import ImageError
from anchor_supervisor.images import reference
from anchor_supervisor.images.model import Image
from anchor_supervisor.images.reference import Reference
from anchor_supervisor.images.store import NamedImage, Store
from anchor_supervisor.values import frozen

ID_DIGITS: Final = 12


@final
@frozen
class Found:
    """An image, the name that led to it (None: a digest did), and every name it has."""

    image: Image
    name: Reference | None
    names: tuple[Reference, ...]


def find(store: Store, text: str) -> Found:
    """Find an image by name, digest, id, or the first digits of one. Raises ImageError."""
    image = store.find(text)
    if image is None:
        raise unknown(store, text)
    names = names_of(store, image.digest)
    return Found(image, _name_in(text, names), names)


def find_damaged(store: Store, text: str) -> NamedImage | None:
    """Find an image whose configuration cannot be read any more, by a name or its digest."""
    try:
        wanted = str(reference.parse(text))
    except ImageError:
        wanted = text
    return next((line for line in store.images() if wanted in (line.name, line.digest)), None)


def names_of(store: Store, digest: str) -> tuple[Reference, ...]:
    """Every name that leads to this image, in order."""
    listed = [line.name for line in store.images() if line.digest == digest]
    return tuple(reference.parse(name) for name in sorted(filter(None, listed)))


def same_id(store: Store, found: Found, text: str) -> tuple[Found, ...]:
    """Every image that is meant by `text`: several may be of one configuration, docker's id."""
    digits = text.removeprefix("sha256:")
    config = found.image.config_blob.digest
    if found.name is not None or not config.startswith(f"sha256:{digits}"):
        return (found,)
    digests = dict.fromkeys(line.digest for line in store.images())
    images = [store.image(digest) for digest in digests]
    return tuple(
        Found(image, None, names_of(store, image.digest))
        for image in images
        if image.config_blob.digest == config
    )


def short_id(image: Image) -> str:
    """What docker's users know as IMAGE ID: the first digits of the configuration's digest."""
    return image.config_blob.digest.removeprefix("sha256:")[:ID_DIGITS]


def unknown(store: Store, text: str) -> ImageError:
    """Build the error for an image that is not there; names the nearest that is."""
    names = [reference.parse(line.name).familiar for line in store.images() if line.name]
    near = difflib.get_close_matches(text, names, n=1, cutoff=0.6)
    repository = text.rpartition("/")[2].partition(":")[0]
    near = near or [name for name in names if _short(name) == repository][:1]
    hint = f"did you mean `{near[0]}`?" if near else "`anchor images` lists what there is"
    message = f"there is no image `{text}`"
    return ImageError(message, hint=hint)


def _short(name: str) -> str:
    return name.rpartition("/")[2].partition(":")[0]


def _name_in(text: str, names: tuple[Reference, ...]) -> Reference | None:
    try:
        wanted = reference.parse(text)
    except ImageError:
        return None
    return next((name for name in names if name == wanted), None)
