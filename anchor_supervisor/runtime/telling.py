"""What happens to a fleet, told to everyone who wants to know: log, journal, service manager.

And to the one who waits for a detached fleet. Names are as a person reads them where a person
reads, and whole where a machine does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, final

from anchor_supervisor.errors import AnchorError
from anchor_supervisor.fleet.model import Fleet, InstanceId, instances
from anchor_supervisor.observability.journal import Entry, entry_at
from anchor_supervisor.observability.log import log
from anchor_supervisor.observability.terminal import display_names
from anchor_supervisor.runtime.detach import Reporter
from anchor_supervisor.runtime.event_log import EventLog
from anchor_supervisor.runtime.notify import Notifier
from anchor_supervisor.runtime.output import Listener
from anchor_supervisor.supervision import commands
from anchor_supervisor.supervision.commands import UpdateResult
from anchor_supervisor.supervision.states import HealthState, State
from anchor_supervisor.values import define, field

LOUD: Final = frozenset({State.FAILED, State.BACKOFF})

Names = Mapping[str, str]
"""What is shown for `web.1`."""


@final
@define(eq=False)
class Teller:
    """Tells what the core decides. `quiet`: the log is not told of transitions.

    What is kept, with its time, is told together, before anything else is.
    `full_names`: say `web.1`, which a machine can rely on, where a person reads `web`. `renamed`
    is told what to show for each instance, at first and whenever the fleet has changed.
    """

    reporter: Reporter
    journal: EventLog
    notifier: Notifier
    quiet: bool = False
    full_names: bool = False
    renamed: Callable[[Names], None] = lambda _: None
    said_ready: bool = field(default=False, init=False)
    _kept: list[tuple[int, commands.Report]] = field(factory=list, init=False)
    _shown: Names = field(factory=dict, init=False)

    def name(self, fleet: Fleet) -> None:
        """Learn what the instances of a fleet are called."""
        self.settle()
        shown = display_names((one.container, one.replica) for one in instances(fleet))
        self.renamed(shown)
        self._shown = {} if self.full_names else shown

    def warn(self, warning: str) -> None:
        """Pass a warning on, before anything has begun."""
        log.warning(warning)
        self.reporter.tell(event="warning", message=warning)

    def deaf(self, instance: InstanceId, warning: str) -> None:
        """Tell that a stop of a container that runs would end in a kill."""
        self.settle()
        if not self.quiet:
            log.warning(warning, container=self._shown.get(str(instance), str(instance)))
        self.journal.add("deaf", container=str(instance), reason=warning)

    def keep(self, command: commands.Command) -> None:
        """Tell of one command soon, by `settle`, where it can wait; else at once."""
        if isinstance(command, commands.Report):
            self._kept.append((time.time_ns(), command))
        else:
            self.tell(command)

    def before(self, listener: Listener) -> Listener:
        """Make a listener that hears nothing of a run before that run has been told of."""

        def hear(instance: InstanceId, stream: str, data: bytes) -> None:
            if data:  # else any thread may tell
                self.settle()
            listener(instance, stream, data)

        return hear

    def settle(self) -> None:
        """Tell what was kept."""
        if self._kept:
            kept, self._kept = self._kept, []
            self._report(kept)

    def tell(self, command: commands.Command) -> None:
        """Tell of one command, where it is one that tells something."""
        match command:
            case commands.Report():
                self.keep(command)
                self.settle()
            case commands.UpdateEnded():
                self._update_ended(command)
            case commands.Refresh():
                self._refresh(command)
            case commands.FleetReady():
                self.settle()
                self.said_ready = True
                log.info("fleet is ready")
                self.notifier.send("READY=1", "STATUS=ready")
                self.reporter.tell(event="ready")
                self.reporter.close()
            case commands.FleetUnready(reason=reason):
                self.settle()
                if not self.quiet:
                    log.warning("fleet cannot become ready", reason=reason)
                self.reporter.tell(event="unready", reason=reason)
            case commands.FleetDone(exit_code=code, reason=reason):
                self.settle()
                log.info("fleet is done", reason=reason)
                self.notifier.send("STOPPING=1", f"STATUS={reason}")
                self.reporter.tell(event="done", reason=reason, exit_code=code)
            case _:
                pass  # the loop's business

    def clock_set(self, seconds: float) -> None:
        """Tell that somebody has set the wall clock, by so many seconds."""
        self.settle()
        log.info("the wall clock was set", seconds=round(seconds, 3))
        self.journal.add("clock", seconds=round(seconds, 3))

    def note(self, instance: InstanceId, event: str, facts: Mapping[str, object]) -> None:
        """Tell what the kernel says of an instance: a kill for want of memory, pressure."""
        self.settle()
        if not self.quiet:
            name = self._shown.get(str(instance), str(instance))
            log.warning(event, container=name, **{k: v for k, v in facts.items() if v is not None})
        self.journal.add(event, container=str(instance), **facts)

    def refuse(self, error: AnchorError) -> None:
        """Tell that a change was refused, with everything that is wrong with it."""
        log.error("the fleet stays as it is: the change was refused")
        problems = getattr(error, "problems", None)
        for words, hint in [(str(one), one.hint) for one in problems or ()] or [
            (error.message, error.hint)
        ]:
            log.error(words, **({"hint": hint} if hint else {}))
        self.notifier.send(f"STATUS=change refused: {error.message.splitlines()[0]}")

    def _report(self, kept: Sequence[tuple[int, commands.Report]]) -> None:
        self.journal.add_all([_transition(when, report) for when, report in kept])
        states = []
        for _, report in kept:
            name, state = str(report.instance), report.state.value
            name = self._shown.get(name, name)
            health = report.health.value
            if not self.quiet:
                tell = log.warning if report.state in LOUD else log.info
                facts = {} if report.health is HealthState.NONE else {"health": health}
                tell(state, container=name, reason=report.reason, **facts)
            self.notifier.send(f"STATUS={name} {state}: {report.reason}")
            states.append({"name": name, "state": state, "health": health, "reason": report.reason})
        self.reporter.tell_states(states)

    def _update_ended(self, ended: commands.UpdateEnded) -> None:
        self.settle()
        well = ended.result in {UpdateResult.DONE, UpdateResult.SUPERSEDED}
        tell = log.info if well else log.warning
        tell(f"update {ended.result}", container=ended.container, reason=ended.reason)
        self.journal.add(
            "update", container=ended.container, result=ended.result.value, reason=ended.reason
        )
        self.notifier.send(f"STATUS=update of {ended.container} {ended.result}: {ended.reason}")

    def _refresh(self, refresh: commands.Refresh) -> None:
        self.settle()
        name = self._shown.get(str(refresh.instance), str(refresh.instance))
        facts = {"signal": refresh.signal} if refresh.signal else {}
        log.info("refreshed", container=name, **facts)
        self.journal.add("refresh", container=str(refresh.instance), signal=refresh.signal)


def _transition(when: int, report: commands.Report) -> Entry:
    return entry_at(
        when,
        "transition",
        container=str(report.instance),
        before=report.before.value,
        state=report.state.value,
        health=report.health.value,
        reason=report.reason,
        exit=str(report.exit) if report.exit else None,
    )
