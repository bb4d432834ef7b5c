"""A machine of the test's own, and one outside of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from network_machine import OUR_ADDRESS, THEIR_ADDRESS, Machine, another_namespace, namespace, run


@pytest.fixture
def machine(nothing_left: None) -> Iterator[Machine]:
    """A machine with nothing but a loopback."""
    with another_namespace(), ExitStack() as owned:
        run("ip", "link", "set", "lo", "up")
        tested = Machine(owned)
        owned.callback(tested.network.down)
        yield tested


@pytest.fixture
def outside(machine: Machine) -> int:
    """Another machine, joined to the one under test by a cable; packets for us go there."""
    fd = machine.own(namespace())
    ours = f"""
link add cable type veth peer name cable netns /proc/{os.getpid()}/fd/{fd}
address add {OUR_ADDRESS}/24 dev cable
link set cable up
route add default via {THEIR_ADDRESS}
"""
    theirs = f"""
address add {THEIR_ADDRESS}/24 dev cable
link set lo up
link set cable up
route add default via {OUR_ADDRESS}
"""
    run("ip", "-batch", "-", text=ours)
    run("ip", "-batch", "-", text=theirs, inside=fd)
    return fd
