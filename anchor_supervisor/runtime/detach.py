"""`--detach`: the supervisor goes on in the background, and the one who asked learns how it went.

The process forks before any thread, trio loop or descriptor of ours exists, so the child is a
whole supervisor and nothing has to be started twice. News travel to the waiting parent over a
pipe, one JSON object a line; the end of the pipe is the child's end.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, final

from anchor_supervisor.rootfs.private import make_private
from anchor_supervisor.values import define, field

# Bytes in the pipe beyond which a transition is not told: the other half of a pipe's 64 KiB
# (pipe(7)) is for the verdict, so that a parent that was stopped (Ctrl-Z) never makes us wait.
BACKLOG: Final = 32768
TOGETHER: Final = 16  # transitions in one write: far less than the other half


@final
@define
class Reporter:
    """The child's end: tells the parent, for as long as the parent listens."""

    _descriptor: int | None

    @property
    def heard(self) -> bool:
        """Whether there is anybody who waits."""
        return self._descriptor is not None

    def tell(self, **news: object) -> None:
        """Send one piece of news. A parent that went away is no failure of ours."""
        self._send([news])

    def tell_states(self, states: Sequence[Mapping[str, object]]) -> None:
        """Send what has become of instances.

        What the parent is too slow for is dropped; it waits for the verdict.
        """
        for first in range(0, len(states), TOGETHER):
            if self._descriptor is not None and _unread(self._descriptor) <= BACKLOG:
                several = states[first : first + TOGETHER]
                self._send([{"event": "state", **state} for state in several])

    def _send(self, news: Iterable[Mapping[str, object]]) -> None:
        if self._descriptor is None:
            return
        try:
            os.write(self._descriptor, _encoded(news))
        except BrokenPipeError:
            self.close()

    def close(self) -> None:
        """Let the parent go; later news are dropped."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@final
@define
class Background:
    """The parent's end: the supervisor's pid, and its news."""

    pid: int
    _descriptor: int
    _rest: bytes = field(default=b"", init=False)

    @property
    def descriptor(self) -> int:
        """Readable when there is news, or when the supervisor has ended."""
        return self._descriptor

    def read(self) -> Iterator[dict[str, Any]] | None:
        """Return the news that has come, waiting for some; None at the end of the pipe."""
        data = os.read(self._descriptor, 65536)
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        import json

        return (json.loads(line) for line in lines)

    def cancel(self) -> None:
        """Ask the supervisor to stop its fleet, and wait until it has."""
        os.kill(self.pid, signal.SIGTERM)
        os.waitpid(self.pid, 0)

    def exit_code(self) -> int:
        """Wait for the supervisor's end; its exit code, or 128+N when signal N ended it."""
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        return 128 - code if code < 0 else code


def fork_supervisor(log: Path) -> Background | Reporter:
    """Split in two: the parent gets a Background, the child (in its own session) a Reporter.

    The child's standard output and error go to the file `log`, its input is empty, and whatever
    else was open is closed: a lock or a pipe that the caller holds is none of the fleet's.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    make_private(log.parent)
    pid = os.fork()  # noqa: TID251 - the whole supervisor moves on; no container is started so
    if pid:
        os.close(writer)
        import json  # noqa: F401 - what the news comes in, while there is none

        return Background(pid, reader)
    os.close(reader)
    os.setsid()
    os.chdir("/")  # not to keep the caller's file system from being unmounted
    _redirect(log)
    os.closerange(3, writer)
    os.closerange(writer + 1, os.sysconf("SC_OPEN_MAX"))
    return Reporter(writer)


def _encoded(news: Iterable[Mapping[str, object]]) -> bytes:
    import json  # for who has somebody to tell

    return "".join([json.dumps(one) + "\n" for one in news]).encode()


def _unread(pipe: int) -> int:
    import fcntl
    import struct
    import termios

    return int(struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0])


def _redirect(log: Path) -> None:
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(null)
    os.close(output)
