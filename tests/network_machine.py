"""Machines made of network namespaces: the one under test, and another at the end of a cable.

The test's own thread moves into a namespace of its own, so that it is the machine: what the
product does there, what it starts, and what the test looks at. Nothing of it survives the test.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final, final

from anchor_supervisor.fleet.model import (
    Attachment,
    Container,
    Fleet,
    Image,
    ImageKind,
    InstanceId,
    Network,
    Port,
)
from anchor_supervisor.kernel import libc
from anchor_supervisor.kernel.namespaces import CLONE_NEWNET, create_sandbox, socket_in_namespace
from anchor_supervisor.network.fleet_network import FleetNetwork, used_networks
from anchor_supervisor.network.plan import NetworkPlan, plan_network

IDENTITY: Final = "0c1d2e3"
OUR_ADDRESS: Final = "203.0.113.1"
THEIR_ADDRESS: Final = "203.0.113.2"
SOON: Final = 5.0
"""Seconds in which what is allowed has happened."""
NEVER: Final = 0.3
"""Seconds after which what is silently dropped is taken not to come; a packet needs far less."""

HOST_IMAGE: Final = Image(ImageKind.HOST, "host")


def container(
    name: str,
    *ports: Port,
    networks: dict[str, Attachment] | None = None,
    replicas: int = 1,
) -> Container:
    """A container of which only what the network sees is of interest."""
    return Container(name, HOST_IMAGE, ports=ports, networks=networks or {}, replicas=replicas)


def fleet(*containers: Container, networks: tuple[Network, ...] = ()) -> Fleet:
    """A fleet of these containers."""
    return Fleet("shop", {one.name: one for one in containers}, {one.name: one for one in networks})


def planned(wanted: Fleet, *, after: NetworkPlan | None = None, fixed: bool = False) -> NetworkPlan:
    """Plan a fleet for this machine; `after` an earlier plan that is in force."""
    leases = after.leases if after is not None else {}
    return plan_network(wanted, IDENTITY, used_networks(IDENTITY), leases, fixed=fixed)


@contextmanager
def another_namespace() -> Iterator[None]:
    """Be in a new, empty network namespace for a while."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        libc.system_call("unshare", CLONE_NEWNET)
        yield
    finally:
        libc.system_call("setns", home, CLONE_NEWNET)
        os.close(home)


def namespace() -> int:
    """Make the network namespace of a container, and stay here."""
    sandbox = create_sandbox(None, network=True)
    assert sandbox.net is not None
    os.close(sandbox.ipc)
    os.close(sandbox.uts)
    return sandbox.net


def run(*command: str, inside: int | None = None, text: str = "") -> str:
    """Run a tool to look from outside, or to prepare what is not ours; return what it printed.

    `text` is its standard input.
    """
    enter = () if inside is None else ("nsenter", f"--net=/proc/self/fd/{inside}")
    return subprocess.run(
        [*enter, *command],
        check=True,
        capture_output=True,
        input=text,
        text=True,
        pass_fds=() if inside is None else (inside,),
    ).stdout


@final
class Machine:
    """The machine under test, and the instances that a test has brought up on it."""

    def __init__(self, owned: ExitStack) -> None:
        """Close everything through `owned`."""
        self._owned = owned
        self.network = FleetNetwork(IDENTITY)
        self.plan = NetworkPlan(IDENTITY)
        self.inside: dict[InstanceId, int] = {}

    def up(self, wanted: Fleet, *, publish: bool = True, fixed: bool = False) -> None:
        """Bring the fleet's networks up, and give every instance a joined namespace."""
        self.plan = planned(wanted, after=self.plan, fixed=fixed)
        self.network.up(self.plan)
        fresh = [instance for instance in self.plan.endpoints if instance not in self.inside]
        self.inside |= {instance: self.own(namespace()) for instance in fresh}
        errors = self.network.attach_many([(one, self.inside[one], self.plan) for one in fresh])
        assert not any(errors)
        if publish:
            self.network.publish(*self.plan.endpoints)

    def own(self, fd: int) -> int:
        """Close `fd` at the end."""
        self._owned.callback(os.close, fd)
        return fd

    def open(self, where: InstanceId | str | int | None, kind: int) -> socket.socket:
        """Open a socket on this machine (None), in an instance, or in a namespace."""
        if where is None:
            opened = socket.socket(socket.AF_INET, kind)
        else:
            fd = where if isinstance(where, int) else self.inside[_instance(where)]
            opened = socket_in_namespace(fd, socket.AF_INET, kind)
        opened.settimeout(SOON)
        return self._owned.enter_context(opened)

    def listen(self, where: InstanceId | str | int | None, port: int) -> socket.socket:
        """Listen on a TCP port, on all addresses there."""
        server = self.open(where, socket.SOCK_STREAM)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("0.0.0.0", port))
        server.listen()
        return server

    def connect(
        self, where: InstanceId | str | int | None, address: str, port: int, *, wait: float = SOON
    ) -> socket.socket:
        """Connect from there; OSError where it is refused, TimeoutError where nothing answers."""
        client = self.open(where, socket.SOCK_STREAM)
        client.settimeout(wait)
        client.connect((address, port))
        client.settimeout(SOON)
        return client

    def is_silent(self, where: InstanceId | str | int | None, address: str, port: int) -> bool:
        """Tell whether packets to that place vanish."""
        try:
            self.connect(where, address, port, wait=NEVER)
        except TimeoutError:
            return True
        return False

    def address(self, name: InstanceId | str) -> str:
        """Return the first address of an instance."""
        return str(self.plan.endpoints[_instance(name)][0].address.ip)


def _instance(name: InstanceId | str) -> InstanceId:
    if isinstance(name, InstanceId):
        return name
    container_name, _, replica = name.partition(".")
    return InstanceId(container_name, int(replica or 1))


def speak(client: socket.socket, server: socket.socket) -> str:
    """Send a word each way over a new connection; return the address the server saw."""
    accepted, (peer, _) = server.accept()
    accepted.settimeout(SOON)
    with accepted:
        client.sendall(b"ping")
        assert accepted.recv(4) == b"ping"
        accepted.sendall(b"pong")
        assert client.recv(4) == b"pong"
    return str(peer)
