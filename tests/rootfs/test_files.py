"""The generated files of /etc: their text, and how they are rewritten."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.errors import KernelError
from anchor_supervisor.rootfs.files import (
    HOSTS,
    NO_RESOLVER,
    RESOLV_CONF,
    hostname,
    hosts,
    resolv_conf,
    write_files,
)

ME = os.geteuid()


def lookup(text: str, name: str) -> str | None:
    """Answer as the resolver of hosts(5) does: the first line that has the name."""
    for line in text.splitlines():
        address, *found = line.split()
        if name in found:
            return address
    return None


def test_everybody_a_container_knows_is_found() -> None:
    """Loopback, the container itself, neighbours with aliases, and extra hosts resolve."""
    text = hosts(
        "web",
        "10.88.0.2",
        "10.88.0.3\tdb pg\n",
        {"registry": "10.0.0.5"},
    )
    assert {name: lookup(text, name) for name in ("localhost", "web", "db", "pg", "registry")} == {
        "localhost": "127.0.0.1",
        "web": "10.88.0.2",
        "db": "10.88.0.3",
        "pg": "10.88.0.3",
        "registry": "10.0.0.5",
    }
    assert "::1\tlocalhost" in text


def test_without_an_address_the_own_name_is_loopback() -> None:
    """A container without a network still finds itself."""
    assert lookup(hosts("web"), "web") == "127.0.1.1"


def test_the_hostname_is_one_line() -> None:
    """hostname(5) asks for a newline after the name."""
    assert hostname("web") == "web\n"


def test_resolvers_on_loopback_are_left_out_in_a_network_of_its_own() -> None:
    """The machine's stub resolver cannot be reached from another network namespace."""
    machine = "# a comment\nnameserver 127.0.0.53\nnameserver ::1\nnameserver 9.9.9.9\nsearch lan\n"
    assert resolv_conf(machine, own_network=True) == "nameserver 9.9.9.9\nsearch lan\n"
    assert "127.0.0.53" in resolv_conf(machine, own_network=False)


def test_no_resolver_left_is_said_in_the_file() -> None:
    """An empty list is explained to whoever looks."""
    assert resolv_conf("nameserver 127.0.0.1\n", own_network=True) == NO_RESOLVER
    assert resolv_conf("", own_network=True) == NO_RESOLVER


def test_given_resolvers_take_the_machines_place() -> None:
    """The fleet's own name server replaces the machine's; its search list stays."""
    text = resolv_conf(
        "nameserver 1.1.1.1\nsearch lan\n", own_network=True, nameservers=("10.88.0.1",)
    )
    assert text == "search lan\nnameserver 10.88.0.1\n"


@given(st.text(max_size=200))
def test_any_resolv_conf_of_the_machine_is_survived(machine: str) -> None:
    """Whatever the machine's file holds, the result has no loopback resolver and ends its lines."""
    text = resolv_conf(machine, own_network=True)
    assert text.endswith("\n")
    assert "nameserver 127." not in text


def test_a_rewritten_file_keeps_its_inode(tmp_path: Path) -> None:
    """What is mounted in a running container changes with the file, longer or shorter."""
    path = Path(write_files(str(tmp_path / "etc"), {HOSTS: "a long text\n"}, owner=ME)[HOSTS])
    before = path.stat()
    write_files(str(tmp_path / "etc"), {HOSTS: "short\n"}, owner=ME)
    assert path.read_text() == "short\n"
    assert path.stat().st_ino == before.st_ino
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    """Nothing outside is ever written."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "resolv.conf").symlink_to(victim)
    with pytest.raises(KernelError):
        write_files(str(tmp_path), {RESOLV_CONF: "x\n"}, owner=ME)
    assert victim.read_text() == "precious"


def test_a_lease_in_the_container_holds_nobody_up(tmp_path: Path) -> None:
    """Its owner may ask to be warned before anybody opens it: that would take 45 seconds."""
    path = Path(write_files(str(tmp_path / "etc"), {HOSTS: "old\n"}, owner=ME)[HOSTS])
    holder = os.open(path, os.O_RDONLY)
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    try:
        fcntl.fcntl(holder, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        with pytest.raises(KernelError) as caught:
            write_files(str(tmp_path / "etc"), {HOSTS: "new\n"}, owner=ME)
        assert caught.value.errno == errno.EAGAIN
        fcntl.fcntl(holder, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        write_files(str(tmp_path / "etc"), {HOSTS: "new\n"}, owner=ME)
    finally:
        os.close(holder)
        signal.signal(signal.SIGIO, before)
    assert path.read_text() == "new\n"
