"""What has to be done inside a container's network namespace once its interfaces are there.

Everything else about it, from the loopback on, is done where the namespace is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from anchor_supervisor.errors import NetworkError
from anchor_supervisor.network.identity import inside_index
from anchor_supervisor.network.links import add_address, add_default_route, bring_up
from anchor_supervisor.network.netlink import Message, exchange_inside
from anchor_supervisor.network.plan import Endpoint


def configure(several: Sequence[tuple[int, Sequence[Endpoint]]]) -> list[NetworkError | None]:
    """Bring each namespace's interfaces up, with their addresses and the default route.

    They are there, in the order of the endpoints. A result is what went wrong there, or None.
    One round trip for each namespace; blocking.
    """
    messages = [(net_fd, _messages(endpoints)) for net_fd, endpoints in several]
    return [
        result if isinstance(result, NetworkError) else _first(a.error() for a in result)
        for result in exchange_inside(messages)
    ]


def _messages(endpoints: Sequence[Endpoint]) -> list[Message]:
    messages: list[Message] = []
    for number, one in enumerate(endpoints):
        index = inside_index(number)
        messages += [add_address(index, one.address), bring_up(index, one.interface)]
        if one.gateway is not None:
            messages.append(add_default_route(index, one.gateway))
    return messages


def _first(errors: Iterable[NetworkError | None]) -> NetworkError | None:
    return next((error for error in errors if error is not None), None)
