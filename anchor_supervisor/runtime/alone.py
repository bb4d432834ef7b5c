"""One command in the foreground, started before there is a loop: many are over before one is.

To load the loop and all that it serves takes a tenth of a second and more, and most of what people
run in the foreground takes a few milliseconds. So the command is started first. Where it is over
soon nothing else was ever needed; where it is not, the loop takes it over as if it had started it.
"""

from __future__ import annotations

import os
import select
import signal
from contextlib import ExitStack
from typing import Final, final

from anchor_supervisor.fleet.model import Fleet, InstanceId, Kind, RestartWhen, instances
from anchor_supervisor.runtime.bringup import Stdio, bring_up
from anchor_supervisor.runtime.failures import told, whatever_happens
from anchor_supervisor.runtime.farewell import end_runs
from anchor_supervisor.runtime.holdings import Holdings, acquire
from anchor_supervisor.runtime.interruption import Interruptions
from anchor_supervisor.runtime.output import Listener
from anchor_supervisor.runtime.run import HostRun
from anchor_supervisor.runtime.site import Site
from anchor_supervisor.supervision.states import ExitStatus
from anchor_supervisor.values import frozen

SOON: Final = 0.1
"""Seconds that a command may take before the loop is loaded: about as long as that takes."""


@final
@frozen(eq=False)
class Begun:
    """A run from before the loop, with what its instance holds. Whoever has it gives it back."""

    instance: InstanceId
    holdings: Holdings
    run: HostRun

    def end_within(self, seconds: float, interruptions: Interruptions) -> ExitStatus | None:
        """Return how the run has ended; None once it takes longer, or a signal has come for it."""
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        # A signal handler of Python's does not end a poll (PEP 475); a byte in a pipe does.
        before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        try:
            poll = select.poll()
            poll.register(reader, select.POLLIN)
            poll.register(self.run.child.pidfd, select.POLLIN)
            ready = {} if interruptions.owed else dict(poll.poll(seconds * 1000))
        finally:
            signal.set_wakeup_fd(before)
            os.close(reader)
            os.close(writer)
        return self.run.finish() if self.run.child.pidfd in ready else None

    def give_back(self) -> None:
        """End what still runs, and give everything back; what cannot be is logged."""
        end_runs({self.instance: self.run})
        with whatever_happens(self.instance):
            self.holdings.release()


def sole_instance(fleet: Fleet) -> InstanceId | None:
    """Name the only instance of a fleet in which nothing has to be decided; None in any other.

    It runs once, and nothing is asked of it and told to nobody but by its exit.
    """
    first, *others = instances(fleet)
    one = fleet.containers[first.container]
    if others or one.kind is not Kind.JOB or one.restart.when is not RestartWhen.NO:
        return None
    looked_at = one.ports or one.health or one.startup
    timed = one.schedule is not None or one.max_runtime is not None
    return None if looked_at or timed else first


def begin(site: Site, instance: InstanceId, stdio: Stdio, listener: Listener) -> Begun:
    """Start the instance. Raises AnchorError, and then nothing of it is left."""
    container = site.fleet.containers[instance.container]
    with told("prepare"), ExitStack() as kept:
        holdings = acquire(site, instance, container, listener)
        kept.callback(holdings.release)
        run = bring_up(site, holdings, stdio)
        kept.pop_all()
        return Begun(instance, holdings, run)
