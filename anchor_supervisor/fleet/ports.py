"""One entry of `ports`: `8080:80`, `0.0.0.0:443:443`, `53:53/udp`, `8000-8002:80-82`."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Final

from anchor_supervisor.fleet.model import Port
from anchor_supervisor.fleet.values import plain
from anchor_supervisor.fleet.wording import Mistake, show
from anchor_supervisor.patterns import pattern

DEFAULT_ADDRESS: Final = "127.0.0.1"
PROTOCOLS: Final = ("tcp", "udp")
LARGEST_PORT: Final = 65535
MOST_PORTS: Final = 1024  # of one container
_RANGE: Final = pattern(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


def ports(value: object) -> tuple[Port, ...]:
    """Accept one entry; a range gives a port for each of its numbers."""
    entry = plain(value)
    if entry.startswith("["):
        message = f"{show(entry)}: publishing on IPv6 is not supported yet"
        raise Mistake(message)
    numbers, slash, protocol = entry.partition("/")
    if slash and protocol not in PROTOCOLS:
        message = f"protocol {show(protocol)} is neither `tcp` nor `udp`"
        raise Mistake(message)
    parts = numbers.split(":")
    if len(parts) == 1:
        message = f"{show(entry)} has no host port: one chosen freely is not supported yet"
        raise Mistake(
            message,
            hint=f'`"{entry}:{entry}"` for the same port on this machine' if parts[0] else None,
        )
    if len(parts) > 3:
        message = f"{show(entry)} is not `[ADDRESS:]HOST_PORT:CONTAINER_PORT[/PROTOCOL]`"
        raise Mistake(message)
    address = parts[0] if len(parts) == 3 else DEFAULT_ADDRESS
    host, inside = _range(parts[-2], entry), _range(parts[-1], entry)
    if len(host) != len(inside):
        message = f"{show(entry)} has {len(host)} ports on this machine for {len(inside)} inside"
        raise Mistake(message)
    if len(host) > MOST_PORTS:
        message = f"{show(entry)} is more than {MOST_PORTS} ports"
        raise Mistake(message)
    return tuple(
        Port(_address(address), outer, inner, protocol or PROTOCOLS[0])
        for outer, inner in zip(host, inside, strict=True)
    )


def port(value: object) -> int:
    """Accept one port number: 1 to 65535."""
    number = plain(value)
    found = _range(number, number)
    if len(found) != 1:
        message = f"{show(number)} is not one port"
        raise Mistake(message)
    return found[0]


def _range(text: str, entry: str) -> range:
    found = _RANGE.fullmatch(text)
    if found is None:
        message = f"{show(entry)}: {show(text)} is not a port"
        raise Mistake(message)
    first, last = int(found.group(1)), int(found.group(2) or found.group(1))
    if not 1 <= first <= LARGEST_PORT or not 1 <= last <= LARGEST_PORT:
        message = f"{show(entry)}: {show(text)} is not between 1 and {LARGEST_PORT}"
        raise Mistake(message)
    if last < first:
        message = f"{show(entry)}: {show(text)} runs backwards"
        raise Mistake(message)
    return range(first, last + 1)


def _address(text: str) -> str:
    try:
        return str(IPv4Address(text))
    except ValueError:
        hint = "`127.0.0.1`" if text == "localhost" else "an IPv4 address in numbers"
        message = f"{show(text)} is not an address of this machine"
        raise Mistake(message, hint=hint) from None
