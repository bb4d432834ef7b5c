"""What `docker save` and `podman save` write: manifest.json, or before Docker 1.10 `repositories`.

manifest.json lists images: the name of the configuration, and of the layers in the archive. The
configuration is kept byte for byte, so an image has the same id here as where it was saved.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping, Sized
from typing import Any, Final

from anchor_supervisor.errors import ImageError
from anchor_supervisor.images.load_files import Files, parsed, read_small, shown, typed
from anchor_supervisor.images.load_parts import Parts, Planned, check_count
from anchor_supervisor.images.manifests import parse_diff_ids
from anchor_supervisor.images.model import MOST_LAYERS, OCI_CONFIG, Descriptor

MANIFEST: Final = "manifest.json"
REPOSITORIES: Final = "repositories"
MOST_IMAGES: Final = 1000
_NAMED_BY_DIGEST: Final = re.compile(r"(?:.*[/:])?([0-9a-f]{64})(?:\.json)?")
_VERSION_1_ID: Final = re.compile(r"[0-9a-f]{64}")


def is_manifest(value: object) -> bool:
    """Say whether this JSON is a docker-archive's list of images."""
    return isinstance(value, list) and all(
        isinstance(entry, dict) and "Config" in entry and "Layers" in entry for entry in value
    )


def planned(files: Files) -> list[Planned]:
    """Find the images of a docker-archive. Raises ImageError."""
    entries = typed(parsed(read_small(files, MANIFEST), MANIFEST), list, f"`{MANIFEST}`")
    check_images(entries)
    return [_planned(files, typed(entry, dict, "list of images")) for entry in entries]


def check_images(found: Sized) -> None:
    """Refuse an archive of no image, or of more than anybody would save."""
    if not len(found):
        raise ImageError("the archive holds no image")
    if len(found) > MOST_IMAGES:
        message = f"the archive holds more than {MOST_IMAGES} images"
        raise ImageError(message)


def _planned(files: Files, entry: Mapping[str, Any]) -> Planned:
    config = typed(entry.get("Config"), str, "configuration's name")
    layers = [typed(name, str, "layer's name") for name in typed(entry["Layers"], list, "layers")]
    tags = typed(entry.get("RepoTags") or [], list, "list of names")[:MOST_IMAGES]
    check_count(layers)
    return Planned(
        functools.partial(_prepare, files, config, layers),
        tuple(typed(tag, str, "image's name") for tag in tags),
    )


def _prepare(files: Files, config_name: str, names: list[str], parts: Parts) -> Descriptor:
    content = read_small(files, config_name)
    match = _NAMED_BY_DIGEST.fullmatch(config_name)
    if match and hashlib.sha256(content).hexdigest() != match[1]:
        message = f"the archive's {shown(config_name)} does not have the digest it is named by"
        raise ImageError(message)
    config = typed(parsed(content, config_name), dict, "configuration")
    parts.check_platform(config)
    words = f"the archive's configuration {shown(config_name)}"
    diff_ids = parse_diff_ids(config, len(names), words)
    layers = []
    for name, diff_id in zip(names, diff_ids, strict=True):
        with files.open(name) as file:
            layers.append(parts.layer(file, diff_id.removeprefix("sha256:")[:12], diff_id))
    return parts.manifest(parts.small(OCI_CONFIG, content), layers)


def planned_version_1(files: Files) -> list[Planned]:
    """Find the images of an archive older than Docker 1.10, which has no manifest.json."""
    content = parsed(read_small(files, REPOSITORIES), REPOSITORIES)
    names: dict[str, list[str]] = {}
    for repository, tags in typed(content, dict, f"`{REPOSITORIES}`").items():
        for tag, image_id in typed(tags, dict, f"`{REPOSITORIES}`").items():
            key = typed(image_id, str, "image's id")
            names.setdefault(key, []).append(f"{repository}:{tag}")
    check_images(names)
    return [
        Planned(functools.partial(_prepare_version_1, files, image_id), tuple(found))
        for image_id, found in names.items()
    ]


def _prepare_version_1(files: Files, image_id: str, parts: Parts) -> Descriptor:
    chain = _ancestry(files, image_id)
    layers, history = [], []
    for one, facts in chain:
        with files.open(f"{one}/layer.tar") as file:
            layers.append(parts.layer(file, one[:12], None))
        history.append(_history_of(facts))
    top = chain[-1][1]
    kept = {key: top[key] for key in ("created", "author", "config") if top.get(key) is not None}
    config = {
        "architecture": top.get("architecture") or "amd64",
        "os": top.get("os") or "linux",
        **kept,
        "history": history,
    }
    return parts.image(config, layers)


def _ancestry(files: Files, image_id: str) -> list[tuple[str, dict[str, Any]]]:
    """Every image from the lowest to `image_id`, each of which names the one it stands on."""
    chain: list[tuple[str, dict[str, Any]]] = []
    following: object = image_id
    while following:
        one = typed(following, str, "image's id")
        if not _VERSION_1_ID.fullmatch(one):
            message = f"the archive refers to the image {shown(one)}, which is not an id"
            raise ImageError(message)
        name = f"{one}/json"
        facts = typed(parsed(read_small(files, name), name), dict, "image's facts")
        chain.append((one, facts))
        if len(chain) > MOST_LAYERS:
            raise ImageError("the archive has an image of too many layers, or one over itself")
        following = facts.get("parent")
    return chain[::-1]


def _history_of(facts: Mapping[str, Any]) -> dict[str, Any]:
    made = facts.get("container_config")
    command = made.get("Cmd") if isinstance(made, dict) else None
    words = {"created_by": " ".join(map(str, command))} if isinstance(command, list) else {}
    kept = {key: facts[key] for key in ("created", "author", "comment") if facts.get(key)}
    return {**kept, **words}
