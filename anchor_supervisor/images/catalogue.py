"""Registered images and the names that lead to them: small files, each replaced in one piece.

An image is registered once all of it is in the store, and a name leads only to what is registered,
so whoever finds a name finds a whole image.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, final
from urllib.parse import quote

from anchor_supervisor.digests import sha256
from anchor_supervisor.errors import ImageError
from anchor_supervisor.images import reference as names
from anchor_supervisor.images.blobs import read_json
from anchor_supervisor.images.manifests import descriptor_json, parse_descriptor
from anchor_supervisor.images.model import Descriptor, Image, Layer, checked_digest, hexadecimal
from anchor_supervisor.images.reference import Reference
from anchor_supervisor.images.store_layout import (
    Layout,
    add_file,
    is_there,
    move_into_place,
    names_in,
    new_file,
    sync_directory,
    told,
    write_all,
)
from anchor_supervisor.values import frozen

_SUFFIX: Final = ".json"
_LONGEST: Final = 200  # characters of a file name; NAME_MAX is 255, and quoting makes three of one
_PREFIX: Final = re.compile(r"(?:sha256:)?([0-9a-f]{4,64})")
_SHOWN: Final = 12  # digits of a digest that people are shown


@final
@frozen
class NamedImage:
    """A line of `anchor images`: `name` None where nothing leads to it any more."""

    name: str | None
    digest: str
    added: float


@final
@frozen
class Record:
    """A registered image without its configuration's text: what it is made of."""

    manifest: Descriptor
    config: Descriptor
    layers: tuple[Layer, ...]

    @property
    def digests(self) -> Iterator[str]:
        """Every digest that the image needs, its own among them."""
        yield self.manifest.digest
        yield self.config.digest
        for layer in self.layers:
            yield layer.blob.digest
            yield layer.diff_id


def short(digest: str) -> str:
    """The first digits of a digest, as people are shown it."""
    return hexadecimal(digest)[:_SHOWN]


def register(layout: Layout, record: Record) -> None:
    """Add an image; its lease holds all of it. One that is here stays as it is."""
    path = _image_path(layout, record.manifest.digest)
    if not is_there(path):
        document = {
            "manifest": descriptor_json(record.manifest),
            "config": descriptor_json(record.config),
            "layers": [
                {"diff_id": each.diff_id, "blob": descriptor_json(each.blob), "size": each.size}
                for each in record.layers
            ],
        }
        add_file(layout, path, json.dumps(document).encode())


def record(layout: Layout, digest: str) -> Record | None:
    """What a registered image is made of; None where there is none."""
    path = _image_path(layout, digest)
    document = _own_json(path)
    if document is None:
        return None
    try:
        layers = tuple(
            Layer(
                checked_digest(each["diff_id"]),
                parse_descriptor(each["blob"], "a layer"),
                int(each["size"]),
            )
            for each in document["layers"]
        )
        return Record(
            parse_descriptor(document["manifest"], "the manifest"),
            parse_descriptor(document["config"], "the configuration"),
            layers,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path) from error


def _own_json(path: Path) -> Mapping[str, Any] | None:
    with told("read", path):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
    try:
        document = json.loads(content)
    except ValueError as error:
        raise _damaged(path) from error
    if not isinstance(document, dict):
        raise _damaged(path)
    return document


def _damaged(path: Path) -> ImageError:
    """A file of our own that is not as we write it."""
    message = f"`{path}` is damaged"
    return ImageError(message, hint="remove it, and pull or import the image again")


def _image_path(layout: Layout, digest: str) -> Path:
    return layout.images / f"{hexadecimal(digest)}{_SUFFIX}"


def registered(layout: Layout) -> Iterator[str]:
    """Every registered image's digest, in order."""
    for name in names_in(layout.images):
        yield f"sha256:{name.removesuffix(_SUFFIX)}"


def image(layout: Layout, digest: str) -> Image:
    """Return a registered image, with its configuration. Raises ImageError."""
    found = record(layout, digest)
    if found is None:
        message = f"image `{digest}` is not in the store"
        raise ImageError(message)
    config = read_json(layout, found.config)
    return Image(found.manifest, found.config, config, found.layers)


def name_path(layout: Layout, reference: Reference) -> Path:
    """Where a name is kept. A name too long for a file name ends in its digest instead."""
    quoted = quote(str(reference), safe="")
    if len(quoted) > _LONGEST:
        # `~` is in no reference, so that no two names meet.
        quoted = f"{quoted[:100]}~{sha256(quoted.encode()).hexdigest()}"
    return layout.names / quoted


