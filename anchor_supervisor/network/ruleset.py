"""The fleet's nft table as text: what may pass, what is translated, where published ports lead.

Pure. One table of family `inet`: translation is IPv4 only, but a rule about who may pass must hold
for IPv6 as well, whatever an administrator enables on a bridge. Published ports are map elements,
never rules: a lookup stays O(1), and a change is one small transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address
from typing import Final

from anchor_supervisor.network.identity import table_name
from anchor_supervisor.network.plan import ANYWHERE, Bridge, NetworkPlan, PublishedPort

Target = tuple[IPv4Address, int]
"""A running replica's address, and its own port: while an update is under way they differ."""

Targets = Mapping[PublishedPort, tuple[Target, ...]]
"""The running replicas behind each published port; none: nobody is there."""

Elements = Mapping[tuple[str, str], str | None]
"""(map or set, key) -> value; None in a set."""

SLOTS: Final = 12
"""Shares a port with several replicas is dealt in: even among 2, 3, 4, 6 and 12 of them."""

_MAPS = """
  map published { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
  map published_anywhere { type inet_proto . inet_service : ipv4_addr . inet_service; }
  map shared {
    typeof ip daddr . meta l4proto . th dport . numgen random mod %(slots)d : ip daddr . th dport
  }
  map shared_anywhere {
    typeof meta l4proto . th dport . numgen random mod %(slots)d : ip daddr . th dport
  }
  set idle { type ipv4_addr . inet_proto . inet_service; }
  set idle_anywhere { type inet_proto . inet_service; }
"""

# Priorities: raw is before connection tracking (-200), which is before translation (-100).
#
# guard: our bridges have route_localnet, without which a port on 127.0.0.1 could not lead to a
#   container; so what arrives from elsewhere for, or from, 127.0.0.0/8 ends here, before
#   translation could make it look harmless (as in CVE-2020-8558).
# idle: a UDP flow that begins while nobody is behind its port would be tracked as untranslated,
#   and stay so for as long as its sender goes on. So it is not tracked. It is refused on its way
#   in, as a new TCP connection is: the socket that holds the port answers nobody.
_TRANSLATION = """
  chain guard {
    type filter hook prerouting priority raw; policy accept;
    iifname != "lo" ip daddr 127.0.0.0/8 drop
    iifname != "lo" ip saddr 127.0.0.0/8 drop
    jump untrack
  }
  chain local_guard {
    type filter hook output priority raw; policy accept;
    jump untrack
  }
  chain untrack {
    meta nfproto ipv4 fib daddr type local ip daddr . meta l4proto . udp dport @idle notrack
    meta nfproto ipv4 fib daddr type local meta l4proto . udp dport @idle_anywhere notrack
  }
  chain translate {
    dnat ip to ip daddr . meta l4proto . th dport map @published
    dnat ip to meta l4proto . th dport map @published_anywhere
    dnat ip to ip daddr . meta l4proto . th dport . numgen random mod %(slots)d map @shared
    dnat ip to meta l4proto . th dport . numgen random mod %(slots)d map @shared_anywhere
  }
  chain arriving {
    type nat hook prerouting priority dstnat; policy accept;
    meta nfproto ipv4 meta l4proto { tcp, udp } fib daddr type local jump translate
  }
  chain local {
    type nat hook output priority -100; policy accept;
    meta nfproto ipv4 meta l4proto { tcp, udp } fib daddr type local jump translate
  }
"""


# The first applies to TCP alone; what passes it by is UDP.
_REFUSALS = ("reject with tcp reset", "reject")


def table_text(plan: NetworkPlan, targets: Targets) -> str:
    """Return the transaction that makes the fleet's table what `plan` says, whatever it was."""
    name = f"inet {table_name(plan.identity)}"
    slots = {"slots": SLOTS}
    parts = (
        f"table {name} {{}}\ndelete table {name}\ntable {name} {{",
        _MAPS % slots,
        _TRANSLATION % slots,
        _leaving(plan.bridges.values()),
        _passing(plan.bridges.values()),
        _entering(plan.bridges.values()),
        "}\n",
        _commands("add", plan.identity, elements(targets)),
    )
    return "".join(parts)


