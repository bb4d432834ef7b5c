"""The loop of a supervisor, from the machine it acts on to the ending it comes to."""

from __future__ import annotations

import os
from collections.abc import Callable

import trio

from anchor_supervisor.observability import places
from anchor_supervisor.observability.journal import Journal
from anchor_supervisor.observability.log import LogFormat
from anchor_supervisor.runtime.alone import Begun
from anchor_supervisor.runtime.detach import Reporter
from anchor_supervisor.runtime.event_log import EventLog
from anchor_supervisor.runtime.interruption import Interruptions
from anchor_supervisor.runtime.life import Life
from anchor_supervisor.runtime.machine import HostMachine
from anchor_supervisor.runtime.notify import Notifier, watchdog_interval
from anchor_supervisor.runtime.output import Listener
from anchor_supervisor.runtime.site import Site
from anchor_supervisor.runtime.telling import Names, Teller
from anchor_supervisor.runtime.terms import Ending, Options


def run_loop(
    site: Site,
    options: Options,
    listener: Listener,
    renamed: Callable[[Names], None],
    reporter: Reporter,
    interruptions: Interruptions,
    begun: Begun | None,
) -> tuple[Ending, bool]:
    """Keep the fleet until it is done; `begun` is what runs of it already.

    Returns how it ended, and whether whoever asked for that wants its volumes gone as well.
    """
    environment = dict(os.environ)
    teller = Teller(
        reporter,
        EventLog(Journal(places.fleet_log_dir(site.fleet.name))),
        Notifier.from_environment(environment),
        quiet=options.stdio is not None,
        full_names=options.log_format is LogFormat.JSON,
        renamed=renamed,
    )
    heard = teller.before(listener) if options.output else listener
    machine = HostMachine(site, heard, options.stdio)
    if begun is not None:
        machine.take_over(begun)
    whole = Life(
        machine,
        teller,
        interruptions,
        environment,
        watchdog_interval(environment),
        alone=options.stdio is not None,
        stops_at_once=options.stops_at_once,
        limits=options.limits,
        written=options.written,
    )
    outcome = trio.run(whole.run)
    asked = whole.asked or interruptions.asked
    ending = Ending(outcome, whole.statuses, machine.failures, asked=asked)
    return ending, whole.remove_volumes
