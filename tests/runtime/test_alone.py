"""A command that is started before there is a loop."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from anchor_supervisor.errors import AnchorError
from anchor_supervisor.fleet.model import InstanceId
from anchor_supervisor.fleet.parse import load
from anchor_supervisor.kernel.pidfd import send_signal
from anchor_supervisor.kernel.spawn import SpawnError
from anchor_supervisor.runtime.alone import Begun, begin, sole_instance
from anchor_supervisor.runtime.bringup import Stdio
from anchor_supervisor.runtime.interruption import Interruptions
from anchor_supervisor.supervision.states import ExitStatus
from real_fleet import Workshop

WEB = InstanceId("web", 1)
LONG = 60.0


def sole(place: Path, *lines: str) -> InstanceId | None:
    """The instance that may be started at once, in the fleet of this file."""
    file = place / "shop.toml"
    file.write_text("\n".join(["[containers.web]", 'image = "host"', 'command = "x"', *lines]))
    return sole_instance(load(file, {}))


def test_a_job_that_runs_once_may_begin_before_the_loop(tmp_path: Path) -> None:
    """Whatever its limits and its network, there is nothing to decide."""
    assert sole(tmp_path, 'kind = "job"', "read_only = true", 'networks = "none"') == WEB


@pytest.mark.parametrize(
    "lines",
    [
        ('kind = "service"',),
        ('kind = "job"', 'restart = "on-failure"'),
        ('kind = "job"', 'ports = ["8080:80"]'),
        ('kind = "job"', 'schedule = { every = "1h" }'),
        ('kind = "job"', 'max_runtime = "1h"'),
        ('kind = "job"', "[containers.b]", 'image = "host"', 'command = "y"'),
    ],
)
def test_what_needs_a_decision_waits_for_the_loop(tmp_path: Path, lines: tuple[str, ...]) -> None:
    """Restarts, probes, ports, times and neighbours are the core's to judge."""
    assert sole(tmp_path, *lines) is None


def silent(null: int) -> Stdio:
    """Nothing in, nothing out."""
    return Stdio(null, null, null)


@contextmanager
def begun(workshop: Workshop, command: str) -> Iterator[Begun]:
    """Start a command in the workshop's root, without input or output; all is given back."""
    fleet = workshop.fleet('kind = "job"', f'command = ["sh", "-c", "{command}"]')
    with workshop.site(fleet) as site, Path(os.devnull).open("r+") as null:
        made = begin(site, WEB, silent(null.fileno()), lambda *_: None)
        try:
            yield made
        finally:
            made.give_back()


@pytest.mark.root
@pytest.mark.parametrize(
    ("command", "ending"),
    [("exit 0", ExitStatus(0)), ("exit 7", ExitStatus(7)), ("kill -9 $$$$", ExitStatus(signal=9))],
)
def test_a_command_that_is_over_tells_its_exit(
    workshop: Workshop, command: str, ending: ExitStatus
) -> None:
    """No loop was needed to know it."""
    with Interruptions() as interruptions, begun(workshop, command) as made:
        assert made.end_within(LONG, interruptions) == ending
        assert made.run.ended


@pytest.mark.root
def test_a_command_that_goes_on_is_nobodys_loss(workshop: Workshop) -> None:
    """It can be waited for again, and given back it is ended."""
    with Interruptions() as interruptions, begun(workshop, "sleep 1000") as made:
        assert made.end_within(0.0, interruptions) is None
        assert not made.run.ended
        send_signal(made.run.child.pidfd, signal.SIGKILL)
        assert made.end_within(LONG, interruptions) == ExitStatus(signal=9)


@pytest.mark.root
@pytest.mark.parametrize("name", ["HUP", "INT", "QUIT", "TERM", "USR1", "USR2"])
def test_a_signal_ends_the_wait_and_is_kept(workshop: Workshop, name: str) -> None:
    """Whoever goes on passes it to the command, also where it came before the wait."""
    number = signal.Signals[f"SIG{name}"]
    with Interruptions() as interruptions, begun(workshop, "sleep 1000") as made:
        interruptions.keep_for_command()
        sender = threading.Timer(0.0, os.kill, (os.getpid(), number))
        sender.start()
        assert made.end_within(LONG, interruptions) is None
        sender.join()
        assert interruptions.owed == [number]
        assert interruptions.asked is None
        assert made.end_within(LONG, interruptions) is None


@pytest.mark.root
def test_a_command_that_is_not_there_leaves_nothing(workshop: Workshop) -> None:
    """The failure says so, and the site can be closed: nothing of the start is left."""
    fleet = workshop.fleet('kind = "job"', 'command = ["/nowhere"]')
    with workshop.site(fleet, check_programs=False) as site, Path(os.devnull).open("r+") as null:
        with pytest.raises(AnchorError) as caught:
            begin(site, WEB, silent(null.fileno()), lambda *_: None)
        assert isinstance(caught.value, SpawnError)
        assert not (site.run / str(WEB)).exists()
