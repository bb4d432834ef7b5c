"""`RUN --mount=type=cache,target=/x,...`: what may be in it, and what it means.

Pure. Read twice: when the Dockerfile is read, values with a variable in them are left out; then,
expanded, once more and completely.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from typing import Any, Final

from anchor_supervisor.build.instructions import MountKind, RunMount, Sharing
from anchor_supervisor.fleet import units
from anchor_supervisor.fleet.wording import Mistake, did_you_mean, show

Expand = Callable[[str], str]

_NAMES: Final = {
    "type": "kind",
    "from": "from_",
    "source": "source",
    "src": "source",
    "target": "target",
    "dst": "target",
    "destination": "target",
    "readonly": "read_only",
    "ro": "read_only",
    "readwrite": "read_only",
    "rw": "read_only",
    "id": "id",
    "sharing": "sharing",
    "required": "required",
    "env": "env",
    "size": "size",
    "mode": "mode",
    "uid": "uid",
    "gid": "gid",
}
_SWITCHES: Final = ("readonly", "ro", "readwrite", "rw", "required")
_TRUE: Final = ("1", "t", "true")
_FALSE: Final = ("0", "f", "false")
_ONLY_FOR: Final[Mapping[str, tuple[MountKind, ...]]] = {
    "from_": (MountKind.BIND, MountKind.CACHE),
    "sharing": (MountKind.CACHE,),
    "required": (MountKind.SECRET,),
    "env": (MountKind.SECRET,),
    "size": (MountKind.TMPFS,),
    "mode": (MountKind.CACHE, MountKind.SECRET),
    "uid": (MountKind.CACHE, MountKind.SECRET),
    "gid": (MountKind.CACHE, MountKind.SECRET),
}


def read_mount(text: str, expand: Expand | None = None) -> RunMount:
    """Read the value of `--mount`. Without `expand`, what has a `$` in it is left for later."""
    given: dict[str, Any] = {}
    later = False
    for field in _fields(text):
        key, equals, value = field.partition("=")
        key = key.lower()
        if key not in _NAMES:
            message = f"a mount has no {show(key)}"
            raise Mistake(message, hint=did_you_mean(key, _NAMES))
        if not equals and key not in _SWITCHES:
            message = f"a mount's {show(key)} needs a value"
            raise Mistake(message, hint=f"`{key}=...`")
        if "$" in value:
            if key == "from":
                message = f"variables are not expanded in a mount's {show(field)}"
                raise Mistake(message, hint="give it a stage of its own: `FROM $IMAGE AS name`")
            if expand is None:
                later = True
                continue
            value = expand(value)
        given[_NAMES[key]] = _value(key, value if equals else "true")
    return _checked(text, given, complete=not later)


def _fields(text: str) -> list[str]:
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        message = f"{show(text)} is not a list of `key=value`"
        raise Mistake(message, hint="parted by commas, without spaces") from error
    fields = rows[0] if rows else []
    if not any(fields):
        raise Mistake("the mount is empty", hint="such as `--mount=type=cache,target=/cache`")
    return [field for field in fields if field]


def _value(key: str, value: str) -> object:
    match key:
        case "type":
            return _kind(value)
        case "sharing":
            return Sharing(_one_of([member.value for member in Sharing], value))
        case "readonly" | "ro" | "required":
            return _switch(key, value)
        case "readwrite" | "rw":
            return not _switch(key, value)
        case "size":
            return units.parse_size(value)
        case "mode":
            return units.parse_mode(value)
        case "uid" | "gid":
            return units.parse_id(value)
        case _:
            if not value:
                message = f"a mount's `{key}` is empty"
                raise Mistake(message)
            return value


def _kind(value: str) -> MountKind:
    if value.lower() == "ssh":
        raise Mistake("mounts of type `ssh` are not supported yet", hint="`type=secret` for a key")
    return MountKind(_one_of([member.value for member in MountKind], value))


def _one_of(known: list[str], value: str) -> str:
    if value.lower() not in known:
        listed = ", ".join(f"`{name}`" for name in known)
        message = f"{show(value)} is none of {listed}"
        raise Mistake(message, hint=did_you_mean(value.lower(), known))
    return value.lower()


def _switch(key: str, value: str) -> bool:
    if value.lower() not in (*_TRUE, *_FALSE):
        message = f"a mount's `{key}` is `true` or `false`, not {show(value)}"
        raise Mistake(message)
    return value.lower() in _TRUE


def _checked(text: str, given: dict[str, Any], *, complete: bool) -> RunMount:
    """Check what only the whole of it can tell; not yet, where a part is still unknown."""
    kind = given.get("kind", MountKind.BIND)
    # A cache and a tmpfs are there to be written to.
    given.setdefault("read_only", kind in (MountKind.BIND, MountKind.SECRET))
    mount = RunMount(text, **given)
    if not complete:
        return mount
    for name, kinds in _ONLY_FOR.items():
        if name in given and kind not in kinds:
            message = f"a mount of type `{kind}` has no `{name.removesuffix('_')}`"
            raise Mistake(message)
    if kind is MountKind.SECRET:
        if not (mount.id or mount.source or mount.target or mount.env):
            raise Mistake("a secret needs an `id`", hint="such as `type=secret,id=token`")
        if mount.id and mount.source:
            raise Mistake("a secret has an `id` or a `source`, not both")
    elif mount.target is None:
        message = f"a mount of type `{kind}` needs a `target`"
        raise Mistake(message)
    return mount
