"""libnftables in this process: all or nothing, and its complaints in our words."""

from __future__ import annotations

import pytest

from anchor_supervisor.errors import HostError, NetworkError
from anchor_supervisor.network import nftables
from anchor_supervisor.network.nftables import Nftables
from network_machine import Machine, run


@pytest.mark.root
def test_a_run_is_one_transaction(machine: Machine) -> None:
    """What fails in the end has done nothing in the beginning."""
    with Nftables() as nft:
        with pytest.raises(NetworkError, match=r"^cannot try: .*No such file or directory$"):
            nft.run("add table inet one\ndelete table inet two", "try")
        assert nft.run("list tables", "look") == ""
        nft.run("add table inet one", "try")
        assert nft.run("list tables", "look") == "table inet one\n"
    run("nft", "delete", "table", "inet", "one")


@pytest.mark.root
def test_a_syntax_error_is_told_in_one_line(machine: Machine) -> None:
    """The place that it points at, which nobody wrote by hand, is left out."""
    with Nftables() as nft, pytest.raises(NetworkError) as caught:
        nft.run("add table inet one two", "do it")
    assert str(caught.value).startswith("cannot do it: syntax error")
    assert "\n" not in str(caught.value)


def test_a_missing_library_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without libnftables the error says what to install."""
    monkeypatch.setattr(nftables, "LIBRARY", "libnothing.so.7")
    with pytest.raises(HostError, match=r"`libnothing\.so\.7` cannot be loaded") as caught:
        Nftables()
    assert caught.value.hint == "apt install libnftables1"
    assert caught.value.exit_code == 3


@pytest.mark.root
def test_closing_twice_is_allowed(machine: Machine) -> None:
    """A closed context is not freed again."""
    nft = Nftables()
    nft.close()
    nft.close()
    with Nftables() as other:
        assert other.run("list tables", "look") == ""
