"""One nft table for a fleet: put in force, its published ports changed, taken away.

Every change is one transaction: no packet ever meets half of it.
"""

from __future__ import annotations

import socket
from pathlib import Path
from types import MappingProxyType
from typing import Final, Self, final

from anchor_supervisor.errors import NetworkError
from anchor_supervisor.network.identity import table_name
from anchor_supervisor.network.nfnetlink import delete_table, open_netfilter
from anchor_supervisor.network.nftables import Nftables
from anchor_supervisor.network.plan import NetworkPlan
from anchor_supervisor.network.ruleset import (
    Elements,
    Targets,
    change_text,
    elements,
    table_text,
)

_FORWARDING: Final = Path("/proc/sys/net/ipv4/ip_forward")


@final
class Firewall:
    """The table of the fleet `identity`. Only for one thread at a time.

    Keeps in mind which elements are in force; a new one learns that by `apply`. `name` is the
    table's, `in_force` whether this object has put it there. Keeps its netfilter sockets open
    from the first use until `close`: closing one after a change waits for an RCU grace period
    (8 ms).
    """

    def __init__(self, identity: str) -> None:
        """Touch nothing yet."""
        self._identity = identity
        self.name = table_name(identity)
        self.in_force = False
        self._elements: Elements = MappingProxyType({})
        self._nftables: Nftables | None = None
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        """Close at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Close the sockets, leave the table; usable again afterwards."""
        if self._nftables is not None:
            self._nftables.close()
        if self._socket is not None:
            self._socket.close()
        self._nftables, self._socket = None, None

    def apply(self, plan: NetworkPlan, targets: Targets) -> None:
        """Replace the whole table. Connections that pass already are not cut.

        Raises NetworkError, or HostError without libnftables; the old table is then in force.
        """
        self._run(table_text(plan, targets), f"put the table `{self.name}` in force")
        self._elements = elements(targets)
        self.in_force = True

    def set_port_targets(self, targets: Targets) -> None:
        """Lead the published ports to `targets` from now on; NetworkError: nothing changed."""
        wanted = elements(targets)
        text = change_text(self._identity, self._elements, wanted)
        if text:
            self._run(text, f"change the published ports in `{self.name}`")
        self._elements = wanted

    def remove(self) -> bool:
        """Delete the table; False where there was none. Raises NetworkError."""
        if self._socket is None:
            self._socket = open_netfilter()
        existed = delete_table(self._socket, self.name)
        self._elements = MappingProxyType({})
        self.in_force = False
        return existed

    def _run(self, text: str, words: str) -> str:
        if self._nftables is None:
            self._nftables = Nftables()
        return self._nftables.run(text, words)


def enable_forwarding(path: Path = _FORWARDING) -> bool:
    """Let this machine pass packets between interfaces (ip_forward); False where it already does.

    Never taken back: who else relies on it meanwhile cannot be known. Raises NetworkError.
    """
    try:
        if path.read_text(encoding="ascii").strip() != "0":
            return False
        path.write_text("1", encoding="ascii")
    except OSError as error:
        message = f"cannot enable IPv4 forwarding: {error.strerror}"
        raise NetworkError(message, hint="sysctl -w net.ipv4.ip_forward=1") from error
    return True
