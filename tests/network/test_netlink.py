"""The wire: our bytes are those of another encoder, and every answer belongs to its message."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.errors import NetworkError
from anchor_supervisor.network.links import bring_up, delete_link, find_link, index_of
from anchor_supervisor.network.netlink import (
    Message,
    Netlink,
    attribute,
    attributes,
    number,
    open_socket,
    text,
)
from network_machine import Machine, run


@given(st.dictionaries(st.integers(1, 0x3FFF), st.binary(max_size=40), max_size=8))
def test_attributes_are_read_back(several: dict[int, bytes]) -> None:
    """What was encoded one after the other is decoded, whatever the padding."""
    encoded = b"".join(attribute(kind, value) for kind, value in several.items())
    assert len(encoded) % 4 == 0
    assert attributes(b"head" + encoded, 4) == several


@given(st.binary(max_size=64))
def test_any_bytes_are_decoded_to_an_end(data: bytes) -> None:
    """Decoding stops at what makes no sense, without an error and without going round."""
    assert sum(len(value) for value in attributes(data, 0).values()) <= len(data)


def test_numbers_and_text_are_as_the_kernel_wants_them() -> None:
    """Numbers are 32 bits; text ends with a NUL and is padded after it."""
    assert attributes(number(1, 7), 0) == {1: (7).to_bytes(4, "little")}
    assert text(2, "eth0") == b"\x09\x00\x02\x00eth0\x00\x00\x00\x00"


@pytest.mark.root
def test_each_message_has_its_own_answer(machine: Machine) -> None:
    """A refusal in the middle stops nothing after it, over several round trips."""
    messages = [find_link("lo" if count % 3 else "nothing") for count in range(200)]
    with Netlink() as netlink:
        answers = netlink.exchange(messages)
    assert len(answers) == 200
    assert [answer.message for answer in answers] == messages
    expected = [0 if count % 3 else errno.ENODEV for count in range(200)]
    assert [answer.errno for answer in answers] == expected
    assert index_of(answers[1]) == 1
    with pytest.raises(NetworkError, match="cannot find the interface `nothing`: No such device"):
        index_of(answers[0])


@pytest.mark.root
def test_perform_raises_the_first_refusal_and_carries_out_the_rest(machine: Machine) -> None:
    """The error is the first; what was asked after it has been done; forgiven errors are none."""
    run("ip", "link", "add", "spare", "type", "bridge")
    messages = [delete_link("first"), delete_link("second"), delete_link("spare")]
    with Netlink() as netlink:
        with pytest.raises(NetworkError, match="cannot delete `first`: No such device"):
            netlink.perform(messages)
        assert "spare" not in run("ip", "link")
        netlink.perform(messages, forgive=[errno.ENODEV])


@pytest.mark.root
def test_the_kernels_own_words_are_kept(machine: Machine) -> None:
    """An extended acknowledgement explains what a bare errno does not."""
    too_long = Message(16, 0x400, b"\0" * 16 + text(3, "a" * 16), "make a link")
    with Netlink() as netlink, pytest.raises(NetworkError, match=r"cannot make a link: .* \(.+\)"):
        netlink.perform([too_long])


@pytest.mark.root
def test_a_list_that_is_refused_is_an_error(machine: Machine) -> None:
    """A dump that the kernel will not give raises, and does not wait for ever."""
    with Netlink() as netlink, pytest.raises(NetworkError, match="cannot list nonsense"):
        netlink.dump(Message(9999, 0, b"\0" * 16, "list nonsense"))


@pytest.mark.root
def test_only_the_kernel_is_believed(machine: Machine) -> None:
    """A message that some program sends to our socket is passed over."""
    ours = open_socket()
    with Netlink(ours) as netlink, open_socket() as theirs:
        netlink.exchange([find_link("lo")])
        port, _ = ours.getsockname()
        # An acknowledgement of the next request, refusing it.
        forged = b"\x24\0\0\0\x02\0\0\0\x02\0\0\0\0\0\0\0" + b"\xff" * 4 + b"\0" * 16
        theirs.sendto(forged, (port, 0))
        netlink.perform([bring_up(1, "lo")])


@pytest.mark.root
def test_a_socket_that_fails_is_a_network_error(machine: Machine) -> None:
    """Trouble with the socket itself comes as our error, not as a bare OSError."""
    ours = open_socket()
    ours.close()
    with pytest.raises(NetworkError, match="cannot talk to the kernel about links"):
        Netlink(ours).exchange([find_link("lo")])
