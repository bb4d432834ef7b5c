"""Speaks to a running fleet. Standard library only: `anchor ps` must be there at once.

The framing is HTTP/1.0, a connection for each request, read by hand: `http.client` alone would
cost a third of the time that `anchor ps` may take (it imports `email` and `ssl`).
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable, Generator

from anchor_supervisor.control import protocol
from anchor_supervisor.control.address import SocketAddress
from anchor_supervisor.errors import ControlError
from anchor_supervisor.hints import TYPE_CHECKING, final

if TYPE_CHECKING:
    from typing import Any, Final

ANSWER_TIME: Final = 10.0
_MAX_HEADERS: Final = 100
_MAX_HEADER: Final = 8192


class NotRunning(ControlError):  # noqa: N818 - it is what is the case
    """Nobody answers at the fleet's control socket."""


class Interrupted(ControlError):  # noqa: N818
    """The supervisor went away before it had answered."""


class Overdue(ControlError):  # noqa: N818
    """The time that the operator had for it is over; what was asked for goes on."""


def _silent(fleet: str) -> ControlError:
    message = f"the supervisor of `{fleet}` does not answer"
    return ControlError(message, hint="it is stopped, or the machine is overloaded")


@final
class Pending:
    """A request that is under way; `result` waits for its answer."""

    def __init__(
        self, fleet: str, connection: socket.socket, deadline: float | None = None
    ) -> None:
        """Take the connection over. `deadline`: a monotonic second, for the whole answer."""
        self._fleet = fleet
        self._deadline = deadline
        self._connection = connection
        self._answer = connection.makefile("rb")

    def result(self) -> Any:  # noqa: ANN401 - JSON; the routes say which shape
        """Return the answer's value. Raises the error that the supervisor raised."""
        from anchor_supervisor.control.answers import answer_value  # while the other side works

        with self._connection, self._answer:
            status, length = self._head()
            body = self._guarded_read(-1 if length is None else length)
        if length is not None and len(body) < length:
            raise self._interrupted()
        return answer_value(self._fleet, status, body)

    def lines(self) -> Generator[Any, None, None]:
        """Yield the values of a stream of JSON lines, as they come; closing it hangs up."""
        from anchor_supervisor.control.answers import answer_value, line_value

        with self._connection, self._answer:
            status, _ = self._head()
            if status >= 400:
                answer_value(self._fleet, status, self._guarded_read(-1))
            while (line := self._guarded_readline()).endswith(b"\n"):
                yield line_value(line)

    def peer_pid(self) -> int:
        """Say which process listens, as this one numbers it (SO_PEERCRED, unix(7)); 0: unknown."""
        credentials = struct.Struct("iII")
        raw = self._connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size)
        return int(credentials.unpack(raw)[0])

    def _head(self) -> tuple[int, int | None]:
        parts = self._guarded_readline().split(b" ", 2)
        if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not parts[1].isdigit():
            raise self._interrupted()
        length = None
        for _ in range(_MAX_HEADERS):
            name, _, value = self._guarded_readline().partition(b":")
            if not name.strip():
                break
            if name.lower() == b"content-length" and value.strip().isdigit():
                length = int(value)
        return int(parts[1]), length

    def _guarded_read(self, size: int) -> bytes:
        return self._guarded(lambda: self._answer.read(size))

    def _guarded_readline(self) -> bytes:
        return self._guarded(self._answer.readline)

    def _guarded(self, read: Callable[[], bytes]) -> bytes:
        try:
            if self._deadline is not None:
                self._connection.settimeout(max(0.001, self._deadline - time.monotonic()))
            return read()
        except TimeoutError:
            if self._deadline is None:
                raise _silent(self._fleet) from None
            message = f"fleet `{self._fleet}` is not there yet"
            hint = "it goes on; ask `anchor ps` and `anchor why NAME`"
            raise Overdue(message, hint=hint) from None
        except OSError:
            return b""

    def _interrupted(self) -> Interrupted:
        return Interrupted(f"the supervisor of `{self._fleet}` ended before it had answered")


@final
class Client:
    """Knows where one fleet's supervisor listens."""

    def __init__(self, fleet: str, path: str | os.PathLike[str]) -> None:
        """Remember; nothing is connected before the first request."""
        self.fleet = fleet
        self._path = os.fspath(path)

    def get(self, path: str) -> Any:  # noqa: ANN401
        """GET, and the answer's value."""
        return self.send("GET", path).result()

    def stream(self, path: str) -> Generator[Any, None, None]:
        """GET, and the answer's lines as they come."""
        return self.send("GET", path, timeout=None).lines()

    def tell(
        self, path: str, body: object, *, patience: float | None = None
    ) -> Generator[Any, None, None]:
        """POST, and the answer's lines as they come, for at most `patience` seconds (None: ever).

        Raises Overdue then.
        """
        deadline = None if patience is None else time.monotonic() + patience
        return self.send("POST", path, body, timeout=None, deadline=deadline).lines()

    def post(self, path: str, body: object) -> Any:  # noqa: ANN401
        """POST, and the answer's value, however long it takes."""
        return self.send("POST", path, body, timeout=None).result()

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        timeout: float | None = ANSWER_TIME,
        deadline: float | None = None,
    ) -> Pending:
        """Send a request and leave the answer for later. `timeout` (seconds) is for each wait.

        `deadline` is a monotonic second, for the whole answer.

        Raises NotRunning where nobody listens, ControlError where it cannot be reached.
        """
        content = b"" if body is None else _encoded(body)
        head = (
            f"{method} {path} HTTP/1.0\r\nHost: anchor\r\n"
            f"Content-Type: {protocol.JSON_TYPE}\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        connection = self.connect(timeout)
        try:
            connection.sendall(head.encode("ascii") + content)
        except TimeoutError:
            connection.close()
            raise _silent(self.fleet) from None
        except OSError:
            pass  # turned away: the answer says why
        return Pending(self.fleet, connection, deadline)

    def connect(self, timeout: float | None = ANSWER_TIME) -> socket.socket:
        """Connect, or raise what is in the way, in words."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # Blocking, with the kernel's own timeout: a non-blocking connect to a full backlog
            # fails at once (EAGAIN, connect(2)), though the supervisor is only busy.
            if timeout is not None:
                limit = struct.pack("ll", *divmod(int(timeout * 1_000_000), 1_000_000))
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
            with SocketAddress(self._path) as address:
                connection.connect(address)
            connection.settimeout(timeout)
        except OSError as error:
            connection.close()
            raise self._unreachable(error) from None
        except BaseException:
            connection.close()
            raise
        return connection

    def _unreachable(self, error: OSError) -> ControlError:
        if isinstance(error, FileNotFoundError | ConnectionRefusedError | NotADirectoryError):
            return NotRunning(
                f"fleet `{self.fleet}` is not running", hint="start it with `anchor up -f FILE`"
            )
        if isinstance(error, PermissionError):
            hint = "run as the user who started it, or as root"
            return ControlError(f"fleet `{self.fleet}`: permission denied", hint=hint)
        if isinstance(error, BlockingIOError):
            return _silent(self.fleet)
        reason = error.strerror or str(error)
        return ControlError(f"cannot reach the supervisor of `{self.fleet}`: {reason}")


def _encoded(body: object) -> bytes:
    import json

    return json.dumps(body).encode()
