"""What carries what containers say into their logs: one task for all of them, while they are held.

The kernel says which have said something (epoll(7), itself waited for by the loop). So a container
that is silent costs neither a task nor a wake-up, and one that is not waits for its turn.
"""

from __future__ import annotations

import select
from typing import Final, final

import trio

from anchor_supervisor.fleet.model import InstanceId
from anchor_supervisor.runtime.output import Listener, OutputPump
from anchor_supervisor.values import define, field

AT_ONCE: Final = 16
"""Chunks that are taken in before everybody else in the loop has a turn."""


@final
@define(eq=False)
class Carriers:
    """Everything here is done on the loop's own thread. `listener` hears every chunk."""

    listener: Listener
    _spoken: trio.Event = field(factory=trio.Event, init=False)
    _epoll: select.epoll | None = field(default=None, init=False)  # None: nothing is carried
    _pumps: dict[InstanceId, OutputPump] = field(factory=dict, init=False)
    _by_reader: dict[int, OutputPump] = field(factory=dict, init=False)

    def attach(self, nursery: trio.Nursery) -> None:
        """Run the task in this nursery."""
        self._epoll = select.epoll()
        nursery.start_soon(self._run, self._epoll, name="output")

    def carry(self, pump: OutputPump) -> None:
        """Carry what the pump's instance says, unless that is being done already."""
        known = self._pumps.get(pump.instance)
        if self._epoll is None or known is pump:
            return
        if known is not None:
            self._forget(known)
        self._pumps[pump.instance] = pump
        for reader in pump.readers:
            self._by_reader[reader] = pump
            self._epoll.register(reader, select.EPOLLIN)

    def end(self, instance: InstanceId) -> None:
        """Take in what the instance has said, and close its pump: nothing of it runs."""
        pump = self._pumps.pop(instance, None)
        if pump is not None:
            self._forget(pump)
            pump.close()

    def heard(self, instance: InstanceId, stream: str, data: bytes) -> None:
        """Pass a chunk on. The end of a run, which says nothing, may be told by any thread."""
        self.listener(instance, stream, data)
        if data:
            self._spoken.set()
            self._spoken = trio.Event()

    async def more(self) -> None:
        """Return when some container has said something."""
        await self._spoken.wait()

    def _forget(self, pump: OutputPump) -> None:
        for reader in pump.readers:
            del self._by_reader[reader]
            if self._epoll is not None:
                self._epoll.unregister(reader)

    async def _run(self, epoll: select.epoll) -> None:
        with epoll:
            try:
                while True:
                    await trio.lowlevel.wait_readable(epoll.fileno())
                    for reader, _ in epoll.poll(0, AT_ONCE):
                        self._by_reader[reader].read(reader)
            finally:
                self._epoll = None
