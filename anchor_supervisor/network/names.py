"""Which names a container finds in its /etc/hosts, and the addresses behind them.

Pure. The file itself is written elsewhere: this room only knows who can reach whom.
"""

from __future__ import annotations

from anchor_supervisor.fleet.model import InstanceId
from anchor_supervisor.network.plan import Endpoint, NetworkPlan

HostsLine = tuple[str, tuple[str, ...]]
"""An address and the names it has, as a line of hosts(5)."""


def hosts_lines(plan: NetworkPlan, instance: InstanceId) -> tuple[HostsLine, ...]:
    """Return a line for every instance that shares a network with `instance`, itself first.

    The names are `web.1`, then `web`, then its aliases on that network: a name with several
    replicas has several lines, which resolvers return together (getaddrinfo(3)). An instance that
    shares several networks is known by its address on the first of them.
    """
    own = plan.endpoints.get(instance, ())
    known = dict.fromkeys((instance,))
    lines = [_line(plan, instance, own[0])] if own else []
    for endpoint in own:
        for other, line in lines_of_network(plan, endpoint.network).items():
            if other not in known:
                known[other] = None
                lines.append(line)
    return tuple(lines)
