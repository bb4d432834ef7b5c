"""One entry of `volumes`: `name:/data`, `./path:/data:ro`, `tmpfs:/run:size=16M`, `/data`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, final

from anchor_supervisor.fleet.model import Propagation, Volume, VolumeKind
from anchor_supervisor.fleet.units import parse_id, parse_mode, parse_size
from anchor_supervisor.fleet.values import absolute, clean, filled_text, is_path
from anchor_supervisor.fleet.wording import Mistake, did_you_mean, show
from anchor_supervisor.patterns import pattern
from anchor_supervisor.values import evolve, frozen

TMPFS: Final = "tmpfs"
VOLUME_NAME: Final = pattern(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")

_EVERY: Final = frozenset(VolumeKind)
_OWN: Final = frozenset({VolumeKind.NAMED, VolumeKind.ANONYMOUS})
_LASTING: Final = frozenset({VolumeKind.NAMED, VolumeKind.BIND})
_MEMORY: Final = frozenset({VolumeKind.TMPFS})
_BOUND: Final = frozenset({VolumeKind.BIND})


@final
@frozen
class _Option:
    """One word after the target: the field it sets, and for which kinds of volume.

    `value` is what a word alone sets; `read` makes it of the text after `=`.
    """

    field: str
    kinds: frozenset[VolumeKind]
    value: object = None
    read: Callable[[str], object] | None = None
    example: str = ""


def _tmpfs_size(value: str) -> int:
    size = parse_size(value)
    if size == 0:  # tmpfs(5): size=0 is no limit at all
        raise Mistake("a tmpfs of size `0` would have no limit", hint="such as `size=16M`")
    return size


def _subpath(value: str) -> str:
    if value.startswith("/") or ".." in value.split("/") or clean(f"/{value}") == "/":
        message = f"{show(value)} is not a path within the volume"
        raise Mistake(message, hint="relative and without `..`, as in `subpath=conf/web`")
    return clean(f"/{value}").lstrip("/")


_SIZE: Final = _Option("size", _MEMORY, read=_tmpfs_size, example="16M")
_MODE: Final = _Option("mode", _MEMORY, read=parse_mode, example="1777")
_SUBPATH: Final = _Option("subpath", _LASTING, read=_subpath, example="conf/web")

_OPTIONS: Final[Mapping[str, _Option]] = {
    "ro": _Option("read_only", _EVERY, True),
    "rw": _Option("read_only", _EVERY, False),
    "noexec": _Option("noexec", _EVERY, True),
    "exec": _Option("noexec", _EVERY, False),
    "nosuid": _Option("nosuid", _EVERY, True),
    "nodev": _Option("nodev", _EVERY, True),
    "nocopy": _Option("copy", _OWN, False),
    "copy": _Option("copy", _OWN, True),
    "subpath": _SUBPATH,
    "volume-subpath": _SUBPATH,
    "private": _Option("propagation", _BOUND, Propagation.PRIVATE),
    "rprivate": _Option("propagation", _BOUND, Propagation.PRIVATE),
    "slave": _Option("propagation", _BOUND, Propagation.SLAVE),
    "rslave": _Option("propagation", _BOUND, Propagation.SLAVE),
    "size": _SIZE,
    "tmpfs-size": _SIZE,
    "mode": _MODE,
    "tmpfs-mode": _MODE,
    "uid": _Option("uid", _MEMORY, read=parse_id, example="1000"),
    "gid": _Option("gid", _MEMORY, read=parse_id, example="1000"),
}

_KNOWN_ELSEWHERE: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("shared", "rshared"),
        "no mount of a container reaches the machine; `rslave` lets the machine's reach it",
    ),
    **dict.fromkeys(("z", "Z"), "SELinux labels stay as they are: leave it out"),
    "U": "owners need no change, since ids are mapped: leave it out",
    "suid": "only tmpfs has `nosuid` by itself, and keeps it",
    "dev": "a container's devices are in its /dev alone",
    **dict.fromkeys(("tmpcopyup", "notmpcopyup"), "a tmpfs begins empty: leave it out"),
    **dict.fromkeys(("bind", "rbind"), "what is mounted beneath comes along: leave it out"),
    **dict.fromkeys(
        ("cached", "delegated", "consistent"), "it changes nothing on Linux: leave it out"
    ),
}

_WHOSE: Final[Mapping[frozenset[VolumeKind], str]] = {
    _MEMORY: "is for tmpfs alone",
    _BOUND: "is for a path of this machine alone",
    _LASTING: "is for a named volume or a path of this machine",
    _OWN: "is for a named or anonymous volume",
}


def volume(directory: str) -> Callable[[object], Volume]:
    """Accept one mount; a relative source is taken from `directory`."""

    def read(value: object) -> Volume:
        entry = filled_text(value)
        parts = entry.split(":")
        if len(parts) == 1 and entry.startswith("/"):
            return Volume(VolumeKind.ANONYMOUS, _target(entry))
        if len(parts) not in {2, 3}:
            message = f"{show(entry)} is not `SOURCE:TARGET` or `SOURCE:TARGET:OPTIONS`"
            hint = "a target alone begins with a slash" if len(parts) == 1 else None
            raise Mistake(message, hint=hint)
        source, target, options = parts[0], parts[1], parts[2] if len(parts) == 3 else ""
        if not target.startswith("/"):
            message = f"target {show(target)} is not an absolute path of the container"
            raise Mistake(message, hint=_instead(source, target))
        return _with_options(_plain(source, _target(target), directory), options)

    return read


def _instead(source: str, target: str) -> str:
    """`/data:ro` is a target with options elsewhere; here options come after a source."""
    if source.startswith("/") and target.partition("=")[0].split(",")[0] in _OPTIONS:
        return f"`NAME:{source}:{target}`"
    return "`SOURCE:/TARGET`"


def _target(target: str) -> str:
    """Tidy the target; `..` is left for the check, which refuses it."""
    return target if ".." in target.split("/") else clean(target)


def _plain(source: str, target: str, directory: str) -> Volume:
    kind = _kind(source)
    if kind is VolumeKind.TMPFS:
        return Volume(kind, target)
    return Volume(kind, target, absolute(source, directory) if kind is VolumeKind.BIND else source)


def _with_options(volume: Volume, options: str) -> Volume:
    fields: dict[str, object] = {}
    for option in options.split(",") if options else ():
        key, has_value, text = option.partition("=")
        known = _OPTIONS.get(key)
        if known is None or (has_value and known.read is None):
            message = f"unknown option {show(option)}"
            raise Mistake(message, hint=_KNOWN_ELSEWHERE.get(key) or did_you_mean(key, _OPTIONS))
        if known.field in fields:
            message = f"option {show(key)} contradicts or repeats another"
            raise Mistake(message)
        if volume.kind not in known.kinds:
            message = f"option {show(key)} {_WHOSE[known.kinds]}"
            raise Mistake(message)
        if known.read is None:
            fields[known.field] = known.value
        elif text:
            fields[known.field] = known.read(text)
        else:
            message = f"option {show(key)} has no value"
            raise Mistake(message, hint=f"`{key}={known.example}`")
    return evolve(volume, **fields)  # type: ignore[arg-type]


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
