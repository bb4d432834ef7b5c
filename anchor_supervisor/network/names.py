"""Which names a container finds in its /etc/hosts, and the addresses behind them.

Pure. The file itself is written elsewhere: this room only knows who can reach whom.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate, pairwise
from typing import final

from anchor_supervisor.fleet.model import InstanceId
from anchor_supervisor.network.plan import Endpoint, NetworkPlan
from anchor_supervisor.values import define, field, frozen


@final
@frozen
class Seen:
    """What one instance finds, as lines of hosts(5): `own`, then everybody's but that.

    `everybody` is one text for all who are on the same networks, and the instance's own line is
    in it from `start` to `stop`: a text for each of a thousand would be a thousand times as long.
    """

    address: str
    own: str = field(repr=False)
    everybody: str = field(repr=False)
    start: int
    stop: int

    @property
    def lines(self) -> str:
        """A line for every instance within reach, the own one first."""
        return self.own + self.everybody[: self.start] + self.everybody[self.stop :]


@final
@frozen
class _Neighbourhood:
    """Everybody on some networks: the text, and where in it each one's line is."""

    text: str
    places: Mapping[InstanceId, tuple[int, int]]


@final
@define(eq=False)
class Names:
    """The names of one plan. The lines are made once, and joined once for each set of networks."""

    plan: NetworkPlan
    _lines: Mapping[str, Mapping[InstanceId, str]] = field(init=False)
    _neighbourhoods: Mapping[tuple[str, ...], _Neighbourhood] = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Write every line."""
        lines: dict[str, dict[InstanceId, str]] = {name: {} for name in self.plan.bridges}
        for instance, endpoints in self.plan.endpoints.items():
            for endpoint in endpoints:
                lines[endpoint.network][instance] = self._line(instance, endpoint)
        self._lines = lines
        together = {_networks(endpoints) for endpoints in self.plan.endpoints.values()}
        self._neighbourhoods = {networks: self._neighbourhood(networks) for networks in together}

    def seen_by(self, instance: InstanceId) -> Seen | None:
        """Return a line for every instance that shares a network with `instance`, itself first.

        The names are `web.1`, then `web`, then its aliases on that network: a name with several
        replicas has several lines, which resolvers return together (getaddrinfo(3)). An instance
        that shares several networks is known by its address on the first of them. What an update
        adds for its own length is found by nobody but itself. None: it is on no network.
        """
        endpoints = self.plan.endpoints.get(instance)
        if not endpoints:
            return None
        around = self._neighbourhoods[_networks(endpoints)]
        own = self._lines[endpoints[0].network][instance]
        start, stop = around.places.get(instance, (0, 0))
        return Seen(str(endpoints[0].address.ip), own, around.text, start, stop)

    def _neighbourhood(self, networks: tuple[str, ...]) -> _Neighbourhood:
        found: dict[InstanceId, str] = {}
        # Twice: forth for the order, and back for whose address is known on the first network.
        for network in (*networks, *reversed(networks)):
            found |= self._lines[network]
        for added in self.plan.surge:
            found.pop(added, None)
        edges = accumulate(map(len, found.values()), initial=0)
        return _Neighbourhood(
            "".join(found.values()), dict(zip(found, pairwise(edges), strict=True))
        )

    def _line(self, instance: InstanceId, endpoint: Endpoint) -> str:
        aliases = self.plan.aliases.get((endpoint.network, instance.container), ())
        names = dict.fromkeys((str(instance), instance.container, *aliases))
        return f"{endpoint.address.ip}\t{' '.join(names)}\n"


def _networks(endpoints: tuple[Endpoint, ...]) -> tuple[str, ...]:
    return tuple(endpoint.network for endpoint in endpoints)
