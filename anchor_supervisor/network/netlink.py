"""The wire to rtnetlink: attributes, messages, acknowledgements. Knows no fleet and no bridge.

Many messages go out in one system call and each is acknowledged by itself (netlink(7)). Encoding
is ours because a container's start waits for it: a veth is 10 microseconds here, 350 in pyroute2,
whose codec the tests hold this one against.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, Self, final

from anchor_supervisor.errors import NetworkError
from anchor_supervisor.values import frozen

ACKNOWLEDGE, DUMP = 0x4, 0x300  # NLM_F_ACK, NLM_F_ROOT | NLM_F_MATCH
CREATE, EXCLUSIVE, REPLACE = 0x400, 0x200, 0x100  # NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE

_REQUEST = 0x1
_ERROR, _DONE = 2, 3
_CAPPED, _HAS_ATTRIBUTES = 0x100, 0x200  # NLM_F_CAPPED, NLM_F_ACK_TLVS
_ERROR_TEXT = 1  # NLMSGERR_ATTR_MSG
_DUMP_INTERRUPTED, _DUMP_ATTEMPTS = 0x10, 8

_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_NETLINK_ROUTE = 0

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_TYPE_MASK = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER

# An acknowledgement takes up to 1.3 KiB of a receive buffer that is 208 KiB by default; a lost
# one (ENOBUFS) would be an unknown result.
_ROUND_TRIP: Final = 64
_RECEIVE = 1 << 17


@final
@frozen
class Message:
    """One request: RTM_* `kind`, NLM_F_* `flags`, its fixed part with its attributes.

    `words` say what it does, for an error: ``cannot WORDS: reason``.
    """

    kind: int
    flags: int
    body: bytes
    words: str


@final
@frozen
class Answer:
    """What the kernel said to one message: `errno` 0 is success; `body` is of the reply, if any."""

    message: Message
    errno: int
    text: str = ""
    body: bytes | None = None

    def error(self) -> NetworkError | None:
        """Return the refusal as an error to raise; None where the message succeeded."""
        if not self.errno:
            return None
        detail = f" ({self.text})" if self.text else ""
        return NetworkError(f"cannot {self.message.words}: {os.strerror(self.errno)}{detail}")


def attribute(kind: int, value: bytes) -> bytes:
    """Encode one attribute, padded to four bytes."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + b"\0" * (-len(value) % 4)


def number(kind: int, value: int) -> bytes:
    """Encode an attribute that is a 32-bit number in the machine's order."""
    return attribute(kind, struct.pack("=I", value))


def text(kind: int, value: str) -> bytes:
    """Encode an attribute that is a string with its NUL."""
    return attribute(kind, value.encode() + b"\0")


def attributes(data: bytes, offset: int) -> dict[int, bytes]:
    """Decode the attributes of `data` from `offset` on; the last of a kind wins."""
    found: dict[int, bytes] = {}
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size:
            break
        found[kind & _TYPE_MASK] = data[offset + _ATTRIBUTE.size : offset + length]
        offset += length + (-length % 4)
    return found


