"""Which of an index's images is the one for a platform, and what a served document is at all. Pure.

The same bytes must never be a manifest to one reader and an index to another (CVE-2021-41190), so
what a document says it is, what it was served as, and what it contains have to agree.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, final

from anchor_supervisor.errors import ImageError
from anchor_supervisor.images.manifests import parse_descriptor
from anchor_supervisor.images.model import (
    INDEXES,
    MANIFESTS,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Platform,
)
from anchor_supervisor.values import frozen

MOST_ENTRIES: Final = 1000  # of an index

_SCHEMA_1: Final = "application/vnd.docker.distribution.manifest.v1+"
_FOREIGN: Final = ("nondistributable", "foreign")
_ARM: Final = ("v8", "v7", "v6", "v5")  # each runs what is made for those after it
_PLAIN: Final = {"amd64": "v1", "arm64": "v8", "arm": "v7"}  # what no variant means


@final
@frozen
class Entry:
    """A line of an index; `platform` None where it does not say."""

    target: Descriptor
    platform: Platform | None


def parse_json(content: bytes, what: str) -> Mapping[str, Any]:
    """Parse a JSON object that somebody else wrote. Raises ImageError."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        message = f"the {what} is not JSON: {error}"
        raise ImageError(message) from error
    if not isinstance(document, dict):
        message = f"the {what} is not a JSON object"
        raise ImageError(message)
    return document


def media_type_of(document: Mapping[str, Any], served_as: str | None) -> str:
    """Say what a document is: one of MANIFESTS or INDEXES. Raises ImageError for all else."""
    served = (served_as or "").partition(";")[0].strip().lower()
    said = document.get("mediaType")
    if document.get("schemaVersion") == 1 or served.startswith(_SCHEMA_1):
        raise ImageError(
            "its manifest is of Docker's old schema 1, which is not supported",
            hint="push it again with a tool of today",
        )
    known = (*MANIFESTS, *INDEXES)
    if said is not None and served in known and said != served:
        message = f"its manifest says it is {said!r:.100}, but is served as `{served}`"
        raise ImageError(message)
    if said is None and served not in known:
        # An OCI document need not say what it is (image-spec, manifest.md).
        said = OCI_INDEX if "manifests" in document else OCI_MANIFEST
    media_type = served if said is None else said
    if media_type not in known:
        message = f"it is no container image, but {media_type!r:.100}"
        raise ImageError(message)
    if media_type in INDEXES and not {"layers", "config", "fsLayers"}.isdisjoint(document):
        raise ImageError("its index is a manifest at once")
    return str(media_type)


def parse_index(document: Mapping[str, Any]) -> tuple[Entry, ...]:
    """Read the entries that are images, or indexes of images. Raises ImageError."""
    listed = document.get("manifests")
    if not isinstance(listed, list):
        raise ImageError("its index has no list of manifests")
    if len(listed) > MOST_ENTRIES:
        message = f"its index has {len(listed)} entries, more than {MOST_ENTRIES}"
        raise ImageError(message)
    return tuple(_entries(listed))


def _entries(listed: list[Any]) -> Iterator[Entry]:
    for each in listed:
        target = parse_descriptor(each, "an entry of its index")
        # Whatever else an index may list is passed over (image-spec, image-index.md).
        if target.media_type in (*MANIFESTS, *INDEXES):
            platform = each.get("platform")
            yield Entry(target, None if platform is None else _platform(platform))


def _platform(value: object) -> Platform:
    fields: Mapping[str, Any] = value if isinstance(value, dict) else {"os": value}
    os, architecture, variant = (fields.get(key) for key in ("os", "architecture", "variant"))
    if not all(part is None or isinstance(part, str) for part in (os, architecture, variant)):
        message = f"its index has a malformed platform: {value!r:.100}"
        raise ImageError(message)
    return Platform(os or "unknown", architecture or "unknown", variant or None)


def choose(entries: tuple[Entry, ...], wanted: Platform) -> tuple[Descriptor, ...]:
    """Give what to look at, the best first: what is made for `wanted`, then what does not say."""
    fitting = [
        (rank, entry.target)
        for entry in entries
        if entry.platform is not None and (rank := _rank(entry.platform, wanted)) is not None
    ]
    best = [target for _, target in sorted(fitting, key=lambda each: each[0])]
    silent = [entry.target for entry in entries if entry.platform is None]
    nested = [target for target in silent if target.media_type in INDEXES]
    images = [target for target in silent if target.media_type in MANIFESTS]
    if not best and len(images) == 1:
        best = images  # its configuration says what it runs on
    return (*best, *nested)


def platforms(entries: tuple[Entry, ...]) -> tuple[str, ...]:
    """List the platforms there are, in the index's order; attestations (`unknown`) are none."""
    known = (str(entry.platform) for entry in entries if entry.platform is not None)
    return tuple(dict.fromkeys(text for text in known if "unknown" not in text))


def parse_platform(text: str) -> Platform:
    """Read `os/architecture[/variant]`, as --platform takes it. Raises ImageError."""
    parts = text.split("/")
    if len(parts) in {2, 3} and all(part.isalnum() and part.isascii() for part in parts):
        return Platform(*parts)
    message = f"`{text}` is not a platform"
    raise ImageError(message, hint="such as linux/amd64 or linux/arm/v7")


def check_platform(config: Mapping[str, Any], wanted: Platform, *, asked: bool) -> None:
    """Refuse an image whose configuration names another platform. Raises ImageError.

    `asked`: the person has named the platform.
    """
    os, architecture = config.get("os") or "linux", config.get("architecture") or ""
    if not architecture or (os, architecture) == (wanted.os, wanted.architecture):
        return
    whose = "and not" if asked else "and this machine is"
    message = f"it is made for `{os}/{architecture}`, {whose} `{wanted}`"
    hint = None if asked else f"--platform {os}/{architecture} takes it all the same"
    raise ImageError(message, hint=hint)


def refuse_foreign(layers: tuple[Descriptor, ...]) -> None:
    """Refuse layers that no registry has. Raises ImageError."""
    for layer in layers:
        if any(word in layer.media_type for word in _FOREIGN):
            message = f"its layer `{layer.digest}` is a foreign one, which registries do not have"
            raise ImageError(message)


def _rank(image: Platform, wanted: Platform) -> int | None:
    """Say how well an image fits, 0 best; None: not at all."""
    if (image.os, image.architecture) != (wanted.os, wanted.architecture):
        return None
    plain = _PLAIN.get(image.architecture)
    has, wants = image.variant or plain, wanted.variant or plain
    if has == wants:
        return 0 if image.variant == wanted.variant else 1
    if image.architecture == "arm" and has in _ARM and wants in _ARM:
        distance = _ARM.index(has) - _ARM.index(wants)
        return 1 + distance if distance > 0 else None
    if image.architecture == "amd64" and has == "v1":
        return 2  # every amd64 runs the first
    return None
