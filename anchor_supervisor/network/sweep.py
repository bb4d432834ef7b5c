"""Take away what a fleet left on the machine, found by name alone. Doing it twice is allowed."""

from __future__ import annotations

import errno

from anchor_supervisor.network.firewall import Firewall
from anchor_supervisor.network.identity import bridge_prefix, link_group, veth_prefix
from anchor_supervisor.network.links import delete_group, delete_link, list_links
from anchor_supervisor.network.netlink import Netlink


def remove_leftovers(identity: str) -> tuple[str, ...]:
    """Remove the links and the nft table of the fleet `identity`; return what was removed.

    For when no container of it lives. Raises NetworkError; HostError without libnftables.
    """
    with Firewall(identity) as firewall:
        table = (f"nft table {firewall.name}",) if firewall.remove() else ()
    return (*remove_links(identity), *table)


def remove_links(identity: str) -> tuple[str, ...]:
    """Delete the fleet's bridges and veths, all in one message; return what there was.

    Raises NetworkError.
    """
    with Netlink() as netlink:
        links = list_links(netlink, bridge_prefix(identity), veth_prefix(identity))
        group = link_group(identity)
        if any(link.group == group for link in links):
            netlink.perform([delete_group(identity)], forgive=(errno.ENODEV,))
        # A veth goes with its other end at any moment: one that is gone is what was wanted.
        strays = [delete_link(link.name) for link in links if link.group != group]
        netlink.perform(strays, forgive=(errno.ENODEV,))
    return tuple(link.name for link in links)
