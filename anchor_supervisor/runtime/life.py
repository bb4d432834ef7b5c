"""A fleet's life inside trio: the loop, and beside it signals, the control socket, the watchdog.

Everything that a fleet's end leaves to do is done here, whichever way the loop ends.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Final, final

import trio

from anchor_supervisor.control.server import serve
from anchor_supervisor.fleet.model import Fleet, InstanceId, LimitsMode
from anchor_supervisor.observability import places
from anchor_supervisor.observability.log import log
from anchor_supervisor.runtime import last_runs
from anchor_supervisor.runtime.changing import Changes
from anchor_supervisor.runtime.clock import Clock
from anchor_supervisor.runtime.frequent import make_ready
from anchor_supervisor.runtime.handler import FleetHandler
from anchor_supervisor.runtime.interruption import PASSED_ON, STOP_SIGNALS, Interruptions
from anchor_supervisor.runtime.last_runs import LastRuns
from anchor_supervisor.runtime.lasting_memory import seldom_collected, take_for_lasting
from anchor_supervisor.runtime.machine import HostMachine
from anchor_supervisor.runtime.reload import HostReloader
from anchor_supervisor.runtime.rereading import Rereader
from anchor_supervisor.runtime.supervisor import Supervisor
from anchor_supervisor.runtime.telling import Teller
from anchor_supervisor.runtime.terms import Outcome, Written
from anchor_supervisor.runtime.views import Views
from anchor_supervisor.runtime.wall_clock import WallClock, wall_offset
from anchor_supervisor.supervision import commands, events
from anchor_supervisor.supervision.core import Core
from anchor_supervisor.supervision.states import Phase, State
from anchor_supervisor.supervision.status import Status
from anchor_supervisor.values import define, field

UP_SOON: Final = 1.0
"""Seconds after which what could wait is done, whether or not the fleet is up."""

LOG_WITHIN: Final = 10.0
"""Seconds for which what is logged waits further, while something is being started."""


@final
@define(eq=False)
class Life:
    """One fleet, from its first event to its last.

    `interruptions` knows of a stop signal that came before the loop. `environment` and `limits` are
    those that the fleet was read with. `watchdog` is an interval in seconds, or None. `alone`: the
    fleet is one command in the foreground. Signals go to it as they are, and only the second
    SIGINT or SIGTERM stops it, or the first where `stops_at_once`. `asked` is the first that came.
    """

    machine: HostMachine
    teller: Teller
    interruptions: Interruptions
    environment: Mapping[str, str]
    watchdog: float | None = None
    alone: bool = False
    stops_at_once: bool = False
    limits: LimitsMode | None = None
    written: Callable[[Written], None] | None = None
    asked: int | None = field(default=None, init=False)
    _supervisor: Supervisor = field(init=False)
    _handler: FleetHandler = field(init=False)
    _reloader: HostReloader = field(init=False)
    _rereader: Rereader = field(init=False)
    _clock: WallClock = field(init=False)
    _last_runs: LastRuns = field(init=False)
    _owed: list[int] = field(factory=list, init=False)
    _up: trio.Event = field(factory=trio.Event, init=False)
    _stopping: bool = field(default=False, init=False)
    _forwarded: bool = field(init=False)  # a stop signal: the next one is ours

    def __attrs_post_init__(self) -> None:
        """Pass the first stop signal on to a command, unless that is not wanted."""
        self._forwarded = self.stops_at_once

    async def run(self) -> Outcome:
        """Bring the fleet up, keep it, and give back what its containers held."""
        fleet = self.machine.site.fleet
        self.teller.name(fleet)
        self.machine.warned = self.teller.deaf
        for warning in self.machine.site.warnings:
            self.teller.warn(warning)
        self.machine.pressure.tell = self.teller.note
        self._supervisor = Supervisor(Core(fleet), self.machine, self._observe)
        self._supervisor.settle = self.teller.settle
        self.machine.ending = self._is_ending
        self._clock = WallClock(self._supervisor.post, self.teller.clock_set)
        self._reloader = HostReloader(self._supervisor, self.machine, self._follow, self.limits)
        self._last_runs = LastRuns(last_runs.place(fleet.name))
        journal = places.fleet_log_dir(fleet.name)
        changes = Changes(self._supervisor, self._reloader, journal)
        self._rereader = Rereader(changes, self.teller, self.environment)
        self._handler = FleetHandler(
            self._supervisor,
            self.machine,
            self._views,
            trio.current_time(),
            self.teller.journal,
            changes if fleet.files else None,
        )
        try:
            first = events.FleetStartRequested(wall_offset(), self._last_runs.read())
            with seldom_collected():
                outcome = await self._supervisor.run(self._background, first)
            if self.written is not None:
                await trio.to_thread.run_sync(self._hand_over, self.written)
            return outcome
        finally:
            self.teller.settle()
            with trio.CancelScope(shield=True):
                await self._last_runs.flush()
                await trio.to_thread.run_sync(self.machine.release)
            self.teller.journal.close()

    def _is_ending(self) -> bool:
        """Whether nothing of a container is wanted any more once its run has ended."""
        return self._supervisor.core.phase is Phase.STOPPING and self.written is None

    def _hand_over(self, take: Callable[[Written], None]) -> None:
        """Show what the containers have written, while it is still there."""
        for status in self.statuses:
            holdings = self.machine.holdings(status.instance)
            if holdings is not None:
                first = holdings.ids.first if holdings.ids else 0
                take(Written(status.instance, holdings.writable / "upper", first, status.exit))

    @property
    def remove_volumes(self) -> bool:
        """Whether the one who asked for the end wants the named volumes gone as well."""
        return self._handler.remove_volumes

    @property
    def statuses(self) -> tuple[Status, ...]:
        """Every instance, as the core knows it now."""
        return self._supervisor.core.statuses()

    async def _background(self, nursery: trio.Nursery) -> None:
        self.machine.attach(nursery)
        await nursery.start(self._obey_signals)
        fleet = self.machine.site.fleet
        await nursery.start(serve, places.control_socket(fleet.name), self._handler)
        if self.watchdog is not None:
            nursery.start_soon(self._feed_watchdog, self.watchdog)
        nursery.start_soon(self._reloader.tidy_up)
        nursery.start_soon(self._rereader.run)
        nursery.start_soon(self._clock.watch)
        nursery.start_soon(self._last_runs.keep)
        nursery.start_soon(self._catch_up)
        self._clock.follow(fleet)

    async def _catch_up(self) -> None:
        """Do what can wait until the fleet is up, or takes its time.

        Load what answers operators, before the first of them has to wait for it, and make ready for
        restarts. And write what was logged so far, which in a fleet of a thousand takes as long as
        many starts.
        """
        with trio.move_on_after(UP_SOON):
            await self._up.wait()
        await trio.to_thread.run_sync(import_module, "anchor_supervisor.control.connection")
        await trio.to_thread.run_sync(make_ready)
        with trio.move_on_after(LOG_WITHIN):
            await self._supervisor.at_rest()
        await trio.to_thread.run_sync(log.release)

    def _follow(self, fleet: Fleet) -> None:
        """Be ready for what the fleet becomes, just before it does."""
        self.teller.name(fleet)
        self._clock.follow(fleet)

    async def _obey_signals(self, task_status: trio.TaskStatus[None]) -> None:
        """First SIGINT or SIGTERM: ordered stop. Second, or SIGQUIT: kill at once."""
        with trio.open_signal_receiver(*STOP_SIGNALS, signal.SIGHUP, *PASSED_ON) as arriving:
            task_status.started()
            if self.interruptions.asked is not None:
                self._stop()
            for number in self.interruptions.owed:
                self._obey(number)
            async for number in arriving:
                self._obey(number)

    def _obey(self, number: int) -> None:
        stops = number in STOP_SIGNALS
        if stops:
            self.asked = self.asked or number
        if self.alone and not (stops and self._forwarded):
            self._forwarded = self._forwarded or stops
            self._forward(number)
        elif number == signal.SIGHUP:
            self._rereader.ask()
        elif number in {signal.SIGUSR1, signal.SIGUSR2}:
            log.warning("nothing is done on this signal", signal=signal.Signals(number).name)
        elif self._stopping or number == signal.SIGQUIT:
            log.warning("killing the fleet")
            self._supervisor.post(events.FleetKillRequested())
        else:
            self._stop()

    def _stop(self) -> None:
        self._stopping = self._forwarded = True
        self.teller.settle()
        log.info("stopping the fleet; once more kills it")
        self.teller.notifier.send("STOPPING=1")
        take_for_lasting()
        self._supervisor.post(events.FleetStopRequested())

    def _forward(self, number: int) -> None:
        """Pass a signal on to the command; one that does not run yet gets it when it does."""
        self._owed.append(number)
        for status in self.statuses:
            if status.pid is not None:
                self._pay(status.instance)

    def _pay(self, instance: InstanceId) -> None:
        while self._owed:
            name = signal.Signals(self._owed.pop(0)).name.removeprefix("SIG")
            self._supervisor.signal(instance, name)

    async def _feed_watchdog(self, interval: float) -> None:
        while True:
            self.teller.notifier.send("WATCHDOG=1")
            await trio.sleep(interval)

    def _observe(self, command: commands.Command) -> None:
        """Tell everyone what happens."""
        if isinstance(command, commands.Report) and command.state is State.RUNNING:
            self._pay(command.instance)
            self._note_run(command)
        if isinstance(command, commands.FleetReady):
            self._handler.ready = True
            take_for_lasting()
            self._up.set()
        self.teller.keep(command)

    def _note_run(self, report: commands.Report) -> None:
        """Remember when a scheduled job has begun."""
        container = self._supervisor.core.made_of(report.instance)
        if container.schedule is not None and report.before is State.STARTING:
            self._last_runs.note(container.name, wall_offset() + trio.current_time())

    def _views(self) -> Views:
        self.teller.settle()
        site = self.machine.site
        now = trio.current_time()
        clock = Clock(now, now + self._clock.shown_offset())
        return Views(
            site.fleet,
            self._supervisor.core,
            clock,
            site.address,
            site.enforced,
            self.machine.stop_warning,
            self.machine.notified,
        )
