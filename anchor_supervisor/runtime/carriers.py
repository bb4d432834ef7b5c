"""The tasks that carry what containers say into their logs: one an instance, while it is held."""

from __future__ import annotations

from typing import final

import trio
from attrs import field

from anchor_supervisor.fleet.model import InstanceId
from anchor_supervisor.runtime.output import Listener, OutputPump
from anchor_supervisor.values import define


@final
@define(eq=False)
class _Carrier:
    """One task, and whether it has ended."""

    pump: OutputPump
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    over: trio.Event = field(factory=trio.Event)

    async def run(self) -> None:
        """Carry until told to end."""
        try:
            with self.scope:
                await self.pump.run()
        finally:
            self.over.set()


@final
@define(eq=False)
class Carriers:
    """Everything here is done on the loop's own thread. `listener` hears every chunk."""

    listener: Listener
    _spoken: trio.Event = field(factory=trio.Event, init=False)
    _nursery: trio.Nursery | None = field(default=None, init=False)
    _carriers: dict[InstanceId, _Carrier] = field(factory=dict, init=False)

    def attach(self, nursery: trio.Nursery) -> None:
        """Run the tasks in this nursery."""
        self._nursery = nursery

    def carry(self, pump: OutputPump) -> None:
        """Carry what the pump's instance says, unless that is being done already."""
        carrier = self._carriers.get(pump.instance)
        if self._nursery is not None and (carrier is None or carrier.pump is not pump):
            carrier = self._carriers[pump.instance] = _Carrier(pump)
            self._nursery.start_soon(carrier.run, name=f"output of {pump.instance}")

    async def end(self, instance: InstanceId) -> None:
        """Take in what the instance has said, and close its pump: nothing of it runs."""
        carrier = self._carriers.pop(instance, None)
        if carrier is not None:
            carrier.scope.cancel()
            await carrier.over.wait()
            carrier.pump.close()

    def heard(self, instance: InstanceId, stream: str, data: bytes) -> None:
        """Pass a chunk on. The end of a run, which says nothing, may be told by any thread."""
        self.listener(instance, stream, data)
        if data:
            self._spoken.set()
            self._spoken = trio.Event()

    async def more(self) -> None:
        """Return when some container has said something."""
        await self._spoken.wait()
