"""A supervisor's whole life on this host: lock, sweep, look, run, and give everything back."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Final, TextIO, cast

from anchor_supervisor.errors import AnchorError
from anchor_supervisor.fleet.model import Fleet, InstanceId, instances
from anchor_supervisor.kernel.mount import private_mount_namespace
from anchor_supervisor.kernel.process import (
    make_room_for_files,
    raise_open_files,
    refuse_dumps,
)
from anchor_supervisor.observability import places
from anchor_supervisor.observability.log import LogFormat, log
from anchor_supervisor.observability.terminal import Prefixer, display_names, wants_color
from anchor_supervisor.rootfs.removal import remove_writable
from anchor_supervisor.runtime import alone, preflight
from anchor_supervisor.runtime.alone import Begun
from anchor_supervisor.runtime.detach import Reporter
from anchor_supervisor.runtime.foreground import Screen
from anchor_supervisor.runtime.interruption import Interruptions, StopRequested
from anchor_supervisor.runtime.lock import fleet_lock
from anchor_supervisor.runtime.output import Listener
from anchor_supervisor.runtime.site import Site, open_site
from anchor_supervisor.runtime.sweep import remove_volumes, sweep_locked
from anchor_supervisor.runtime.terms import Ending, Options, Outcome

OWN_FILES: Final = 128
FILES_EACH: Final = 12
"""Descriptors that an instance takes while it runs, or some more: it is a guess that saves time."""


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
        make_room_for_files(OWN_FILES + FILES_EACH * len(instances(fleet)))
        own_mount_namespace()
        swept = sweep_locked(fleet.name)
        life.callback(sweep_locked, fleet.name)
        # Before the first word is logged: standard output is the containers' own.
        listener, renamed = _open_screens(fleet, options, life)
        if reporter.heard:
            log.hold()
            life.callback(log.release)
        with interruptions.ending_the_block():
            site = life.enter_context(
                open_site(fleet, options.layers, check_programs=options.check_programs)
            )
        for what in swept:
            log.warning("swept what a dead supervisor left", what=what)
        begun = _begin(site, options, interruptions, listener)
        if isinstance(begun, Ending):
            return begun
        from anchor_supervisor.runtime.loop import run_loop  # trio, and all that it serves

        ending, volumes_too = run_loop(
            site, options, listener, renamed, reporter, interruptions, begun
        )
        if volumes_too:
            life.callback(remove_volumes, fleet.name)
    return ending


def _begin(
    site: Site, options: Options, interruptions: Interruptions, listener: Listener
) -> Ending | Begun | None:
    """Start a command in the foreground without the loop, where nothing depends on that.

    Returns the ending where it has come soon, what goes on where it has not, and None where
    nothing was begun. A service manager is told of every step, and a stop that came before.
    """
    instance = alone.sole_instance(site.fleet)
    told_more = options.written is not None or options.stops_at_once
    if instance is None or options.stdio is None or told_more or "NOTIFY_SOCKET" in os.environ:
        return None
    interruptions.keep_for_command()
    if interruptions.asked is not None:
        return None
    try:
        begun = alone.begin(site, instance, options.stdio, listener)
    except AnchorError as error:
        return Ending(Outcome(1, error.message), failures={instance: error})
    with ExitStack() as kept:
        kept.callback(begun.give_back)
        over = begun.end_within(alone.SOON, interruptions)
        if over is None:
            kept.pop_all()
            return begun
    return Ending(Outcome(int(not over.success), str(over)), over_at_once=over)


@functools.cache
def own_mount_namespace() -> None:
    """Move this process into a mount namespace of its own, once: its worker threads live on.

    A descriptor that was opened before belongs to the machine's, and cannot be mounted from here.
    """
    private_mount_namespace()


def _open_screens(
    fleet: Fleet, options: Options, life: ExitStack
) -> tuple[Listener, Callable[[Mapping[str, str]], None]]:
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