@final
class Netlink:
    """A NETLINK_ROUTE socket, of the network namespace it was opened in; for one thread at a time.

    Owns `endpoint` where one is handed in.
    """

    def __init__(self, endpoint: socket.socket | None = None) -> None:
        """Open a socket in the calling thread's namespace, or take `endpoint`. Raises OSError."""
        self._socket = endpoint or open_socket()
        self._sequence = 0

    def __enter__(self) -> Self:
        """Close at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Close the socket; closing twice is allowed."""
        self._socket.close()

    def perform(self, messages: Sequence[Message], *, forgive: Iterable[int] = ()) -> None:
        """Send `messages`; raise the first refusal (NetworkError) whose errno is not forgiven.

        The kernel goes on after a refusal, so the later messages have been carried out.
        """
        accepted = frozenset(forgive)
        for answer in self.exchange(messages):
            error = answer.error()
            if error is not None and answer.errno not in accepted:
                raise error

    def exchange(self, messages: Sequence[Message]) -> list[Answer]:
        """Send `messages`, several a system call, and return the answer to each, in order."""
        answers: list[Answer] = []
        for start in range(0, len(messages), _ROUND_TRIP):
            answers += self._round_trip(messages[start : start + _ROUND_TRIP])
        return answers

    def dump(self, message: Message) -> list[bytes]:
        """Send a request for a list and return the body of each entry. Raises NetworkError.

        A list that changed while it was read (NLM_F_DUMP_INTR) is read again.
        """
        for _ in range(_DUMP_ATTEMPTS):
            bodies = self._dump_once(message)
            if bodies is not None:
                return bodies
        refusal = f"cannot {message.words}: it changed {_DUMP_ATTEMPTS} times while it was read"
        raise NetworkError(refusal)

    def _dump_once(self, message: Message) -> list[bytes] | None:
        """Return None for a list that is not of one moment."""
        sequence = self._send([message], DUMP)
        bodies: list[bytes] = []
        interrupted = False
        while True:
            for kind, flags, _, body in self._receive(range(sequence, sequence + 1)):
                interrupted |= bool(flags & _DUMP_INTERRUPTED)
                if kind not in {_ERROR, _DONE}:
                    bodies.append(body)
                    continue
                (status,) = struct.unpack_from("=i", body)
                error = Answer(message, -status).error() if status < 0 else None
                if error is not None:
                    raise error
                return None if interrupted else bodies

    def _round_trip(self, messages: Sequence[Message]) -> list[Answer]:
        first = self._send(messages, ACKNOWLEDGE)
        waiting = range(first, first + len(messages))
        bodies: dict[int, bytes] = {}
        answers: dict[int, Answer] = {}
        while len(answers) < len(messages):
            for kind, flags, sequence, body in self._receive(waiting):
                if kind != _ERROR:
                    bodies[sequence] = body
                    continue
                message = messages[sequence - first]
                answers[sequence] = _acknowledged(message, flags, body, bodies.get(sequence))
        return [answers[sequence] for sequence in waiting]

    def _send(self, messages: Sequence[Message], extra: int) -> int:
        """Send the messages with a number each; return the first's."""
        first = self._sequence + 1
        parts: list[bytes] = []
        for message in messages:
            self._sequence += 1
            length = _HEADER.size + len(message.body)
            flags = _REQUEST | extra | message.flags
            parts.append(_HEADER.pack(length, message.kind, flags, self._sequence, 0))
            parts.append(message.body + b"\0" * (-len(message.body) % 4))
        with _reported():
            self._socket.send(b"".join(parts))
        return first

    def _receive(self, expected: range) -> Iterator[tuple[int, int, int, bytes]]:
        """Yield kind, flags, sequence and body of each message of one datagram."""
        with _reported():
            data, sender = self._socket.recvfrom(_RECEIVE)
        if sender[0] != 0:
            return  # not from the kernel: who has CAP_NET_ADMIN in this namespace may write to us
        offset = 0
        while offset + _HEADER.size <= len(data):
            length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
            if length < _HEADER.size:
                return
            if sequence in expected:
                yield kind, flags, sequence, data[offset + _HEADER.size : offset + length]
            offset += length + (-length % 4)


@contextmanager
def _reported() -> Iterator[None]:
    """Turn a failure of the socket itself into a NetworkError."""
    try:
        yield
    except OSError as error:
        message = f"cannot talk to the kernel about links: {error.strerror}"
        raise NetworkError(message) from error


def open_socket() -> socket.socket:
    """Open a NETLINK_ROUTE socket that reports errors in words. Raises OSError."""
    endpoint = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE
    )
    try:
        for option in (_CAP_ACK, _EXT_ACK):
            endpoint.setsockopt(_SOL_NETLINK, option, 1)
    except OSError:
        endpoint.close()
        raise
    return endpoint


def _acknowledged(message: Message, flags: int, body: bytes, reply: bytes | None) -> Answer:
    status, echoed = struct.unpack_from("=iI", body)
    said: Mapping[int, bytes] = {}
    if flags & _HAS_ATTRIBUTES:
        echo = _HEADER.size if flags & _CAPPED else echoed + (-echoed % 4)
        said = attributes(body, 4 + echo)
    words = said.get(_ERROR_TEXT, b"").rstrip(b"\0").decode(errors="replace")
    return Answer(message, -status, words, reply)
