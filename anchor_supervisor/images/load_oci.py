"""OCI image layouts, as a directory or a tar: index.json, and blobs named by their digests.

index.json lists manifests, or indexes of manifests for several platforms. Everything but
index.json itself is verified against the digest that led to it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, final

from anchor_supervisor.errors import ImageError
from anchor_supervisor.images import indexes
from anchor_supervisor.images.load_docker import check_images
from anchor_supervisor.images.load_files import (
    Files,
    blob_name,
    parsed,
    read_small,
    read_verified,
    shown,
    typed,
)
from anchor_supervisor.images.load_parts import Parts, Planned
from anchor_supervisor.images.manifests import parse_diff_ids, parse_manifest
from anchor_supervisor.images.model import INDEXES, Descriptor, Platform
from anchor_supervisor.values import field, frozen

LAYOUT: Final = "oci-layout"
INDEX: Final = "index.json"
WHOLE_NAME: Final = "io.containerd.image.name"
REFERENCE_NAME: Final = "org.opencontainers.image.ref.name"
_DEEPEST: Final = 4  # indexes of indexes
_CHUNK: Final = 1 << 20


@final
@frozen
class _Entry:
    """A line of index.json."""

    target: Descriptor
    platform: Platform | None
    annotations: Mapping[str, Any] = field(repr=False)

    @property
    def name(self) -> str:
        """What it is called: containerd's and BuildKit's annotation is a whole name always."""
        said = self.annotations.get(WHOLE_NAME) or self.annotations.get(REFERENCE_NAME) or ""
        return str(typed(said, str, "image's name"))


def planned(files: Files, wanted: Platform) -> list[Planned]:
    """Find the images of a layout: of one name for several platforms, the wanted one."""
    _check_version(files)
    groups: dict[str, list[_Entry]] = {}
    for entry in _entries(files):
        groups.setdefault(entry.name, []).append(entry)
    found = [
        _planned(files, target, name, wanted)
        for name, entries in groups.items()
        for target in _of_platform(entries, wanted)
    ]
    check_images(found)
    return found


def _check_version(files: Files) -> None:
    facts = typed(parsed(read_small(files, LAYOUT), LAYOUT), dict, f"`{LAYOUT}`")
    version = facts.get("imageLayoutVersion")
    if not isinstance(version, str) or not version.startswith("1."):
        message = f"the archive is an OCI layout of version {shown(version)}; 1.0.0 is known"
        raise ImageError(message)


def _entries(files: Files) -> Iterator[_Entry]:
    """Read index.json; what is neither an image nor an index of them is passed over."""
    index = typed(parsed(read_small(files, INDEX), INDEX), dict, f"`{INDEX}`")
    for value in typed(index.get("manifests"), list, f"`{INDEX}`: `manifests`"):
        for entry in indexes.parse_index({"manifests": [value]}):
            annotations = typed(value.get("annotations") or {}, dict, "annotations")
            yield _Entry(entry.target, entry.platform, annotations)


def _of_platform(entries: Sequence[_Entry], wanted: Platform) -> Sequence[Descriptor]:
    """One entry where they are one image for several platforms; all where they are several."""
    if len(entries) < 2 or any(entry.platform is None for entry in entries):
        return [entry.target for entry in entries]
    lines = tuple(indexes.Entry(one.target, one.platform) for one in entries)
    return [_fitting(lines, wanted)]


def _fitting(entries: tuple[indexes.Entry, ...], wanted: Platform) -> Descriptor:
    found = indexes.choose(entries, wanted)
    if found:
        return found[0]
    message = f"the archive's image is not for `{wanted}`"
    there = ", ".join(indexes.platforms(entries))
    hint = f"it is for {shown(there)[1:-1]}: say which with `--platform`" if there else None
    raise ImageError(message, hint=hint)


def _planned(files: Files, target: Descriptor, name: str, wanted: Platform) -> Planned:
    prepare = functools.partial(_prepare, files, _manifest(files, target, wanted))
    if name and not any(sign in name for sign in "/:@"):
        return Planned(prepare, tag=name)
    return Planned(prepare, (name,) if name else ())


def _manifest(files: Files, target: Descriptor, wanted: Platform, depth: int = 0) -> Descriptor:
    """Go down from an index to the manifest for the platform; the first way there counts."""
    if target.media_type not in INDEXES:
        return target
    if depth == _DEEPEST:
        message = f"the archive has indexes nested more than {_DEEPEST} deep"
        raise ImageError(message)
    document = typed(parsed(_read(files, target), blob_name(target.digest)), dict, "index")
    indexes.media_type_of(document, target.media_type)
    entries = indexes.parse_index(document)
    return _manifest(files, _fitting(entries, wanted), wanted, depth + 1)


def _read(files: Files, target: Descriptor) -> bytes:
    content = read_verified(files, target.digest)
    if len(content) != target.size:
        message = f"the archive's `{blob_name(target.digest)}` is not of {target.size} bytes"
        raise ImageError(message)
    return content


def _prepare(files: Files, target: Descriptor, parts: Parts) -> Descriptor:
    content = _read(files, target)
    document = typed(parsed(content, blob_name(target.digest)), dict, "manifest")
    config_blob, layers = parse_manifest(target, document)
    config_content = _read(files, config_blob)
    config = typed(parsed(config_content, blob_name(config_blob.digest)), dict, "configuration")
    parts.check_platform(config)
    words = f"the archive's configuration `{config_blob.digest}`"
    for layer, diff_id in zip(layers, parse_diff_ids(config, len(layers), words), strict=True):
        _copy_layer(files, layer, diff_id, parts)
    parts.small(config_blob.media_type, config_content)
    return parts.small(target.media_type, content)


def _copy_layer(files: Files, blob: Descriptor, diff_id: str, parts: Parts) -> None:
    item = blob.digest.removeprefix("sha256:")[:12]
    parts.progress.begin(item, "reading", blob.size)
    with (
        files.open(blob_name(blob.digest)) as file,
        parts.store.write_blob(parts.lease, blob) as writer,
    ):
        words = "already here" if writer is None else "imported"
        if writer is not None:
            file.seek(writer.position)
            while piece := file.read(_CHUNK):
                writer.write(piece)
                parts.progress.advance(item, len(piece))
            writer.commit()
    parts.store.ensure_layer(
        parts.lease, blob, diff_id, limits=parts.limits, progress=parts.progress
    )
    parts.progress.end(item, words)
