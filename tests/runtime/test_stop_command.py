"""`stop.command`: run inside before the signal, bounded by the grace, and it outlives nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from anchor_supervisor.fleet.model import Fleet
from anchor_supervisor.runtime.supervisor import Supervisor
from anchor_supervisor.runtime.terms import Outcome
from anchor_supervisor.supervision import commands, events
from anchor_supervisor.supervision.core import Core
from anchor_supervisor.supervision.states import ExitStatus, State
from anchor_supervisor.supervision.status import Status
from log_lines import captured_logs
from real_fleet import WEB, Real, Workshop, open_descriptors, sh
from waiting import DEADLINE, SLOWNESS

pytestmark = pytest.mark.root

DEAF = "trap '' TERM INT HUP; echo up; while :; do sleep 0.05; done"


def stopping(workshop: Workshop, script: str, stop: str, *lines: str) -> Fleet:
    """A container that runs this script, and is stopped in this way; never started again."""
    return workshop.fleet(sh(script), f"stop = {{ {stop} }}", 'restart = "no"', *lines)


class Stopped:
    """A container that ran under a supervisor and was told to stop as soon as it said `up`."""

    def __init__(self, real: Real, fleet: Fleet) -> None:
        self.real = real
        self.commands: list[commands.Command] = []
        self.supervisor = Supervisor(Core(fleet), real.machine, self.commands.append)
        self.took = 0.0

    @property
    def status(self) -> Status:
        """What the core knows of it."""
        return self.supervisor.core.snapshot(WEB)

    async def play(self, meanwhile: Callable[[], None] = lambda: None) -> Outcome:
        """Start it, stop it, and with it the fleet."""

        async def scene() -> None:
            await self.real.until_said("up\n")
            begun = trio.current_time()
            self.supervisor.post(events.StopRequested(WEB))
            meanwhile()
            while self.status.state is not State.STOPPED:
                await self.supervisor.changed()
            self.took = trio.current_time() - begun
            self.supervisor.post(events.FleetStopRequested())

        async def background(nursery: trio.Nursery) -> None:
            nursery.start_soon(scene)

        with trio.fail_after(3 * DEADLINE):
            return await self.supervisor.run(background)


async def stopped(workshop: Workshop, fleet: Fleet) -> Stopped:
    """Play it, and look at what is left: no cgroup beneath, no descriptor, no word of a bug."""
    with captured_logs() as logs:
        async with workshop.running(fleet) as real:
            first = open_descriptors()
            story = Stopped(real, fleet)
            await story.play()
            holdings = real.machine.holdings(WEB)
            assert holdings is not None
            assert not [entry for entry in os.scandir(holdings.cgroup.path) if entry.is_dir()]
            assert not holdings.cgroup.populated()
            held = {
                os.readlink(f"/proc/self/fd/{fd}") for fd in set(open_descriptors()) - set(first)
            }
            assert not {link for link in held if link.startswith(("pipe:", "anon_inode:[pidfd]"))}
    assert not bugs(logs)
    return story


def bugs(logs: list[Any]) -> list[Any]:
    """What was logged as wrong with ourselves."""
    return [entry for entry in logs if entry["event"] == "bug"]


@pytest.mark.parametrize("init", ["true", "false"])
async def test_the_command_may_end_the_container(workshop: Workshop, init: str) -> None:
    """Then no signal is needed, whatever the container ignores; its own end is what counts."""
    script = "trap '' TERM; echo up; until test -e /tmp/end; do sleep 0.02; done; exit 3"
    stop = """command = ["sh", "-c", "echo going; touch /tmp/end; exec sleep 1000"]"""
    story = await stopped(workshop, stopping(workshop, script, stop, f"init = {init}"))
    assert story.status.exit == ExitStatus(code=3)
    assert story.took < DEADLINE
    assert not [one for one in story.commands if isinstance(one, commands.Kill)]


async def test_a_command_that_has_ended_is_followed_by_the_signal(workshop: Workshop) -> None:
    """Its output is kept, on whichever stream, and it ran as the container does."""
    script = "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done"
    stop = """command = ["sh", "-c", "id -u; hostname >&2; exit 4"], grace = "100s" """
    fleet = stopping(workshop, script, stop, 'user = "web"')
    story = await stopped(workshop, fleet)
    assert story.status.exit == ExitStatus(code=0)
    result = story.status.stop_command
    assert result is not None
    assert (result.ok, result.output) == (False, "1000\nweb\nexit code 4")


@pytest.mark.parametrize("init", ["true", "false"])
async def test_deaf_ones_are_killed_together_when_the_grace_is_over(
    workshop: Workshop, init: str
) -> None:
    """Neither the container nor the command nor what that left behind gets any longer."""
    grace = 0.5 * SLOWNESS
    stop = f"""command = ["sh", "-c", "(({DEAF}) &); {DEAF}"], grace = "{grace}s" """
    story = await stopped(workshop, stopping(workshop, DEAF, stop, f"init = {init}"))
    assert story.status.exit == ExitStatus(signal=9)
    assert grace <= story.took < grace + DEADLINE


async def test_a_command_that_is_not_there_is_no_bug(workshop: Workshop) -> None:
    """It is said, and the signal is sent."""
    script = "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done"
    story = await stopped(workshop, stopping(workshop, script, 'command = ["pg_ctl", "stop"]'))
    assert story.status.exit == ExitStatus(code=0)
    result = story.status.stop_command
    assert result is not None
    assert not result.ok
    assert "`pg_ctl`" in result.output


@pytest.mark.parametrize("number", range(10))
async def test_a_container_that_ends_at_any_moment_is_no_bug(
    workshop: Workshop, number: int
) -> None:
    """Before the command is started, while it is, or when it runs: one end, nothing left."""
    script = f"echo up; sleep {number * 0.002 * SLOWNESS}; exit 0"
    stop = 'command = ["sleep", "1000"], grace = "100s"'
    story = await stopped(workshop, stopping(workshop, script, stop))
    assert story.took < DEADLINE


async def test_while_it_is_held_still_nothing_is_run(workshop: Workshop) -> None:
    """A command in a frozen container could not run, and is not begun; the time limit holds."""
    async with workshop.running(workshop.fleet()) as real:
        run = await real.start()
        async with real.machine.held(WEB):
            with trio.fail_after(DEADLINE):
                answer = await real.machine.run_stop_command(WEB, ("touch", "/tmp/ran"), 0.1)
            assert not answer.ok
            assert "no end within" in answer.output
        assert not Path(f"/proc/{run.pid}/root/tmp/ran").exists()  # noqa: ASYNC240 - /proc
        real.machine.kill(WEB)
        await run.wait()
