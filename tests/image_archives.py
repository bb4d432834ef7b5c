"""Archives of images as other tools write them, made entry by entry so that any may be wrong.

An archive is a dict of names and contents; a value may also be `("link", TARGET)`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import archives
from anchor_supervisor.images.model import (
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
)
from anchor_supervisor.images.store import Store
from image_store import diff_id, hexes, layer_blob, layer_tar

Content = bytes | tuple[str, str]
Files = dict[str, Content]


def link(target: str) -> Content:
    """A symbolic link."""
    return ("link", target)


def as_json(value: object) -> bytes:
    """JSON, as Go writes it."""
    return json.dumps(value, separators=(",", ":")).encode()


def hexadecimal(content: bytes) -> str:
    """The hexadecimal sha256."""
    return hashlib.sha256(content).hexdigest()


def tar_of(files: Mapping[str, Content]) -> bytes:
    """The archive of these files, in this order."""
    return archives.tar(
        *(
            archives.member(name, content)
            if isinstance(content, bytes)
            else archives.symlink(name, content[1])
            for name, content in files.items()
        )
    )


def write_tar(path: Path, files: Mapping[str, Content]) -> Path:
    """Write the archive."""
    path.write_bytes(tar_of(files))
    return path


def write_directory(path: Path, files: Mapping[str, Content]) -> Path:
    """Write the files themselves."""
    for name, content in files.items():
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            target.write_bytes(content)
        else:
            target.symlink_to(content[1])
    return path


def config(*seeds: int, **more: object) -> bytes:
    """The configuration of an image of these layers."""
    facts = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2026-01-02T03:04:05.678901234Z",
        "config": {"Cmd": ["sh"], "Env": ["A=b"]},
        "rootfs": {"type": "layers", "diff_ids": [diff_id(seed) for seed in seeds]},
        "history": [{"created_by": f"layer {seed}"} for seed in seeds],
    }
    return as_json({**facts, **more})


def docker_old(images: Mapping[str, Sequence[int]]) -> Files:
    """What `docker save` wrote until Docker 25: equal layers of several images are links."""
    files: Files = {}
    entries = []
    first: dict[int, str] = {}
    for name, seeds in images.items():
        names = []
        for seed in seeds:
            folder = hexadecimal(f"{name} {seed}".encode())
            names.append(f"{folder}/layer.tar")
            files[f"{folder}/VERSION"] = b"1.0"
            files[f"{folder}/json"] = as_json({"id": folder, "os": "linux"})
            files[names[-1]] = link(f"../{first[seed]}") if seed in first else layer_tar(seed)
            first.setdefault(seed, names[-1])
        content = config(*seeds)
        files[f"{hexadecimal(content)}.json"] = content
        entries.append(
            {"Config": f"{hexadecimal(content)}.json", "RepoTags": [name], "Layers": names}
        )
    files["manifest.json"] = as_json(entries)
    files["repositories"] = as_json({})
    return files


def docker_ancient(name: str, *seeds: int) -> Files:
    """What `docker save` wrote before Docker 1.10: no manifest, each layer knows its parent."""
    files: Files = {}
    parent = None
    for seed in seeds:
        folder = hexadecimal(f"ancient {seed}".encode())
        facts = {
            "id": folder,
            "architecture": "amd64",
            "os": "linux",
            "created": "2015-01-02T03:04:05Z",
            "container_config": {"Cmd": ["/bin/sh", "-c", f"#(nop) layer {seed}"]},
            "config": {"Cmd": ["sh"], "Env": ["A=b"]},
        }
        files[f"{folder}/json"] = as_json(facts if parent is None else {**facts, "parent": parent})
        files[f"{folder}/VERSION"] = b"1.0"
        files[f"{folder}/layer.tar"] = layer_tar(seed)
        parent = folder
    repository, _, tag = name.partition(":")
    files["repositories"] = as_json({repository: {tag: parent}})
    return files


def blob(files: Files, content: bytes, media_type: str) -> dict[str, Any]:
    """Add a blob to a layout; its descriptor."""
    digits = hexadecimal(content)
    files[f"blobs/sha256/{digits}"] = content
    return {"mediaType": media_type, "digest": f"sha256:{digits}", "size": len(content)}


def oci_manifest(files: Files, *seeds: int, **more: object) -> dict[str, Any]:
    """Add an image to a layout; its manifest's descriptor. `more` is the configuration's."""
    layers = [blob(files, layer_blob(seed), OCI_LAYER_GZIP) for seed in seeds]
    described = blob(files, config(*seeds, **more), OCI_CONFIG)
    value = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": described,
        "layers": layers,
    }
    return blob(files, as_json(value), OCI_MANIFEST)


def oci_index(files: Files, *entries: Mapping[str, Any]) -> dict[str, Any]:
    """Add an index to a layout; its descriptor."""
    value = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(entries)}
    return blob(files, as_json(value), OCI_INDEX)


def oci_layout(files: Files, *entries: Mapping[str, Any]) -> Files:
    """Make it a layout whose index.json has these entries."""
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(entries)}
    return {
        **files,
        "index.json": as_json(index),
        "oci-layout": as_json({"imageLayoutVersion": "1.0.0"}),
    }


def oci(name: str | None, *seeds: int) -> Files:
    """A layout of one image."""
    files: Files = {}
    entry = oci_manifest(files, *seeds)
    annotations = {} if name is None else {"org.opencontainers.image.ref.name": name}
    return oci_layout(files, {**entry, "annotations": annotations})


def docker_new(name: str, *seeds: int) -> Files:
    """What `docker save` has written since Docker 25: a layout, and manifest.json beside it."""
    files: Files = {}
    layers = [
        blob(files, layer_tar(seed), "application/vnd.oci.image.layer.v1.tar") for seed in seeds
    ]
    described = blob(files, config(*seeds), OCI_CONFIG)
    value = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": described,
        "layers": layers,
    }
    manifest = blob(files, as_json(value), OCI_MANIFEST)
    entry = {
        "Config": f"blobs/sha256/{described['digest'][7:]}",
        "RepoTags": [name],
        "Layers": [f"blobs/sha256/{layer['digest'][7:]}" for layer in layers],
    }
    annotations = {
        "io.containerd.image.name": f"docker.io/library/{name}",
        "org.opencontainers.image.ref.name": name.partition(":")[2],
    }
    files = oci_layout(files, {**manifest, "annotations": annotations})
    return {**files, "manifest.json": as_json([entry])}


def listing(store: Store) -> tuple[set[str], list[object]]:
    """What a person sees of the store: images, and names."""
    return hexes(store, "images"), list(store.images())