def change_text(identity: str, old: Elements, new: Elements) -> str:
    """Return the transaction that turns the elements `old` into `new`; empty for no change."""
    gone = {key: value for key, value in old.items() if key not in new or new[key] != value}
    fresh = {key: value for key, value in new.items() if key not in old or old[key] != value}
    return _commands("delete", identity, gone) + _commands("add", identity, fresh)


def elements(targets: Targets) -> dict[tuple[str, str], str | None]:
    """Return the map and set elements that lead each published port to its targets."""
    found: dict[tuple[str, str], str | None] = {}
    for port, replicas in targets.items():
        anywhere = port.address == ANYWHERE
        suffix = "_anywhere" if anywhere else ""
        key = f"{port.protocol} . {port.port}"
        if not anywhere:
            key = f"{port.address} . {key}"
        values = [f"{address} . {inside}" for address, inside in replicas]
        if len(values) == 1:
            found["published" + suffix, key] = values[0]
        elif values:
            for slot in range(SLOTS):
                found["shared" + suffix, f"{key} . {slot}"] = values[slot % len(values)]
        else:
            found["idle" + suffix, key] = None
    return found


def _leaving(bridges: Iterable[Bridge]) -> str:
    """Translate the source of what leaves a network, and of what could not be answered else."""
    rules: list[str] = []
    for bridge in bridges:
        # From ourselves (127.0.0.1 means nothing to a container) and from the network back into
        # itself: the answer has to come back through us.
        rules.append(f'oifname "{bridge.name}" ct status dnat fib saddr type local masquerade')
        rules.append(f'ip saddr {bridge.subnet} oifname "{bridge.name}" ct status dnat masquerade')
        if not bridge.internal:
            rules.append(f'ip saddr {bridge.subnet} oifname != "{bridge.name}" masquerade')
    return _chain("leaving", "type nat hook postrouting priority srcnat; policy accept;", rules)


def _passing(bridges: Iterable[Bridge]) -> str:
    """Say what may pass between interfaces, where one of them is a bridge of ours.

    The traffic within one network is switched, not forwarded; with br_netfilter loaded it comes
    by here all the same, with the same interface on both sides.
    """
    everyone = list(bridges)
    ours = _names(everyone)
    internal = _names(one for one in everyone if one.internal)
    rules: list[str] = []
    if everyone:
        rules += [
            f"iifname != {ours} oifname != {ours} accept",
            "ct state established,related accept",
            *(f'iifname "{one.name}" oifname "{one.name}" accept' for one in everyone),
            *([f"iifname {internal} drop"] if internal else []),
            f"oifname {ours} ct status dnat accept",
            f"oifname {ours} drop",
        ]
    return _chain("passing", "type filter hook forward priority filter; policy accept;", rules)


def _entering(bridges: Iterable[Bridge]) -> str:
    """Say what may come to this machine itself: no way out is none through our services either."""
    internal = _names(one for one in bridges if one.internal)
    rules = [
        *([f"iifname {internal} ct state established,related accept"] if internal else []),
        *([f"iifname {internal} drop"] if internal else []),
        *(f"ip daddr . meta l4proto . th dport @idle {refusal}" for refusal in _REFUSALS),
        *(
            f"meta nfproto ipv4 meta l4proto . th dport @idle_anywhere {refusal}"
            for refusal in _REFUSALS
        ),
    ]
    return _chain("entering", "type filter hook input priority filter; policy accept;", rules)


def _chain(name: str, kind: str, rules: Iterable[str]) -> str:
    body = "".join(f"    {line}\n" for line in (kind, *rules))
    return f"  chain {name} {{\n{body}  }}\n"


def _names(bridges: Iterable[Bridge]) -> str:
    """Return an anonymous set of interface names; empty where there is none."""
    quoted = ", ".join(f'"{bridge.name}"' for bridge in bridges)
    return f"{{ {quoted} }}" if quoted else ""


def _commands(verb: str, identity: str, several: Elements) -> str:
    """Return one command for each map or set; a deletion names the key alone."""
    grouped: dict[str, list[str]] = {}
    for (container, key), value in several.items():
        with_value = verb == "add" and value is not None
        grouped.setdefault(container, []).append(f"{key} : {value}" if with_value else key)
    table = f"inet {table_name(identity)}"
    return "".join(
        f"{verb} element {table} {container} {{ {', '.join(entries)} }}\n"
        for container, entries in grouped.items()
    )
