"""The NOTIFY_SOCKET that a container gets: where it says with sd_notify(3) that it is ready.

A socket of one run's own, so that nothing an earlier run said can be heard in a later one, though
who said it has ended long before it is read (as systemd-notify(1) has). It has a path, and not an
abstract name, which would need no mount: an abstract name is open to everybody in its network
namespace, which for a container on the machine's network is every user of the machine, and some
senders know no `@`. The path lies in the /dev that we make ourselves, so neither the image nor a
read-only root has to offer a place for it, and nobody outside sees the directory the socket is in.
So whoever can send is of this container, and no process has to be asked who it is.

What is sent is hostile. A file in a message is closed where the message is received; with a socket
that lingers (SO_LINGER, socket(7)) this takes as long as the sender likes. So it is received and
closed in worker threads, which nobody waits for, and never in the loop's.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, final

import trio

from anchor_supervisor.errors import KernelError
from anchor_supervisor.fleet.wording import printable
from anchor_supervisor.runtime.supervisor import ProbeAnswer
from anchor_supervisor.values import define, field, frozen

TARGET: Final = "/dev/anchor-notify"
"""Where the container finds it: the value of NOTIFY_SOCKET."""

FILE: Final = "notify"
MOST: Final = 4096  # bytes of a message, as systemd has it; a longer one is passed over
BATCH: Final = 16  # messages read at a time; a socket holds 11 (net.unix.max_dgram_qlen)
PAUSE: Final = 0.02  # seconds after a batch: a container that floods us waits, and we do not
PATIENCE: Final = 1.0  # seconds that a close is waited for


@final
@frozen
class Notice:
    """What one message says that matters here; the rest of sd_notify(3) is passed over."""

    ready: bool = False
    status: str | None = None


def read_notice(message: bytes) -> Notice:
    """Read the `NAME=VALUE` lines of one message; the last of a name counts."""
    if len(message) > MOST:
        return Notice()
    lines = message.decode(errors="replace").split("\n")
    values = dict(line.partition("=")[::2] for line in lines)
    status = values.get("STATUS")
    return Notice(values.get("READY") == "1", None if status is None else printable(status))


@final
@define(eq=False)
class NotifySocket:
    """One run's socket. `ready` once it has said READY=1; `status` is the last that it told."""

    _socket: socket.socket
    ready: trio.Event = field(factory=trio.Event, init=False)
    status: str | None = field(default=None, init=False)
    _scope: trio.CancelScope = field(factory=trio.CancelScope, init=False)
    _reading: threading.Lock = field(factory=threading.Lock, init=False)
    # Its own: who is held up by a hostile file holds up nobody else.
    _limiter: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(1), init=False)

    async def listen(self) -> None:
        """Hear what the run says, until `close`."""
        with self._scope:
            while True:
                await trio.lowlevel.checkpoint_if_cancelled()  # it may be closed already
                await trio.lowlevel.wait_readable(self._socket)
                messages = await trio.to_thread.run_sync(
                    self._receive, abandon_on_cancel=True, limiter=self._limiter
                )
                for message in messages:
                    self._hear(read_notice(message))
                await trio.sleep(PAUSE)

    def _receive(self) -> list[bytes]:
        """Take what is there. Without room for them, the files in a message are closed at once."""
        messages: list[bytes] = []
        with self._reading, suppress(OSError):  # BlockingIOError: no more, or it was closed
            while len(messages) < BATCH:
                messages.append(self._socket.recv(MOST + 1))
        return messages

    def _hear(self, notice: Notice) -> None:
        self.status = notice.status if notice.status is not None else self.status
        if notice.ready:
            self.ready.set()

    async def close(self) -> None:
        """Hear nothing more, and close; where a file of the container's holds that up, later."""
        self._scope.cancel()
        with trio.move_on_after(PATIENCE, shield=True):
            await trio.to_thread.run_sync(
                self._close, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1)
            )

    def abandon(self) -> None:
        """Close without a loop, for the very end."""
        closing = threading.Thread(target=self._close, daemon=True)
        closing.start()
        closing.join(PATIENCE)

    def _close(self) -> None:
        """Never while another thread reads: the number of its descriptor may be another's then."""
        with self._reading:
            self._socket.close()


def open_notify_socket(directory: Path) -> tuple[NotifySocket, Path]:
    """Make a new socket in `directory`, which only root can reach, in place of an earlier run's.

    Everybody who sees it may write to it: it is mounted into one container alone. Raises
    KernelError.
    """
    path = directory / FILE
    with ExitStack() as opened:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        opened.callback(made.close)
        try:
            folder = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                path.unlink(missing_ok=True)
                made.bind(f"/proc/self/fd/{folder}/{FILE}")  # unix(7): at most 107 bytes
            finally:
                os.close(folder)
            path.chmod(0o666)
        except OSError as error:
            raise KernelError(error.errno or 0, "make the notify socket", str(path)) from error
        opened.pop_all()
        return NotifySocket(made), path


async def probe_notify(heard: NotifySocket | None, within: float) -> ProbeAnswer:
    """Healthy once the run has said READY=1, however long ago; waits for it `within` seconds.

    None: the run began without a socket, when no probe asked for one.
    """
    with trio.move_on_after(within):
        if heard is not None:
            await heard.ready.wait()
            return ProbeAnswer(ok=True, output=_words("READY=1", heard.status))
        await trio.sleep_forever()
    if heard is None:
        return ProbeAnswer(ok=False, output="this run has no NOTIFY_SOCKET yet: restart it")
    return ProbeAnswer(ok=False, output=_words("no READY=1 yet", heard.status))


def _words(what: str, status: str | None) -> str:
    return what if status is None else f"{what}; its status: {status}"
