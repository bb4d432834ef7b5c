"""Published ports, held on the machine for the fleet's life by sockets that serve nobody.

Translation happens before a socket is looked for, so a published port needs none. But without one
two fleets, or a fleet and an ordinary server, could both have the port and not know. A held TCP
port listens, so that it conflicts with everybody and `ss -l` shows who has it; a filter drops
whatever would reach the socket, and the firewall refuses connections while nobody is behind it.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable
from contextlib import suppress
from typing import Final, final

from anchor_supervisor.errors import NetworkError
from anchor_supervisor.network.plan import ANYWHERE, PublishedPort

_KINDS: Final = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}

_SO_ATTACH_FILTER = 26
_DROP_ALL = struct.pack("=HBBI", 0x06, 0, 0, 0)  # struct sock_filter: BPF_RET | BPF_K, 0 bytes


@final
class Reservations:
    """The ports that one fleet holds. Only for one thread at a time."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._held: dict[PublishedPort, socket.socket] = {}

    def hold(self, ports: Iterable[PublishedPort]) -> None:
        """Hold exactly `ports`: take what is missing, then let go of the rest.

        Raises NetworkError for a port that is in use; what was held before is held still.
        """
        wanted = {_place(port): port for port in ports}
        held = {_place(port) for port in self._held}
        missing = [port for place, port in wanted.items() if place not in held]
        gone = [port for port in self._held if _place(port) not in wanted]
        # 127.0.0.1:80 goes before 0.0.0.0:80 comes: to the kernel they are two strangers'.
        yielded = [port for port in gone if any(_collide(port, other) for other in missing)]
        self._let_go(yielded)
        taken: dict[PublishedPort, socket.socket] = {}
        try:
            for port in missing:
                taken[port] = reserve(port)
        except NetworkError:
            _close(taken.values())
            for port in yielded:
                with suppress(NetworkError):  # somebody was quicker
                    self._held[port] = reserve(port)
            raise
        self._let_go(gone)
        self._held |= taken

    def strange(self, ports: Iterable[PublishedPort]) -> tuple[PublishedPort, ...]:
        """Say which of `ports` would have to be taken, and are not in the way of what is held."""
        return tuple(port for port in ports if not any(_collide(port, held) for held in self._held))

    def release(self) -> None:
        """Let go of all."""
        self._let_go(list(self._held))

    def _let_go(self, ports: Iterable[PublishedPort]) -> None:
        _close([self._held.pop(port) for port in ports if port in self._held])


def _place(port: PublishedPort) -> tuple[str, str, int]:
    return port.protocol, str(port.address), port.port


def _collide(one: PublishedPort, other: PublishedPort) -> bool:
    """Whether one socket for each cannot be had at a time."""
    same = (one.protocol, one.port) == (other.protocol, other.port)
    return same and (one.address == other.address or ANYWHERE in (one.address, other.address))


def reserve(port: PublishedPort) -> socket.socket:
    """Hold the port with a socket and return it. Raises NetworkError where it is in use."""
    endpoint = socket.socket(socket.AF_INET, _KINDS[port.protocol] | socket.SOCK_CLOEXEC)
    try:
        _drop_everything(endpoint)
        if port.protocol == "tcp":
            # Passes over the remains (TIME_WAIT) of a server that had the port until now.
            endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        endpoint.bind((str(port.address), port.port))
        if port.protocol == "tcp":
            endpoint.listen(0)
    except OSError as error:
        endpoint.close()
        raise _refusal(port, error) from error
    return endpoint


def _drop_everything(endpoint: socket.socket) -> None:
    """Attach a filter that lets no packet through: socket(7), SO_ATTACH_FILTER."""
    import ctypes  # for who publishes ports

    program = ctypes.create_string_buffer(_DROP_ALL)
    described = struct.pack("@HP", 1, ctypes.addressof(program))  # struct sock_fprog
    endpoint.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)


def _refusal(port: PublishedPort, error: OSError) -> NetworkError:
    what = f"container `{port.container}`: port `{port}`"
    if error.errno == errno.EADDRINUSE:
        hint = f"stop what uses it (`ss -lp 'sport = {port.port}'`), or publish another port"
        return NetworkError(f"{what} is in use", hint=hint)
    if error.errno == errno.EADDRNOTAVAIL:
        message = f"{what}: this machine has no address `{port.address}`"
        return NetworkError(message, hint="publish on 127.0.0.1 or 0.0.0.0, or add the address")
    return NetworkError(f"{what} cannot be held: {error.strerror}")


def _close(endpoints: Iterable[socket.socket]) -> None:
    for endpoint in endpoints:
        endpoint.close()
