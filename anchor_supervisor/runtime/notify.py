"""sd_notify(3): tell the service manager that started us how we are. No library: one datagram."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import final

from anchor_supervisor.fleet.wording import escaped
from anchor_supervisor.values import frozen


@final
@frozen
class Notifier:
    """Sends states to `address` (NOTIFY_SOCKET); does nothing where there is none."""

    address: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Notifier:
        """Take the address that the service manager gave."""
        return cls(environment.get("NOTIFY_SOCKET") or None)

    def send(self, *states: str) -> None:
        """Send lines such as `READY=1`. A manager that does not listen is not our failure.

        A value is one line, whatever is in it: words of an image must not be states of ours.
        """
        if self.address is None:
            return
        address = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        with (
            suppress(OSError),  # also where there is no descriptor for a socket
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender,
        ):
            sender.setblocking(False)
            sender.sendto("\n".join(map(escaped, states)).encode(), address)


def watchdog_interval(environment: Mapping[str, str]) -> float | None:
    """Half of WATCHDOG_USEC in seconds, as sd_watchdog_enabled(3) advises; None: no watchdog."""
    pid = environment.get("WATCHDOG_PID")
    if pid is not None and pid != str(os.getpid()):
        return None
    microseconds = environment.get("WATCHDOG_USEC", "")
    return int(microseconds) / 2e6 if microseconds.isdecimal() and int(microseconds) > 0 else None