def tag(layout: Layout, reference: Reference, digest: str) -> None:
    """Lead a name to an image that is registered, atomically."""
    document = {"reference": str(reference), "digest": checked_digest(digest)}
    final = name_path(layout, reference)
    layout.make()
    with told("write", final), new_file(layout) as (file, path):
        write_all(file, json.dumps(document).encode())
        os.fsync(file)
        with layout.shared():
            if not is_there(_image_path(layout, digest)):
                message = f"image `{digest}` is not in the store"
                raise ImageError(message)
            move_into_place(path, final)


def untag(layout: Layout, reference: Reference) -> str:
    """Forget a name; return the digest it led to. Raises ImageError where there is none."""
    path = name_path(layout, reference)
    missing = ImageError(f"there is no image `{reference.familiar}`")
    if not is_there(layout.names):
        raise missing
    with layout.shared():
        target = _target(path)
        if target is None:
            raise missing
        with told("remove", path):
            try:
                path.unlink()
            except FileNotFoundError:
                raise missing from None
            sync_directory(layout.names)
    return target[1]


def _target(path: Path) -> tuple[str, str] | None:
    """Read what a file in `names` says: the reference, and the digest it leads to."""
    document = _own_json(path)
    if document is None:
        return None
    return str(document.get("reference")), checked_digest(document.get("digest"))


def named(layout: Layout) -> Iterator[tuple[Path, str, str]]:
    """Every name: its file, the reference, and the image's digest."""
    for name in names_in(layout.names):
        path = layout.names / name
        target = _target(path)
        if target is not None:
            yield path, *target


def listed(layout: Layout) -> Iterator[NamedImage]:
    """Every name, and every registered image without one. What goes meanwhile is left out."""
    with_name = set()
    for _, reference, digest in sorted(named(layout), key=lambda each: each[1]):
        added = _added(layout, digest)
        if added is not None:
            with_name.add(digest)
            yield NamedImage(reference, digest, added)
    for digest in registered(layout):
        added = _added(layout, digest)
        if added is not None and digest not in with_name:
            yield NamedImage(None, digest, added)


def _added(layout: Layout, digest: str) -> float | None:
    try:
        return _image_path(layout, digest).stat().st_mtime
    except FileNotFoundError:
        return None


def find(layout: Layout, text: str) -> str | None:
    """Find an image's digest by a name, a digest or the first digits of one; None: no such image.

    A configuration's digest, which docker calls the image's id, counts too. Raises ImageError for
    what cannot be a name, and for digits that several images begin with.
    """
    digits = _PREFIX.fullmatch(text)
    if not (digits and text.startswith("sha256:")):
        try:
            reference = names.parse(text)
        except ImageError:
            if not digits:
                raise
        else:
            digest = _by_name(layout, reference)
            if digest is not None:
                return digest
    return _by_digits(layout, digits[1], text) if digits else None


def _by_name(layout: Layout, reference: Reference) -> str | None:
    """With a digest the digest rules: a name of that repository must lead there."""
    target = _target(name_path(layout, reference))
    if target is not None:
        return target[1]
    if reference.digest is None:
        return None
    for _, text, digest in named(layout):
        other = names.parse(text)
        same = (other.registry, other.repository) == (reference.registry, reference.repository)
        if same and reference.digest in (digest, other.digest):
            return digest
    return None


def _by_digits(layout: Layout, digits: str, text: str) -> str | None:
    """Several images of one configuration are one to docker's users; a named one is taken."""
    found: dict[str, list[str]] = {}
    for digest in registered(layout):
        entry = record(layout, digest)
        if entry is None:
            continue
        wanted = (hexadecimal(digest), hexadecimal(entry.config.digest))
        if any(each.startswith(digits) for each in wanted):
            found.setdefault(entry.config.digest, []).append(digest)
    if len(found) > 1:
        candidates = ", ".join(f"`{short(each)}`" for each in _flat(found.values()))
        message = f"`{text}` is the beginning of several images: {candidates}"
        raise ImageError(message, hint="give more digits")
    candidates_left = _flat(found.values())
    if not candidates_left:
        return None
    with_name = {digest for _, _, digest in named(layout)}
    return min(
        candidates_left, key=lambda each: (hexadecimal(each) != digits, each not in with_name, each)
    )


def _flat(groups: Iterable[list[str]]) -> list[str]:
    return [each for group in groups for each in group]
