"""How a running container is asked whether it is well, and how a command is run in it."""

from __future__ import annotations

import os
from typing import Final, final

import trio

from anchor_supervisor.fleet.model import (
    ExecProbe,
    HttpProbe,
    InstanceId,
    LogProbe,
    NotifyProbe,
    Probe,
    TcpProbe,
)
from anchor_supervisor.observability.places import log_dir
from anchor_supervisor.runtime.hold import Holds
from anchor_supervisor.runtime.inside import run_inside
from anchor_supervisor.runtime.line_watch import probe_log
from anchor_supervisor.runtime.notify_socket import probe_notify
from anchor_supervisor.runtime.run import HostRun
from anchor_supervisor.runtime.supervisor import ProbeAnswer
from anchor_supervisor.supervision.words import duration
from anchor_supervisor.values import define, field

HELD: Final = ProbeAnswer(ok=True, output="held still, so not asked; it was well before")


def crew_size() -> int:
    """As many at a time as there are processors: more only wait for the same kernel locks."""
    return max(2, os.cpu_count() or 1)


def crew() -> trio.CapacityLimiter:
    """So many threads."""
    return trio.CapacityLimiter(crew_size())


@final
@define(eq=False)
class Asking:
    """Asks runs. Everything here is done on the loop's own thread.

    One that is held still cannot answer: it is taken to be as well as it last was. Where that was
    not well, it is asked afterwards. `init` is a descriptor of our small init.
    """

    fleet: str
    init: int
    holds: Holds
    _well: set[InstanceId] = field(factory=set, init=False)  # whose last probe said so
    # Apart from the starts, which may take minutes (a root is copied): a probe has a time limit.
    _probers: trio.CapacityLimiter = field(factory=crew, init=False)

    async def probe(
        self, instance: InstanceId, run: HostRun, probe: Probe, within: float
    ) -> ProbeAnswer:
        """Ask the run once, for at most `within` seconds."""
        if instance in self._well and self.holds.holds(instance):
            return HELD
        left = await self._until_let_go(instance, within)
        self._well.discard(instance)
        answer = await self._ask(run, probe, left)
        if answer.ok and not run.ended:
            self._well.add(instance)
        return answer

    async def run_command(
        self, instance: InstanceId, run: HostRun, command: tuple[str, ...], within: float
    ) -> ProbeAnswer:
        """Run the command in the container, as a probe is; while it is held still nothing runs."""
        return await self._run_inside(run, command, await self._until_let_go(instance, within))

    def ended(self, instance: InstanceId) -> None:
        """Its run has ended: nobody holds it, and nothing is known of its next one."""
        self.holds.end(instance)
        self._well.discard(instance)

    async def _ask(self, run: HostRun, probe: Probe, within: float) -> ProbeAnswer:
        holdings = run.holdings
        match probe:
            case HttpProbe() | TcpProbe():
                from anchor_supervisor.runtime.probes import probe_port  # h11

                with trio.move_on_after(within):
                    return await probe_port(probe, holdings.sandbox.net, holdings.address)
                return ProbeAnswer(ok=False, output=f"no answer within {duration(within)}")
            case ExecProbe(command=argv):
                return await self._run_inside(run, argv, within)
            case LogProbe(pattern=pattern):
                log = log_dir(self.fleet, holdings.instance)
                return await probe_log(holdings.pump.watch, pattern, log, within)
            case NotifyProbe():
                return await probe_notify(run.notify, within)

    async def _run_inside(self, run: HostRun, argv: tuple[str, ...], within: float) -> ProbeAnswer:
        return await run_inside(run, argv, self.init, within=within, limiter=self._probers)

    async def _until_let_go(self, instance: InstanceId, within: float) -> float:
        """Wait until nobody holds the instance still; return how much of `within` is left."""
        deadline = trio.current_time() + within
        with trio.move_on_at(deadline):
            await self.holds.over(instance)
        return max(0.0, deadline - trio.current_time())
