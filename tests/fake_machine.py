"""A machine that only pretends: runs are scripts in virtual time, and everything done is noted.

Speaks the protocol of `runtime.supervisor.Machine`, and checks what the loop promises it: one start
at a time, nothing is asked of an instance that does not run, and a probe only of what does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import final

import trio
from attrs import Factory, define, field, frozen

from anchor_supervisor.errors import AnchorError, HostError, KernelError
from anchor_supervisor.fleet.model import Container, InstanceId, Probe
from anchor_supervisor.runtime.supervisor import ProbeAnswer
from anchor_supervisor.supervision.states import ExitStatus

KILLED = ExitStatus(signal=9)
DONE = ExitStatus(code=0)
WELL = ProbeAnswer(ok=True, output="well")


@final
@frozen
class Script:
    """How one run goes. Times in virtual seconds; `lasts` inf: until it is told to end.

    `fails` is raised by the start instead, `breaks` by the wait. `gives_up`: a start that is
    cancelled fails. `deaf`: only a kill ends it.
    """

    starting: float = 0.0
    fails: Exception | None = None
    gives_up: bool = False
    lasts: float = math.inf
    ends: ExitStatus = DONE
    breaks: Exception | None = None
    deaf: bool = False
    probe_takes: float = 0.0
    probe: ProbeAnswer | Exception = WELL


@final
@define(eq=False)
class FakeRun:
    """One run, by its script."""

    instance: InstanceId
    script: Script
    pid: int
    log: list[str]
    _ended: trio.Event = Factory(trio.Event)
    _status: ExitStatus | None = None

    async def wait(self) -> ExitStatus:
        """Last as long as the script says, or until it is told to end."""
        with trio.move_on_after(self.script.lasts):
            await self._ended.wait()
        if self.script.breaks is not None and self._status is not KILLED:
            raise self.script.breaks
        return self._status or self.script.ends

    def signal(self, name: str) -> None:
        """End, unless the script is deaf to everything but KILL."""
        self.log.append(f"signal {self.instance} {name}")
        if name == "KILL" or not self.script.deaf:
            self.end(KILLED if name == "KILL" else ExitStatus(signal=15))

    def end(self, status: ExitStatus) -> None:
        """Let the run end in this way."""
        if self._status is None:
            self._status = status
            self._ended.set()


@final
@define(eq=False)
class FakeMachine:
    """Runs what `scripts` gives for an instance and the number of its start, from 1."""

    scripts: Callable[[InstanceId, int], Script]
    log: list[str] = Factory(list)
    alive: dict[InstanceId, FakeRun] = Factory(dict)
    starting: set[InstanceId] = Factory(set)
    starts: dict[InstanceId, int] = Factory(dict)
    made_of: dict[InstanceId, Container] = Factory(dict)
    refuses: AnchorError | None = None  # to refresh
    removing: set[InstanceId] = Factory(set)
    removal_takes: float = 0.0
    _pids: int = field(default=4000, init=False)

    async def start(self, instance: InstanceId, cancelled: Callable[[], bool]) -> FakeRun:
        """Start a run by its script; one that `fails` may do so because it was cancelled."""
        assert instance not in self.starting
        assert instance not in self.alive
        assert instance not in self.removing
        self.starts[instance] = self.starts.get(instance, 0) + 1
        script = self.scripts(instance, self.starts[instance])
        self.log.append(f"start {instance}")
        self.starting.add(instance)
        await trio.sleep(script.starting)
        self.starting.remove(instance)
        if script.fails is not None:
            raise script.fails
        if script.gives_up and cancelled():
            raise HostError("cancelled")
        self._pids += 1
        self.alive[instance] = FakeRun(instance, script, self._pids, self.log)
        return self.alive[instance]

    async def ended(self, instance: InstanceId) -> None:
        """Forget the run."""
        self.log.append(f"ended {instance}")
        self.alive.pop(instance, None)
        await trio.lowlevel.checkpoint()

    def kill(self, instance: InstanceId) -> None:
        """End the run at once."""
        run = self.alive.get(instance)
        if run is not None:
            self.log.append(f"kill {instance}")
            run.end(KILLED)
            if run.script.breaks is not None:
                del self.alive[instance]

    async def probe(self, instance: InstanceId, probe: Probe, within: float) -> ProbeAnswer:
        """Answer by the script of the present run."""
        script = self.alive[instance].script
        self.log.append(f"probe {instance}")
        await trio.sleep(min(script.probe_takes, within))
        if script.probe_takes >= within:
            return ProbeAnswer(ok=False, output=f"no answer within {within:g}s")
        if isinstance(script.probe, Exception):
            raise script.probe
        return script.probe

    async def run_stop_command(
        self, instance: InstanceId, command: tuple[str, ...], within: float
    ) -> ProbeAnswer:
        """Answer by the script of the present run, as for a probe."""
        script = self.alive[instance].script
        self.log.append(f"stop command {instance}: {' '.join(command)}")
        await trio.sleep(min(script.probe_takes, within))
        return WELL

    async def drain(self, instance: InstanceId) -> None:
        """Note it: it runs."""
        assert instance in self.alive
        self.log.append(f"drain {instance}")
        await trio.lowlevel.checkpoint()

    def reshape(self, instance: InstanceId, container: Container, *, fresh: bool) -> None:
        """Note it: nothing of it runs."""
        assert instance not in self.alive
        assert instance not in self.starting
        self.log.append(f"{'recreate' if fresh else 'reshape'} {instance}")
        self.made_of[instance] = container

    async def refresh(self, instance: InstanceId, container: Container) -> None:
        """Note it: it runs."""
        self.log.append(f"refresh {instance}")
        self.made_of[instance] = container
        await trio.lowlevel.checkpoint()
        if self.refuses is not None:
            raise self.refuses

    async def remove(self, instance: InstanceId) -> None:
        """Note it: nothing of it runs."""
        assert instance not in self.alive
        assert instance not in self.removing
        self.log.append(f"remove {instance}")
        self.made_of.pop(instance, None)
        self.removing.add(instance)
        await trio.sleep(self.removal_takes)
        self.removing.remove(instance)

    def permanent(self, error: AnchorError) -> bool:
        """Only what is not there stays so."""
        return isinstance(error, KernelError) and error.errno == 2
