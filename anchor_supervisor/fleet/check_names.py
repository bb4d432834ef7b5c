"""Names: they become host names, file names and words of the command line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from anchor_supervisor.fleet.finding import Finding, path_of
from anchor_supervisor.fleet.model import Container, Fleet
from anchor_supervisor.fleet.mounts import TMPFS, VOLUME_NAME
from anchor_supervisor.fleet.wording import show
from anchor_supervisor.patterns import pattern

FLEET_NAME: Final = pattern(r"[a-z0-9][a-z0-9-]{0,30}")

LONGEST_NAME: Final = 58
"""`NAME-1000` has to be one label of a host name: 63 letters (RFC 1035, 2.3.4)."""

# No dot: `web.2` is the second replica of `web`. No underscore: not a letter of host names.
_NAME: Final = pattern(rf"[a-z0-9](?:[a-z0-9-]{{0,{LONGEST_NAME - 2}}}[a-z0-9])?")
_NAME_RULE: Final = f"lower-case letters, digits and inner `-`, at most {LONGEST_NAME}"

_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST_NAME: Final = pattern(rf"{_LABEL}(?:\.{_LABEL})*")
LONGEST_HOST_NAME: Final = 64  # HOST_NAME_MAX (sethostname(2))
LONGEST_DOMAIN_NAME: Final = 253  # RFC 1035, without the final dot


def name_findings(fleet: Fleet) -> Iterator[Finding]:
    """Yield every name that would not work everywhere it is used."""
    if FLEET_NAME.fullmatch(fleet.name) is None:
        yield Finding(
            "fleet.name",
            f"{show(fleet.name)} cannot name a fleet",
            "lower-case letters, digits and `-`, at most 31: write `name` in `[fleet]`",
        )
    for name, container in fleet.containers.items():
        yield from _plain_name("containers", name)
        yield from _container_names(container)
    for name in fleet.networks:
        yield from _plain_name("networks", name)
        if name in {"none", "host"}:
            message = f"{show(name)} already means something as a network"
            yield Finding(path_of("networks", name), message, "take another name")
    for name in sorted(fleet.volumes):
        if VOLUME_NAME.fullmatch(name) is None:
            hint = "letters, digits, `_`, `.` and `-`, at most 63"
            yield Finding(path_of("volumes", name), f"{show(name)} cannot name a volume", hint)
        if name == TMPFS:
            message = f"{show(name)} already means something as a volume"
            yield Finding(path_of("volumes", name), message, "take another name")


def is_host_name(text: str) -> bool:
    """Whether every label is one of a host name (RFC 1123, 2.1)."""
    return len(text) <= LONGEST_DOMAIN_NAME and _HOST_NAME.fullmatch(text) is not None


def _plain_name(table: str, name: str) -> Iterator[Finding]:
    if _NAME.fullmatch(name) is not None:
        return
    better = name.lower().replace("_", "-").replace(".", "-")
    hint = f"`{better}` would do" if _NAME.fullmatch(better) else _NAME_RULE
    yield Finding(
        path_of(table, name), f"{show(name)} cannot name a {table.removesuffix('s')}", hint
    )


def _container_names(container: Container) -> Iterator[Finding]:
    here = ("containers", container.name)
    hostname = container.hostname
    if hostname is not None and not (is_host_name(hostname) and len(hostname) <= LONGEST_HOST_NAME):
        yield Finding(
            path_of(*here, "hostname"),
            f"{show(hostname)} is not a host name",
            f"letters, digits, inner `-` and dots, at most {LONGEST_HOST_NAME}",
        )
    for network, attachment in container.networks.items():
        for alias in attachment.aliases:
            if not is_host_name(alias):
                key = path_of(*here, "networks", network, "aliases")
                yield Finding(key, f"alias {show(alias)} is not a host name")
    for name in container.extra_hosts:
        if not is_host_name(name):
            key = path_of(*here, "extra_hosts", name)
            yield Finding(key, f"{show(name)} is not a host name")
