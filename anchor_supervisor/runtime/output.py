"""A container's standard output and error: two FIFOs, read into its log and to whoever listens.

The container opens each FIFO for reading and writing, so a dead supervisor neither breaks it
(no SIGPIPE: a reader is left) nor loses a line (the pipe keeps it). The supervisor does the same
for its own end: without a writer of its own it would be told of a hang-up for ever (poll(2),
POLLHUP) while no container runs.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

from anchor_supervisor.fleet.model import InstanceId
from anchor_supervisor.kernel import libc
from anchor_supervisor.kernel.handover import Handover
from anchor_supervisor.kernel.mount_steps import Given
from anchor_supervisor.observability.log_store import LogWriter
from anchor_supervisor.values import define, field

if TYPE_CHECKING:
    from anchor_supervisor.runtime.line_watch import LineWatch

STREAMS: Final = ("stdout", "stderr")
CHUNK: Final = 65536  # the default capacity of a pipe, pipe(7)
_READING: Final = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC
SMALL: Final = 4096  # where each line is looked at: no more of them at a time than the loop bears

Listener = Callable[[InstanceId, str, bytes], None]


@final
@define(eq=False)
class OutputPump:
    """Owns the FIFOs in `directory` and the read ends; `listener` sees each chunk once stored.

    An empty chunk tells it that a run has ended: a line that has no end yet will get none. `watch`
    is the present run's, and sees each chunk until it has found what it looks for.
    """

    instance: InstanceId
    directory: Path
    log: LogWriter
    listener: Listener
    watch: LineWatch | None = field(default=None, init=False)
    _paths: list[bytes] = field(factory=list, init=False)
    _readers: dict[str, int] = field(factory=dict, init=False)

    def open(self) -> None:
        """Make the FIFOs and open the read ends. Raises KernelError."""
        paths = self._paths = [libc.path_bytes(f"{self.directory}/{one}") for one in STREAMS]
        made = libc.perform(
            [
                *(("mknodat", libc.AT_FDCWD, path, stat.S_IFIFO | 0o600, 0) for path in paths),
                *(("openat", libc.AT_FDCWD, path, _READING, 0) for path in paths),
            ],
            "make the pipes in",
            str(self.directory),
        )
        self._readers = dict(zip(STREAMS, made[len(STREAMS) :], strict=True))

    def ask_ends(self, handover: Handover, uid: int, gid: int) -> tuple[Given, Given]:
        """Have the ends for a container's run opened, and give the FIFOs to its user (host ids).

        They belong to the user so that it can open /dev/stdout anew.
        """
        flags, where = os.O_RDWR | os.O_CLOEXEC, str(self.directory)
        out, err = (
            handover.ask(
                [("openat", libc.AT_FDCWD, path, flags, 0), ("fchown", reader, uid, gid)],
                "open the pipes in",
                where,
            )
            for path, reader in zip(self._paths, self._readers.values(), strict=True)
        )
        return out, err

    @property
    def readers(self) -> tuple[int, ...]:
        """The descriptors that are readable when the container has said something."""
        return tuple(self._readers.values())

    def read(self, reader: int) -> None:
        """Take what one of the readers has now, at most a chunk of it."""
        for stream, descriptor in self._readers.items():
            if descriptor == reader:
                self._read_once(stream, reader)

    def _read_once(self, stream: str, reader: int) -> bool:
        watch = self.watch
        try:
            data = os.read(reader, CHUNK if watch is None or not watch.waits else SMALL)
        except BlockingIOError:
            return False
        self.log.write(stream, data, time.time_ns())
        self.listener(self.instance, stream, data)
        if watch is not None:
            watch.feed(stream, data)
        return True

    def drain(self) -> None:
        """Take what is in the FIFOs now: after an exit, everything the container has said.

        Nothing is looked for in it any more. Bounded by the pipes' capacity, so that a process
        that outlives the run cannot hold us.
        """
        self.watch = None
        for stream, reader in self._readers.items():
            for _ in range(
                32
            ):  # 32 chunks: a pipe enlarged to 1 MiB, the largest unprivileged one, twice
                if not self._read_once(stream, reader):
                    break
            self.listener(self.instance, stream, b"")

    def close(self) -> None:
        """Close the read ends and the log."""
        self.drain()
        for reader in self._readers.values():
            os.close(reader)
        self._readers.clear()
        self.log.close()
