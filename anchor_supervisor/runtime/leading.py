"""To which runs published ports lead, and from when on.

A container with a health check is led nothing before its first success: another replica would have
taken the connections that it cannot take yet. One that is about to be stopped is led nothing new.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol, final

import trio

from anchor_supervisor.errors import AnchorError
from anchor_supervisor.fleet.model import Container, InstanceId, Port, Probe
from anchor_supervisor.network.fleet_network import Lead
from anchor_supervisor.runtime.supervisor import ProbeAnswer
from anchor_supervisor.runtime.together import Together
from anchor_supervisor.values import define, field


def decisive_probe(container: Container) -> Probe | None:
    """The probe whose first success means that a run is ready; None: it is so from its start."""
    check = container.health or container.startup
    return None if check is None else check.probe


class Ports(Protocol):
    """The published ports of a fleet."""

    def lead(self, wishes: Sequence[Lead]) -> Sequence[AnchorError | None]:
        """Carry out several, in order; say what went wrong with each. Blocks."""
        ...


@final
@define(eq=False)
class Leading:
    """Leads ports and leads them away: in one transaction what comes while another is under way."""

    ports: Ports
    _together: Together[Lead] = field(init=False)
    _led: dict[InstanceId, tuple[Port, ...]] = field(factory=dict, init=False)
    _drained: set[InstanceId] = field(factory=set, init=False)
    _well: set[InstanceId] = field(factory=set, init=False)  # whose run was well once
    _turn: trio.Lock = field(factory=trio.Lock, init=False)
    _worker: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(1), init=False)

    def __attrs_post_init__(self) -> None:
        """Nobody waits yet."""
        self._together = Together(threading.Lock(), self.ports.lead)

    async def started(self, instance: InstanceId, container: Container) -> None:
        """A run has begun. Raises AnchorError where its ports cannot be led to it."""
        await self._lead(instance, container)

    async def heard(
        self, instance: InstanceId, container: Container, probe: Probe, answer: ProbeAnswer
    ) -> ProbeAnswer:
        """A run is well by this probe: its ports lead to it before anybody is told that it is.

        Where they cannot be led to it, it is not well: that is the answer then.
        """
        if instance in self._well or probe != decisive_probe(container):
            return answer
        self._well.add(instance)
        try:
            await self._lead(instance, container)
        except AnchorError as error:
            self._well.discard(instance)
            return ProbeAnswer(ok=False, output=str(error))
        return answer

    async def changed(self, instance: InstanceId, container: Container) -> None:
        """A run goes on with other ports, or another health check. Raises AnchorError."""
        await self._lead(instance, container)

    async def drain(self, instance: InstanceId) -> None:
        """Lead nothing new to it for the rest of its run."""
        self._drained.add(instance)
        await self._lead_away(instance)

    async def ended(self, instance: InstanceId) -> None:
        """Its run has ended: nothing leads to it any more."""
        self._drained.discard(instance)
        self._well.discard(instance)
        await self._lead_away(instance)

    async def _lead(self, instance: InstanceId, container: Container) -> None:
        ready = decisive_probe(container) is None or instance in self._well
        if not container.ports or not ready or instance in self._drained:
            return
        before = self._led.get(instance)
        if before == container.ports:
            return
        self._led[instance] = container.ports
        try:
            await self._ask((instance, container.ports))
        except AnchorError:
            self._led.pop(instance, None)
            if before is not None:
                self._led[instance] = before
            raise

    async def _lead_away(self, instance: InstanceId) -> None:
        if self._led.pop(instance, None) is not None:
            await self._ask((instance, None))

    async def _ask(self, wish: Lead) -> None:
        """Return once it has been carried out, by whoever had the turn."""
        ticket = self._together.put(wish)
        try:
            async with self._turn:
                if not ticket.done:
                    await trio.to_thread.run_sync(
                        self._together.serve, ticket, limiter=self._worker
                    )
        finally:
            self._together.withdraw(ticket)
        ticket.settle()
