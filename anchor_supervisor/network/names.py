"""Which names a container finds in its /etc/hosts, and the addresses behind them.

Pure. The file itself is written elsewhere: this room only knows who can reach whom.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from attrs import define, field

from anchor_supervisor.fleet.model import InstanceId
from anchor_supervisor.network.plan import Endpoint, NetworkPlan

HostsLine = tuple[str, tuple[str, ...]]
"""An address and the names it has, as a line of hosts(5)."""


@final
@define(eq=False)
class Names:
    """The names of one plan. The lines are made once: every container of a network needs each."""

    plan: NetworkPlan
    _lines: Mapping[str, Mapping[InstanceId, HostsLine]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Write every line."""
        lines: dict[str, dict[InstanceId, HostsLine]] = {name: {} for name in self.plan.bridges}
        for instance, endpoints in self.plan.endpoints.items():
            for endpoint in endpoints:
                lines[endpoint.network][instance] = self._line(instance, endpoint)
        self._lines = lines

    def seen_by(self, instance: InstanceId) -> tuple[HostsLine, ...]:
        """Return a line for every instance that shares a network with `instance`, itself first.

        The names are `web.1`, then `web`, then its aliases on that network: a name with several
        replicas has several lines, which resolvers return together (getaddrinfo(3)). An instance
        that shares several networks is known by its address on the first of them. What an update
        adds for its own length is found by nobody but itself.
        """
        seen: dict[InstanceId, HostsLine] = {}
        for endpoint in self.plan.endpoints.get(instance, ()):
            on_network = self._lines[endpoint.network]
            seen.setdefault(instance, on_network[instance])
            for other, line in on_network.items():
                if other not in self.plan.surge:
                    seen.setdefault(other, line)
        return tuple(seen.values())

    def _line(self, instance: InstanceId, endpoint: Endpoint) -> HostsLine:
        aliases = self.plan.aliases.get((endpoint.network, instance.container), ())
        names = (str(instance), instance.container, *aliases)
        return str(endpoint.address.ip), tuple(dict.fromkeys(names))
