"""The wire to rtnetlink: attributes, messages, acknowledgements. Knows no fleet and no bridge.

Many messages go out in one system call, and each has its own answer (netlink(7)). Encoding is ours
because a container's start waits for it: a veth is 5 microseconds here, 350 in pyroute2, whose
codec the tests hold this one against.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Self, final

from anchor_supervisor.errors import NetworkError, SupervisionBug
from anchor_supervisor.kernel import _wire
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
_NUMBER = struct.Struct("=HHI")
_PADDING: Final = (b"", b"\0\0\0", b"\0\0", b"\0")
_TYPE_MASK = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER

# An answer takes up to 3 KiB of a receive buffer that is 208 KiB by default; a lost one (ENOBUFS)
# would be an unknown result.
_ROUND_TRIP: Final = 64
_RECEIVE = 1 << 17


@final
@frozen
class Message:
    """One request: RTM_* `kind`, NLM_F_* `flags`, its fixed part with its attributes.

    `words` say what it does, and `subject` to what: ``cannot WORDS `SUBJECT`: reason``. They are
    put together for an error alone, since there are a dozen of these in each start.
    """

    kind: int
    flags: int
    body: bytes
    words: str
    subject: object = None

    @property
    def intent(self) -> str:
        """What it does, for an error."""
        return self.words if self.subject is None else f"{self.words} `{self.subject}`"


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
        return NetworkError(f"cannot {self.message.intent}: {os.strerror(self.errno)}{detail}")


def attribute(kind: int, value: bytes) -> bytes:
    """Encode one attribute, padded to four bytes."""
    length = len(value)
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + length, kind) + value + _PADDING[length & 3]


def number(kind: int, value: int) -> bytes:
    """Encode an attribute that is a 32-bit number in the machine's order."""
    return _NUMBER.pack(_NUMBER.size, kind, value)


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
        refusal = f"cannot {message.intent}: it changed {_DUMP_ATTEMPTS} times while it was read"
        raise NetworkError(refusal)

    def _dump_once(self, message: Message) -> list[bytes] | None:
        """Return None for a list that is not of one moment."""
        self._sequence += 1
        sequence = self._sequence
        try:
            self._socket.send(encode([message], sequence, DUMP))
        except OSError as error:
            raise _failure(error) from error
        bodies: list[bytes] = []
        interrupted = False
        while True:
            for kind, flags, body in self._receive(sequence):
                interrupted |= bool(flags & _DUMP_INTERRUPTED)
                if kind not in {_ERROR, _DONE}:
                    bodies.append(body)
                    continue
                (status,) = struct.unpack_from("=i", body)
                refusal = Answer(message, -status).error() if status < 0 else None
                if refusal is not None:
                    raise refusal
                return None if interrupted else bodies

    def _round_trip(self, messages: Sequence[Message]) -> list[Answer]:
        first = self._sequence + 1
        self._sequence += len(messages)
        try:
            replies = _wire.exchange(
                self._socket.fileno(), self._sequence, encode(messages, first, ACKNOWLEDGE)
            )
        except OSError as error:
            raise _failure(error) from error
        return answers(messages, first, replies)

    def _receive(self, sequence: int) -> Iterator[tuple[int, int, bytes]]:
        """Yield kind, flags and body of each message of one datagram that answers `sequence`."""
        try:
            data, sender = self._socket.recvfrom(_RECEIVE)
        except OSError as error:
            raise _failure(error) from error
        if sender[0] != 0:
            return  # not from the kernel: who has CAP_NET_ADMIN in this namespace may write to us
        for kind, flags, answered, body in _parted(data):
            if answered == sequence:
                yield kind, flags, body


def exchange_inside(
    several: Sequence[tuple[int, Sequence[Message]]],
) -> list[list[Answer] | NetworkError]:
    """Send messages in each of these network namespaces, one round trip in each.

    A result is an error where the namespace could not be entered or talked to. Blocking; the
    thread is where it was afterwards.
    """
    requests = [
        (net_fd, len(messages), encode(messages, 1, ACKNOWLEDGE)) for net_fd, messages in several
    ]
    try:
        results = _wire.exchange_inside(*requests)
    except OSError as error:
        message = f"a thread is stuck in a container's network namespace: {error.strerror}"
        raise SupervisionBug(message) from error
    return [
        answers(messages, 1, result) if isinstance(result, bytes) else _unreachable(*result)
        for (_, messages), result in zip(several, results, strict=True)
    ]


def _unreachable(number: int, stage: int) -> NetworkError:
    doing = ("enter", "open a socket in", "talk to the kernel in")[stage]
    message = f"cannot {doing} a container's network namespace: {os.strerror(number)}"
    return NetworkError(message)


def _failure(error: OSError) -> NetworkError:
    """Return a failure of the socket itself as our error."""
    message = f"cannot talk to the kernel about links: {error.strerror}"
    return NetworkError(message)


def encode(messages: Sequence[Message], first: int, extra: int) -> bytes:
    """Number the messages from `first` on; the last alone has the flag `extra`.

    A refusal is told unasked, and in order: what the kernel has said when it acknowledges the
    last is all that it will ever say.
    """
    parts: list[bytes] = []
    last = first + len(messages) - 1
    for sequence, message in enumerate(messages, first):
        body = message.body
        flags = _REQUEST | message.flags | (extra if sequence == last else 0)
        parts.append(_HEADER.pack(_HEADER.size + len(body), message.kind, flags, sequence, 0))
        parts.append(body)
        parts.append(_PADDING[len(body) & 3])
    return b"".join(parts)


def _parted(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield kind, flags, sequence and body of each message."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size:
            return
        yield kind, flags, sequence, data[offset + _HEADER.size : offset + length]
        offset += length + (-length % 4)


def answers(messages: Sequence[Message], first: int, replies: bytes) -> list[Answer]:
    """Say what became of each message: without a word from the kernel, it succeeded."""
    if not replies:
        return [Answer(message, 0) for message in messages]
    said: dict[int, tuple[int, str]] = {}
    bodies: dict[int, bytes] = {}
    for kind, flags, sequence, body in _parted(replies):
        if kind == _ERROR:
            said[sequence] = _acknowledged(flags, body)
        else:
            bodies[sequence] = body
    return [
        Answer(message, *said.get(sequence, (0, "")), bodies.get(sequence))
        for sequence, message in enumerate(messages, first)
    ]


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


def _acknowledged(flags: int, body: bytes) -> tuple[int, str]:
    """Read an acknowledgement: an errno, and the kernel's words."""
    status, echoed = struct.unpack_from("=iI", body)
    if not flags & _HAS_ATTRIBUTES:
        return -status, ""
    echo = _HEADER.size if flags & _CAPPED else echoed + (-echoed % 4)
    words = attributes(body, 4 + echo).get(_ERROR_TEXT, b"")
    return -status, words.rstrip(b"\0").decode(errors="replace")
