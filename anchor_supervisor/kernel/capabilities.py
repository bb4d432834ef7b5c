"""Capability names, numbers and masks: arithmetic only. The kernel is asked by `_spawn.c`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

NAMES: Final[tuple[str, ...]] = (
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
)
"""capabilities(7), in the order of their numbers, without CAP_."""

DEFAULT: Final[tuple[str, ...]] = (
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
)
"""What Podman grants: containers/common, pkg/config/default.go."""

ALL: Final = (1 << len(NAMES)) - 1

_NUMBERS: Final = {name: number for number, name in enumerate(NAMES)}


def mask_of(names: Iterable[str]) -> int:
    """Turn names into a mask; `ALL` is every one. Raises ValueError for an unknown name."""
    mask = 0
    for name in names:
        if name == "ALL":
            return ALL
        if name not in _NUMBERS:
            message = f"unknown capability `{name}`"
            raise ValueError(message)
        mask |= 1 << _NUMBERS[name]
    return mask


def resolve(add: Iterable[str] = (), drop: Iterable[str] = ()) -> int:
    """Turn the lists of a fleet file into a mask, starting from the default set.

    A name in both lists is dropped. `drop = ["ALL"]` empties the default set first, so that
    `add` beside it names exactly what is kept; `add = ["ALL"]` keeps all but what is dropped.
    """
    added, dropped = tuple(add), tuple(drop)
    if "ALL" in dropped:
        return mask_of(added) & ~mask_of(name for name in dropped if name != "ALL")
    return (mask_of(DEFAULT) | mask_of(added)) & ~mask_of(dropped)


def words(mask: int) -> str:
    """Name what a mask holds, for people: `all`, `none`, or names with commas."""
    if mask & ALL == ALL:
        return "all"
    named = [name for number, name in enumerate(NAMES) if mask >> number & 1]
    return ", ".join(named) or "none"
