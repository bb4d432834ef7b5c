"""A root file system as an image of one layer: a tar as `docker export` writes it, or a tree."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, BinaryIO

from anchor_supervisor.images.layer_writer import LayerWriter
from anchor_supervisor.images.load_parts import Parts, Planned, platform_facts
from anchor_supervisor.images.model import Descriptor, Layer, Platform
from anchor_supervisor.images.pack import pack_tree


def planned_tar(file: BinaryIO, config: Mapping[str, Any]) -> Planned:
    """Plan an image of a tar, compressed or not."""
    return Planned(functools.partial(_prepare_tar, file, config))


def planned_directory(directory: int, config: Mapping[str, Any]) -> Planned:
    """Plan an image of a directory that is held open."""
    return Planned(functools.partial(_prepare_directory, directory, config))


def _prepare_tar(file: BinaryIO, config: Mapping[str, Any], parts: Parts) -> Descriptor:
    return parts.image(config, [parts.layer(file, "root", None)])


def _prepare_directory(directory: int, config: Mapping[str, Any], parts: Parts) -> Descriptor:
    return parts.image(config, [_packed(directory, parts)])


def _packed(directory: int, parts: Parts) -> Layer:
    parts.progress.begin("root", "packing")
    with LayerWriter(parts.store, parts.lease, limits=parts.limits) as writer:

        def sink(data: bytes) -> None:
            writer.write(data)
            parts.progress.advance("root", len(data))

        pack_tree(directory, sink)
        parts.progress.begin("root", "unpacking")
        layer = writer.finish()
    parts.progress.end("root", "imported")
    return layer


def configuration(platform: Platform, modified: float) -> dict[str, Any]:
    """Describe an image of a source that was last changed at `modified` (seconds).

    That is the image's time too, so the same source makes the same image.
    """
    whole = datetime.fromtimestamp(max(0, int(modified)), UTC)
    created = whole.isoformat().replace("+00:00", "Z")
    return {
        **platform_facts(platform),
        "created": created,
        "config": {},
        "history": [{"created": created, "comment": "imported by anchor"}],
    }
