"""Take away what a fleet left on the machine, found by name alone. Doing it twice is allowed."""

from __future__ import annotations

import errno

from anchor_supervisor.network.firewall import Firewall
from anchor_supervisor.network.identity import link_group
from anchor_supervisor.network.links import delete_group, delete_link, own_links
from anchor_supervisor.network.netlink import Netlink


def remove_leftovers(identity: str) -> tuple[str, ...]:
    """Remove the links and the nft table of the fleet `identity`; return what was removed.

    For when no container of it lives. Raises NetworkError.
    """
    with Firewall(identity) as firewall:
        table = (f"nft table {firewall.name}",) if firewall.remove() else ()
    return (*remove_links(identity), *table)


def remove_links(identity: str) -> tuple[str, ...]:
    """Delete the fleet's bridges and veths, all in one message; return what there was.

    Raises NetworkError.
    """
    with Netlink() as netlink:
        links = own_links(netlink, identity)
        group = link_group(identity)
        # A veth goes with its other end at any moment: one that is gone is what was wanted. And
        # one whose bridge somebody took away is in the group all the same.
        strays = [delete_link(link.name) for link in links if link.group != group]
        netlink.perform([delete_group(identity), *strays], forgive=(errno.ENODEV,))
    return tuple(link.name for link in links)
