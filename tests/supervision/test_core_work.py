"""What an event costs the core: as much in a large fleet as in a small one. Counted, not timed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import FrameType

import pytest

from anchor_supervisor.fleet.model import Container
from anchor_supervisor.supervision.commands import FleetDone, RunProbe, Signal, Spawn
from anchor_supervisor.supervision.events import (
    Event,
    Exited,
    FleetStartRequested,
    FleetStopRequested,
    ProbeFinished,
    Spawned,
)
from anchor_supervisor.supervision.states import ExitStatus
from playbook import Playbook, health, job, service

SMALL, LARGE = 20, 320
GROWTH = 1.6
"""How many times the work of an event may grow: what has no end is a logarithm (the deadlines)."""


class Life:
    """A fleet that comes up, and goes down in an order that is nobody's; counts calls of Python."""

    def __init__(self, containers: Sequence[Container]) -> None:
        """Take the containers."""
        self.core = Playbook(*containers).core
        self.calls = self.events = 0
        self.now = 0.0
        self.done = False

    def whole(self) -> float:
        """Live it; return the calls of an event."""
        previous = sys.getprofile()
        sys.setprofile(self._count)
        try:
            self._go_on([FleetStartRequested()])
            if not self.done:
                self._go_on([FleetStopRequested()])
        finally:
            sys.setprofile(previous)
        assert self.done
        return self.calls / self.events

    def _count(self, _frame: FrameType, event: str, _argument: object) -> None:
        self.calls += event == "call"

    def _go_on(self, waiting: list[Event]) -> None:
        while waiting:
            event = waiting.pop(self.events * 7919 % len(waiting))
            self.now += 0.001
            self.events += 1
            for command in self.core.handle(event, self.now):
                match command:
                    case Spawn(instance=instance):
                        waiting.append(Spawned(instance, 1))
                        if "job" in instance.container:
                            waiting.append(Exited(instance, ExitStatus(0)))
                    case Signal(instance=instance):
                        waiting.append(Exited(instance, ExitStatus(0)))
                    case RunProbe(instance=instance, number=number):
                        waiting.append(ProbeFinished(instance, number, ok=True, output=""))
                    case FleetDone():
                        self.done = True
                    case _:
                        pass


def alone(count: int) -> list[Container]:
    """Services that have nothing to do with one another."""
    return [service(f"web{number}") for number in range(count)]


def replicas(count: int) -> list[Container]:
    """One service many times, each asked for its health."""
    return [service("web", check=health(), replicas=count)]


def star(count: int) -> list[Container]:
    """Services that wait for the same one."""
    return [service("db"), *(service(f"web{n}", {"db": "started"}) for n in range(count))]


def chain(count: int) -> list[Container]:
    """Services each of which waits for the one before."""
    needs = [{f"web{number - 1}": "started"} if number else {} for number in range(count)]
    return [service(f"web{number}", need) for number, need in enumerate(needs)]


def jobs(count: int) -> list[Container]:
    """Jobs, and services that wait for one of them each."""
    pairs = [(job(f"job{n}"), service(f"web{n}", {f"job{n}": "completed"})) for n in range(count)]
    return [one for pair in pairs for one in pair]


@pytest.mark.parametrize("shape", [alone, replicas, star, chain, jobs])
def test_work_of_an_event_does_not_grow_with_the_fleet(
    shape: Callable[[int], list[Container]],
) -> None:
    """Sixteen times the containers: the whole of their lives takes sixteen times the work."""
    few, many = Life(shape(SMALL)).whole(), Life(shape(LARGE)).whole()
    assert many <= few * GROWTH, (few, many)
