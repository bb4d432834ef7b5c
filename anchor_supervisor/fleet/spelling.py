"""Values of the model as a person writes them in the file, all printable. Pure."""

from __future__ import annotations

import datetime as dt
import enum
import shlex
from typing import Final

from anchor_supervisor.fleet.model import (
    ExecProbe,
    Grant,
    HttpProbe,
    Image,
    LogProbe,
    NotifyProbe,
    Port,
    Probe,
    Propagation,
    Reaction,
    ReactionKind,
    TcpProbe,
    Volume,
    VolumeKind,
)
from anchor_supervisor.fleet.units import format_duration, format_size
from anchor_supervisor.fleet.wording import escaped

DIGEST_LETTERS: Final = 12
"""Enough of a digest to tell two apart."""


def words_of(value: object, kind: str = "") -> str | None:
    """Write a value whose key has this type in the schema; None for what is not there."""
    match value:
        case None:
            return None
        case bool():
            return str(value).lower()
        case int() if kind == "size":
            return format_size(value)
        case int() | float() if kind == "duration":
            return format_duration(value)
        case float():
            return f"{value:g}"
        case Reaction():
            return reaction_words(value)
        case enum.Enum() | int() | dt.tzinfo():
            return str(value)
        case tuple():
            return shlex.join(escaped(str(word)) for word in value)
        case frozenset():
            return ", ".join(map(str, sorted(value)))
        case _:
            return escaped(str(value))


def image_words(image: Image) -> str:
    """Write `debian:12`, and which content that led to."""
    words = escaped(image.reference)
    if image.digest is None:
        return words
    algorithm, _, digest = escaped(image.digest).rpartition(":")
    return f"{words} ({algorithm or 'digest'}:{digest[:DIGEST_LETTERS]})"


def reaction_words(reaction: Reaction) -> str:
    """Write `signal HUP`."""
    if reaction.kind is ReactionKind.SIGNAL:
        return f"signal {escaped(reaction.signal or '')}"
    return reaction.kind.value


def probe_words(probe: Probe) -> tuple[str, str]:
    """Write the probe's key and its value."""
    match probe:
        case ExecProbe():
            return "exec", words_of(probe.command) or ""
        case TcpProbe():
            return "tcp", str(probe.port)
        case HttpProbe():
            return "http", f":{probe.port}{escaped(probe.path)}"
        case LogProbe():
            return "log", escaped(probe.pattern)
        case NotifyProbe():
            return "notify", "true"


def port_words(port: Port) -> str:
    """Write `127.0.0.1:8080:80/tcp`."""
    return f"{port.host_address}:{port.host_port}:{port.container_port}/{port.protocol}"


def volume_words(volume: Volume) -> str:
    """Write `data:/data:ro`, without what is so anyway."""
    options = [
        *(["ro"] if volume.read_only else []),
        *(word for word in ("noexec", "nosuid", "nodev") if getattr(volume, word)),
        *([] if volume.copy else ["nocopy"]),
        *([f"subpath={volume.subpath}"] if volume.subpath is not None else []),
        *([f"r{volume.propagation}"] if volume.propagation is not Propagation.PRIVATE else []),
        *([f"size={format_size(volume.size)}"] if volume.size is not None else []),
        *([f"mode={volume.mode:o}"] if volume.mode is not None else []),
        *([f"uid={volume.uid}"] if volume.uid is not None else []),
        *([f"gid={volume.gid}"] if volume.gid is not None else []),
    ]
    source = "tmpfs" if volume.kind is VolumeKind.TMPFS else volume.source
    parts = [
        *([source] if source else []),
        volume.target,
        *([",".join(options)] if options else []),
    ]
    return escaped(":".join(parts))


def grant_words(grant: Grant) -> str:
    """Write the name, the permissions and the owner, and nothing of the content."""
    owner = f", owner {grant.owner}" if grant.owner is not None else ""
    return escaped(f"{grant.name}, mode {grant.mode:04o}{owner}")
