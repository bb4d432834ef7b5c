"""Tell a core a story and read what it wants done: the language of the supervision tests.

Time is virtual: a story moves it. Commands are answered by the story alone, so nothing happens
that a test does not say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, final

from attrs import evolve

from anchor_supervisor.fleet.model import (
    Condition,
    Container,
    Fleet,
    Health,
    Image,
    ImageKind,
    InstanceId,
    Kind,
    OnUnhealthy,
    RestartPolicy,
    RestartWhen,
    StopPolicy,
    TcpProbe,
)
from anchor_supervisor.supervision.commands import Command, Report, Spawn, UpdateEnded, UpdateResult
from anchor_supervisor.supervision.core import Core
from anchor_supervisor.supervision.events import (
    Event,
    Exited,
    FleetChanged,
    FleetStartRequested,
    ProbeFinished,
    Spawned,
    Tick,
)
from anchor_supervisor.supervision.states import ExitStatus, HealthState, State
from anchor_supervisor.supervision.status import Status

HOST: Final = Image(ImageKind.HOST, "host")
PROBE: Final = TcpProbe(80)
ALWAYS: Final = RestartPolicy(when=RestartWhen.ALWAYS)
NEVER: Final = RestartPolicy(when=RestartWhen.NO)
STOP: Final = StopPolicy(signal="TERM", grace=10.0)
STEADY: Final = RestartPolicy(delay=1.0, jitter=0.0)
"""On failure, after 1, 2, 4, ... seconds exactly."""


def policy(
    when: RestartWhen = RestartWhen.ON_FAILURE, *, delay: float = 1.0, most: int | None = None
) -> RestartPolicy:
    """Make a restart policy without jitter, so that a story can name the moments."""
    return RestartPolicy(when=when, delay=delay, jitter=0.0, max=most)


def health(
    *,
    interval: float = 5.0,
    retries: int = 3,
    start_period: float = 0.0,
    on_failure: OnUnhealthy = OnUnhealthy.RESTART,
) -> Health:
    """Make a health policy with a timeout of two seconds."""
    return Health(PROBE, interval, 2.0, retries, start_period, on_failure)


def service(
    name: str,
    needs: Mapping[str, str] | None = None,
    *,
    check: Health | None = None,
    restart: RestartPolicy = STEADY,
    stop: StopPolicy = STOP,
    replicas: int = 1,
    essential: bool = False,
) -> Container:
    """Make a service; `needs` maps a container's name to the word of a condition."""
    return Container(
        name,
        HOST,
        health=check,
        restart=restart,
        stop=stop,
        replicas=replicas,
        essential=essential,
        depends_on={other: Condition(word) for other, word in (needs or {}).items()},
    )


def job(
    name: str,
    needs: Mapping[str, str] | None = None,
    *,
    restart: RestartPolicy = NEVER,
    essential: bool = False,
) -> Container:
    """Make a job, which by default has one attempt."""
    return Container(
        name,
        HOST,
        kind=Kind.JOB,
        restart=restart,
        essential=essential,
        depends_on={other: Condition(word) for other, word in (needs or {}).items()},
    )


def fleet(*containers: Container, parallel: int | None = None) -> Fleet:
    """Make a fleet of these, in this order."""
    by_name = {container.name: container for container in containers}
    return Fleet("shop", by_name, {}, parallel=parallel)


def anew(container: Container, command: str = "serve --anew") -> Container:
    """Return what the container would be with another command: that needs a restart."""
    return evolve(container, command=tuple(command.split()))


@final
class Playbook:
    """A core, the time, and all that the core has reported."""

    def __init__(self, *containers: Container, parallel: int | None = None) -> None:
        """Begin at second zero with a fleet that nobody has started."""
        self.core = Core(fleet(*containers, parallel=parallel))
        self.now = 0.0
        self.reports: list[Report] = []

    def tell(self, event: Event, *, after: float = 0.0) -> list[Command]:
        """Let `after` seconds pass, tell the event, and return the commands but for the reports."""
        self.now += after
        commands = self.core.handle(event, self.now)
        self.reports += [command for command in commands if isinstance(command, Report)]
        return [command for command in commands if not isinstance(command, Report)]

    def start(self) -> list[Command]:
        """Start the fleet."""
        return self.tell(FleetStartRequested())

    def start_all(self) -> None:
        """Start the fleet, and let every start that is asked for succeed, to the last."""
        self.settle(self.start())

    def settle(self, commands: list[Command]) -> None:
        """Let every start among these commands succeed, and those that follow from it."""
        left = [*commands]
        while left:
            command = left.pop(0)
            if isinstance(command, Spawn):
                left += self.tell(Spawned(command.instance, 4000))

    def change(self, *containers: Container, parallel: int | None = None) -> list[Command]:
        """Let the fleet be made of these from now on."""
        return self.tell(FleetChanged(fleet(*containers, parallel=parallel)))

    def up(self, name: str) -> list[Command]:
        """Answer the spawn of an instance: it runs."""
        return self.tell(Spawned(the(name), 4000))

    def exits(self, name: str, code: int | None = None, signal: int | None = None) -> list[Command]:
        """Let an instance end."""
        return self.tell(Exited(the(name), ExitStatus(code, signal)))

    def probed(self, name: str, number: int, *, ok: bool) -> list[Command]:
        """Answer a probe."""
        return self.tell(ProbeFinished(the(name), number, ok, "up" if ok else "refused"))

    def wait(self) -> list[Command]:
        """Let time pass until the next deadline, and say so."""
        deadline = self.core.next_deadline()
        assert deadline is not None, "nothing is armed: the story would wait for ever"
        self.now = max(self.now, deadline)
        return self.tell(Tick())

    def status(self, name: str) -> Status:
        """Return all that is known of an instance."""
        return self.core.snapshot(the(name), self.now)

    def state(self, name: str) -> State:
        """Return where in its life an instance is."""
        return self.status(name).state

    def health(self, name: str) -> HealthState:
        """Return what the probes have said of an instance."""
        return self.status(name).health

    def states(self) -> dict[str, State]:
        """Return where in its life every instance is, by its unambiguous name."""
        return {str(status.instance): status.state for status in self.core.statuses(self.now)}

    def made_of(self, name: str) -> Container:
        """Return what an instance is made of."""
        return self.core.made_of(the(name))

    def reason(self, name: str) -> str:
        """Return why an instance is in its state."""
        return self.status(name).reason


def the(name: str) -> InstanceId:
    """Return the instance that a person calls `web` or `web.2`."""
    container, _, replica = name.partition(".")
    return InstanceId(container, int(replica or 1))


def begun(container: Container) -> Playbook:
    """Return a fleet of this container, all of it up."""
    play = Playbook(container)
    play.start_all()
    return play


def ends(commands: list[Command]) -> list[tuple[UpdateResult, str]]:
    """Return the ends of updates among these."""
    return [(one.result, one.reason) for one in commands if isinstance(one, UpdateEnded)]
