"""A supervisor's whole life on this host: lock, sweep, look, run, and give everything back."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TextIO, cast, final

import trio
from attrs import field

from anchor_supervisor.errors import AnchorError
from anchor_supervisor.fleet.model import Fleet, InstanceId, LimitsMode, instances
from anchor_supervisor.kernel.mount import private_mount_namespace
from anchor_supervisor.kernel.process import raise_open_files, refuse_dumps
from anchor_supervisor.observability import places
from anchor_supervisor.observability.journal import Journal
from anchor_supervisor.observability.log import LogFormat, log
from anchor_supervisor.observability.terminal import Prefixer, display_names, wants_color
from anchor_supervisor.rootfs.layers import Layers
from anchor_supervisor.rootfs.removal import remove_writable
from anchor_supervisor.runtime import preflight
from anchor_supervisor.runtime.bringup import Stdio
from anchor_supervisor.runtime.detach import Reporter
from anchor_supervisor.runtime.event_log import EventLog
from anchor_supervisor.runtime.foreground import Screen
from anchor_supervisor.runtime.interruption import Interruptions, StopRequested
from anchor_supervisor.runtime.life import Life, Written
from anchor_supervisor.runtime.lock import fleet_lock
from anchor_supervisor.runtime.machine import HostMachine
from anchor_supervisor.runtime.notify import Notifier, watchdog_interval
from anchor_supervisor.runtime.output import Listener
from anchor_supervisor.runtime.site import open_site
from anchor_supervisor.runtime.supervisor import Outcome
from anchor_supervisor.runtime.sweep import remove_volumes, sweep_locked
from anchor_supervisor.runtime.telling import Names, Teller
from anchor_supervisor.supervision.status import Status
from anchor_supervisor.values import frozen


@final
@frozen
class Options:
    """How a supervisor shows itself. `color` and `log_format` None: as the terminal says.

    `quiet`: only warnings. `output`: show what containers print. `stdio`: give the containers
    these descriptors instead of logging what they print, and pass our signals on to them (for one
    container, in the foreground); `stops_at_once`: but SIGINT and SIGTERM stop it. `forget_logs`:
    remove the log directory at the end. `check_programs`: refuse the fleet where an image lacks a
    container's program. `layers`: these directories are the containers' images, whatever the fleet
    says. `written` is shown what the containers have written once the fleet is done, from a worker
    thread. `limits` was asked for beside the file, and wins over it whenever that is read again.
    """

    quiet: bool = False
    output: bool = True
    log_format: LogFormat | None = None
    color: bool | None = None
    stdio: Stdio | None = None
    stops_at_once: bool = False
    forget_logs: bool = False
    check_programs: bool = True
    layers: Mapping[str, Layers] | None = None
    written: Callable[[Written], None] | None = None
    limits: LimitsMode | None = None


@final
@frozen
class Ending:
    """How a fleet's life ended: the verdict, and each instance's last state and failed start.

    `interrupted_by` is the number of the signal that ended it before anything had run, `asked` of
    the first SIGINT or SIGTERM at all, whoever took it.
    """

    outcome: Outcome
    statuses: tuple[Status, ...] = ()
    failures: Mapping[InstanceId, AnchorError] = field(factory=dict)
    interrupted_by: int | None = None
    asked: int | None = None


def supervise(fleet: Fleet, options: Options, reporter: Reporter | None = None) -> Ending:
    """Run the fleet until it is done, and leave nothing of it behind.

    `reporter` tells whoever waits for a detached fleet. To be called before any thread exists,
    because the process moves into a mount namespace of its own. Raises AnchorError where the
    fleet cannot be brought up at all.
    """
    reporter = reporter or Reporter(None)
    with Interruptions() as interruptions:
        try:
            return _supervise(fleet, options, reporter, interruptions)
        except StopRequested as stop:
            outcome = Outcome(0, "stopped on request")
            reporter.tell(event="done", reason=outcome.reason, exit_code=outcome.exit_code)
            return Ending(outcome, interrupted_by=stop.number, asked=stop.number)


def _supervise(
    fleet: Fleet, options: Options, reporter: Reporter, interruptions: Interruptions
) -> Ending:
    preflight.require_root()
    run = places.fleet_run_dir(fleet.name)
    with ExitStack() as life:
        life.enter_context(fleet_lock(run, fleet.name))
        if options.forget_logs:
            life.callback(remove_writable, places.fleet_log_dir(fleet.name))
        refuse_dumps()
        os.umask(0o022)  # what containers see is made with modes that we say, not our caller
        raise_open_files()
        own_mount_namespace()
        swept = sweep_locked(fleet.name)
        life.callback(sweep_locked, fleet.name)
        # Before the first word is logged: standard output is the containers' own.
        listener, renamed = _open_screens(fleet, options, life)
        with interruptions.ending_the_block():
            site = life.enter_context(
                open_site(fleet, options.layers, check_programs=options.check_programs)
            )
        for what in swept:
            log.warning("swept what a dead supervisor left", what=what)
        environment = dict(os.environ)
        machine = HostMachine(site, listener, options.stdio)
        teller = Teller(
            reporter,
            EventLog(Journal(places.fleet_log_dir(fleet.name))),
            Notifier.from_environment(environment),
            quiet=options.stdio is not None,
            full_names=options.log_format is LogFormat.JSON,
            renamed=renamed,
        )
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
        if whole.remove_volumes:
            life.callback(remove_volumes, fleet.name)
    asked = whole.asked or interruptions.asked
    return Ending(outcome, whole.statuses, machine.failures, asked=asked)


@functools.cache
def own_mount_namespace() -> None:
    """Move this process into a mount namespace of its own, once: its worker threads live on.

    A descriptor that was opened before belongs to the machine's, and cannot be mounted from here.
    """
    private_mount_namespace()


def _open_screens(
    fleet: Fleet, options: Options, life: ExitStack
) -> tuple[Listener, Callable[[Names], None]]:
    """Connect our own lines to standard error and the containers' to standard output.

    Returns who is told what containers say, and who is told what to call them.
    """
    errors = Screen(2)
    life.callback(errors.close)
    form = options.log_format or LogFormat.CONSOLE
    color = wants_color(sys.stderr) if options.color is None else options.color
    log.configure(form, color=color, stream=cast("TextIO", errors), quiet=options.quiet)
    if not options.output:
        return _nobody_listens, lambda _: None
    screen = Screen(1)
    life.callback(screen.close)
    pairs = [(instance.container, instance.replica) for instance in instances(fleet)]
    colored = wants_color(sys.stdout) if options.color is None else options.color
    prefixer = Prefixer(display_names(pairs), color=colored)

    def show(instance: InstanceId, stream: str, data: bytes) -> None:
        name = str(instance)
        lines = prefixer.feed(name, stream, data) if data else prefixer.finish(name)
        if lines:
            screen.put(lines)

    return show, prefixer.show


def _nobody_listens(_instance: InstanceId, _stream: str, _data: bytes) -> None:
    """The log has it."""
