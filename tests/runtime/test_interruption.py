"""Stop signals before and after the loop: they end a bring-up, and never cut a tidying short."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from anchor_supervisor.runtime.interruption import (
    PASSED_ON,
    STOP_SIGNALS,
    Interruptions,
    StopRequested,
)

# A supervisor whose site sends it a signal: `before` it is made, and `after` it was used.
SCRIPT = """
import os, signal, sys
from contextlib import contextmanager
from anchor_supervisor.fleet.parse import loads
from anchor_supervisor.runtime import service
open_site = service.open_site

@contextmanager
def site(fleet, *rest, **more):
    with open_site(fleet, *rest, **more) as made:
        {before}
        yield made
        {after}
    print("given back", flush=True)

service.open_site = site
job = 'kind = "job"\\nimage = "host"\\ncommand = "true"'
text = '[fleet]\\nname = "shop"\\n[containers.job]\\n' + job
fleet = loads(text, file=None, directory="/", environment={{}})
ending = service.supervise(fleet, service.Options(quiet=True, output=False))
print(ending.outcome.exit_code, ending.outcome.reason, ending.interrupted_by)
"""
SIGNAL = "os.kill(os.getpid(), signal.SIGTERM)"


def supervise(programs: dict[str, str], *, before: str = "", after: str = "") -> str:
    """What the supervisor of one short job says of its end."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(before=before, after=after)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
        env=programs,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.root
def test_a_signal_ends_a_bring_up_and_nothing_is_left(programs: dict[str, str]) -> None:
    """SIGTERM while the site is made: stopped on request, with everything swept."""
    assert supervise(programs, before=SIGNAL) == f"0 stopped on request {signal.SIGTERM.value}\n"


@pytest.mark.root
def test_no_signal_cuts_the_tidying_short(programs: dict[str, str]) -> None:
    """However often it comes once the fleet is done, everything is given back."""
    told = supervise(programs, after=f"for _ in range(3): {SIGNAL}")
    assert told == "given back\n0 all jobs have finished None\n"


def test_the_first_signal_ends_the_block_and_the_next_is_noted() -> None:
    """What a block undoes on its way out is not interrupted again."""

    def ask_twice() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGINT)

    with Interruptions() as interruptions:
        with pytest.raises(StopRequested) as stop, interruptions.ending_the_block():
            ask_twice()
        assert stop.value.number == interruptions.asked == signal.SIGTERM
        signal.raise_signal(signal.SIGTERM)


def test_a_signal_that_came_before_the_block_ends_it_at_once() -> None:
    """It is not forgotten."""
    with Interruptions() as interruptions:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(StopRequested), interruptions.ending_the_block():
            pytest.fail("the block was entered")


def test_the_signals_go_back_to_whoever_had_them() -> None:
    """Also when the block fails."""
    before = [signal.getsignal(number) for number in STOP_SIGNALS]

    def ask_and_fail() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), Interruptions():
        ask_and_fail()
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == before


def test_what_is_a_commands_is_kept_in_order_and_nothing_is_asked() -> None:
    """From the start of a command on, signals are its own, and go back to their owners later."""
    numbers = (*STOP_SIGNALS, signal.SIGHUP, *PASSED_ON)
    before = [signal.getsignal(number) for number in numbers]
    with Interruptions() as interruptions:
        interruptions.keep_for_command()
        for number in numbers:
            signal.raise_signal(number)
        assert interruptions.owed == list(numbers)
        assert interruptions.asked is None
    assert [signal.getsignal(number) for number in numbers] == before
