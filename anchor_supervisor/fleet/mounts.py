"""One entry of `volumes`: `name:/data`, `./path:/data:ro`, `tmpfs:/run:size=16M,mode=1777`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from anchor_supervisor.fleet.model import Volume, VolumeKind
from anchor_supervisor.fleet.units import parse_mode, parse_size
from anchor_supervisor.fleet.values import absolute, clean, filled_text, is_path
from anchor_supervisor.fleet.wording import Mistake, did_you_mean, show

TMPFS: Final = "tmpfs"
VOLUME_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_OPTIONS: Final = ("ro", "rw", "size", "mode")


def volume(directory: str) -> Callable[[object], Volume]:
    """Accept one mount; a relative source is taken from `directory`."""

    def read(value: object) -> Volume:
        entry = filled_text(value)
        parts = entry.split(":")
        if len(parts) == 1:
            message = f"{show(entry)} has no source: a volume without a name is not supported yet"
            raise Mistake(
                message,
                hint=f"`NAME:{entry}`, with a table `[volumes.NAME]`",
            )
        if len(parts) > 3:
            message = f"{show(entry)} is not `SOURCE:TARGET` or `SOURCE:TARGET:OPTIONS`"
            raise Mistake(message)
        source, target, options = parts[0], parts[1], parts[2] if len(parts) == 3 else ""
        if not target.startswith("/"):
            message = f"target {show(target)} is not an absolute path of the container"
            raise Mistake(
                message,
                hint="`SOURCE:/TARGET`",
            )
        return _volume(source, _target(target), options, directory)

    return read


def _target(target: str) -> str:
    """Tidy the target; `..` is left for the check, which refuses it."""
    return target if ".." in target.split("/") else clean(target)


def _volume(source: str, target: str, options: str, directory: str) -> Volume:
    kind = _kind(source)
    read_only, size, mode = False, None, None
    seen: set[str] = set()
    for option in options.split(",") if options else ():
        key, has_value, value = option.partition("=")
        if key in seen or {key, *seen} >= {"ro", "rw"}:
            message = f"option {show(key)} contradicts or repeats another"
            raise Mistake(message)
        seen.add(key)
        match key, bool(has_value):
            case (("ro" | "rw"), False):
                read_only = key == "ro"
            case "size", True if kind is VolumeKind.TMPFS:
                size = _tmpfs_size(value)
            case "mode", True if kind is VolumeKind.TMPFS:
                mode = parse_mode(value)
            case (("size" | "mode"), True):
                message = f"option {show(key)} is for tmpfs alone"
                raise Mistake(message)
            case (("size" | "mode"), False):
                message = f"option {show(key)} has no value"
                raise Mistake(message, hint="`size=16M`, `mode=1777`")
            case _:
                message = f"unknown option {show(option)}"
                raise Mistake(message, hint=did_you_mean(key, _OPTIONS))
    where = absolute(source, directory) if kind is VolumeKind.BIND else source
    return Volume(kind, target, None if kind is VolumeKind.TMPFS else where, read_only, size, mode)


def _kind(source: str) -> VolumeKind:
    if source == TMPFS:
        return VolumeKind.TMPFS
    if is_path(source):
        return VolumeKind.BIND
    if source.startswith("~"):
        message = f"{show(source)}: `~` is a shell's"
        raise Mistake(message, hint="write `${HOME}` instead")
    if VOLUME_NAME.fullmatch(source) is None:
        hint = f"a path begins with a dot or a slash, as in `./{source}`" if source else None
        message = f"{show(source)} is not a volume's name"
        raise Mistake(message, hint=hint)
    return VolumeKind.NAMED


def _tmpfs_size(value: str) -> int:
    size = parse_size(value)
    if size == 0:  # tmpfs(5): size=0 is no limit at all
        raise Mistake("a tmpfs of size `0` would have no limit", hint="such as `size=16M`")
    return size
