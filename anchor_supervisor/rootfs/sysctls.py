"""Kernel settings a container may have for itself, as steps that write them through our own /proc.

Pure. Only settings that belong to a namespace of the container pass; everything else would be the
machine's. A name is checked letter by letter, so that one key can never turn into two writes
(CVE-2022-0811).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from anchor_supervisor.errors import FleetError, Problem
from anchor_supervisor.kernel.steps import Slot, WriteBeneath
from anchor_supervisor.patterns import pattern

# namespaces(7), ipc_namespaces(7): what the ipc namespace has of its own.
OF_IPC: Final = frozenset(
    {
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    }
)
MQUEUE_PREFIX: Final = "fs.mqueue."
NETWORK_PREFIX: Final = "net."

# Lets group 0 send pings without CAP_NET_RAW (icmp(7)), which containers do not hold by default.
DEFAULTS: Final[Mapping[str, str]] = {"net.ipv4.ping_group_range": "0 0"}

_NAME: Final = pattern(r"[a-z][a-z0-9_]*(\.[A-Za-z0-9_:-]+)+")
_VALUE: Final = pattern(r"[\x20-\x7e\t]{1,1024}")


def problem(name: str, value: str, *, own_network: bool) -> str | None:
    """Say why this setting is refused; None where it is fine."""
    if _NAME.fullmatch(name) is None:
        return f"`{name}` is not the name of a kernel setting"
    if _VALUE.fullmatch(value) is None:
        return f"the value of `{name}` is not one line of plain text"
    if name.startswith(NETWORK_PREFIX):
        return None if own_network else f"`{name}` would change the machine's own network"
    if name in OF_IPC or name.startswith(MQUEUE_PREFIX):
        return None
    return f"`{name}` is the machine's, not a container's"


def sysctl_steps(
    proc: Slot, settings: Mapping[str, str], *, own_network: bool
) -> tuple[WriteBeneath, ...]:
    """One write a setting, defaults first. `proc` is a procfs of the container's own.

    Raises FleetError for a setting that is not the container's to change.
    """
    wanted = {**(DEFAULTS if own_network else {}), **settings}
    refused = [
        Problem(text, key=f"sysctls.{name}")
        for name, value in settings.items()
        if (text := problem(name, value, own_network=own_network)) is not None
    ]
    if refused:
        raise FleetError(refused)
    return tuple(
        WriteBeneath(proc, f"sys/{name.replace('.', '/')}", value) for name, value in wanted.items()
    )
