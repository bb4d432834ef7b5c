"""What may happen within one run of one instance, in books of our own, kept for the world.

Each promise of a policy about a run is checked when a command or an end comes: probes in their
order, a stop with its command, its grace and its kill, an end that is followed by another run.
"""

from __future__ import annotations

from collections import defaultdict
from typing import final

from anchor_supervisor.fleet.model import (
    Container,
    Fleet,
    InstanceId,
    LogProbe,
    NotifyProbe,
    Probe,
)
from anchor_supervisor.supervision.commands import RunProbe, RunStopCommand
from anchor_supervisor.supervision.events import (
    Event,
    FleetStartRequested,
    RestartRequested,
    StartRequested,
    StopRequested,
)
from anchor_supervisor.supervision.states import ExitStatus, HealthState, Phase
from anchor_supervisor.supervision.status import Status


@final
class ScheduleBook:
    """The runs of all instances that began afresh: who asked for them, and what the times allow."""

    def __init__(self, fleet: Fleet) -> None:
        """Begin with nothing asked for."""
        self._fleet = fleet
        self._began = 0.0
        self._asked: dict[InstanceId, int] = defaultdict(int)
        self._suspended: set[InstanceId] = set()

    def hear(self, event: Event, now: float, phase: Phase) -> None:
        """Take in what somebody asks for; whatever else happens asks for nothing."""
        match event:
            case StartRequested(instance=instance) | RestartRequested(instance=instance):
                if phase is Phase.UP:
                    self._suspended.discard(instance)
                    self._asked[instance] += 1
            case StopRequested(instance=instance) if phase is Phase.UP:
                self._suspended.add(instance)
            case FleetStartRequested() if phase is Phase.IDLE:
                self._began = now
            case _:
                pass

    def scheduled(self, instance: InstanceId) -> bool:
        """Whether it runs by a schedule."""
        return self._fleet.containers[instance.container].schedule is not None

    def run(self, instance: InstanceId, now: float) -> None:
        """A job begins afresh as often as its grid and its operators want it, and no more."""
        self._asked[instance] -= 1
        schedule = self._fleet.containers[instance.container].schedule
        if schedule is not None and schedule.every is not None:
            times = 1 + (now - self._began) // schedule.every
            assert self._asked[instance] + times >= 0

    def rests(self, status: Status) -> bool:
        """Whether it waits for nothing but its time, which will come."""
        rests = self.scheduled(status.instance) and status.next == "runs"
        assert not rests or status.next_at is not None
        return rests

    def check_down(self, status: Status) -> None:
        """What is down runs again where its schedule goes on, and only there."""
        if self.scheduled(status.instance):
            assert (status.next_at is None) == (status.instance in self._suspended)


@final
class RunBook:
    """One run, from its spawn to its end."""

    def __init__(self, container: Container, now: float) -> None:
        """Begin with nothing asked."""
        self.container = container
        self.began = now
        self.asking = False
        self._probe: Probe | None = None
        self._passed: set[Probe] = set()
        self._asked_at: float | None = None
        self._commanded = False

    def probe(self, command: RunProbe) -> None:
        """`startup` until it succeeds, `health` after it, and once what is asked once."""
        startup, health = self.container.startup, self.container.health
        assert self._asked_at is None, "what is being stopped is not probed"
        if startup is not None and command.probe == startup.probe:
            assert command.probe not in self._passed
        else:
            assert health is not None
            assert command.probe == health.probe
            assert startup is None or startup.probe in self._passed
        if isinstance(command.probe, LogProbe | NotifyProbe):
            assert command.probe not in self._passed
        self._probe = command.probe

    def answer(self, *, ok: bool) -> None:
        """Take in what the probe that was asked last has shown."""
        assert self._probe is not None
        if ok:
            self._passed.add(self._probe)

    def stop_command(self, command: RunStopCommand, now: float) -> None:
        """The command comes before the signal, and once."""
        assert command.command == self.container.stop.command
        assert command.timeout == self.container.stop.grace
        assert self._asked_at is None
        self._asked_at = now
        self._commanded = self.asking = True

    def signal(self, now: float) -> None:
        """The signal comes after the command has ended, where there is one, and once."""
        assert not self.asking
        assert self._commanded == (self.container.stop.command is not None)
        assert self._commanded or self._asked_at is None
        self._asked_at = now if self._asked_at is None else self._asked_at

    def kill(self, now: float, *, merciless: bool) -> None:
        """Nobody is killed before the grace is over that began with the first question."""
        self.asking = False
        if not merciless and self.container.stop.grace > 0:
            assert self._asked_at is not None
            assert now >= self._asked_at + self.container.stop.grace

    def check(self, status: Status, now: float) -> None:
        """It may still run, and is asked whether it is well as long as that is worth knowing."""
        limit, health = self.container.max_runtime, self.container.health
        assert limit is None or now < self.began + limit
        unsure = status.health in {HealthState.STARTING, HealthState.UNHEALTHY}
        if unsure or (health and not isinstance(health.probe, LogProbe | NotifyProbe)):
            assert status.next_at is not None

    def good(self, now: float) -> bool:
        """Whether a run that ends now is followed by the next at once."""
        return now - self.began >= self.container.restart.reset_after

    def is_last(self, status: ExitStatus) -> bool:
        """Whether the exit code forbids another attempt, if it ends so by itself."""
        code = status.code if status.signal is None else 128 + status.signal
        policy = self.container.restart
        if code is None:
            return False
        listed = policy.on_exit_codes
        return code in policy.never_on_exit_codes or (listed is not None and code not in listed)
