"""What happens to a fleet, told to everyone who wants to know: log, journal, service manager.

And to the one who waits for a detached fleet. Names are as a person reads them where a person
reads, and whole where a machine does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import final

from attrs import field

from anchor_supervisor.errors import AnchorError
from anchor_supervisor.fleet.model import Fleet, InstanceId, instances
from anchor_supervisor.observability.log import log
from anchor_supervisor.observability.terminal import display_names
from anchor_supervisor.runtime.detach import Reporter
from anchor_supervisor.runtime.event_log import EventLog
from anchor_supervisor.runtime.notify import Notifier
from anchor_supervisor.supervision import commands
from anchor_supervisor.supervision.commands import UpdateResult
from anchor_supervisor.supervision.states import State
from anchor_supervisor.values import define

Names = Mapping[str, str]
"""What is shown for `web.1`."""


@final
@define(eq=False)
class Teller:
    """Tells what the core decides. `quiet`: the log is not told of transitions.

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
    _shown: Names = field(factory=dict, init=False)

    def name(self, fleet: Fleet) -> None:
        """Learn what the instances of a fleet are called."""
        shown = display_names((one.container, one.replica) for one in instances(fleet))
        self.renamed(shown)
        self._shown = {} if self.full_names else shown

    def warn(self, warning: str) -> None:
        """Pass a warning on, before anything has begun."""
        log.warning(warning)
        self.reporter.tell(event="warning", message=warning)

    def deaf(self, instance: InstanceId, warning: str) -> None:
        """Tell that a stop of a container that runs would end in a kill."""
        if not self.quiet:
            log.warning(warning, container=self._shown.get(str(instance), str(instance)))
        self.journal.add("deaf", container=str(instance), reason=warning)

    def tell(self, command: commands.Command) -> None:
        """Tell of one command, where it is one that tells something."""
        match command:
            case commands.Report():
                self._report(command)
            case commands.UpdateEnded():
                self._update_ended(command)
            case commands.Refresh():
                self._refresh(command)
            case commands.FleetReady():
                self.said_ready = True
                log.info("fleet is ready")
                self.notifier.send("READY=1", "STATUS=ready")
                self.reporter.tell(event="ready")
                self.reporter.close()
            case commands.FleetUnready(reason=reason):
                if not self.quiet:
                    log.warning("fleet cannot become ready", reason=reason)
                self.reporter.tell(event="unready", reason=reason)
            case commands.FleetDone(exit_code=code, reason=reason):
                log.info("fleet is done", reason=reason)
                self.notifier.send("STOPPING=1", f"STATUS={reason}")
                self.reporter.tell(event="done", reason=reason, exit_code=code)
            case _:
                pass  # the loop's business

    def clock_set(self, seconds: float) -> None:
        """Tell that somebody has set the wall clock, by so many seconds."""
        log.info("the wall clock was set", seconds=round(seconds, 3))
        self.journal.add("clock", seconds=round(seconds, 3))

    def note(self, instance: InstanceId, event: str, facts: Mapping[str, object]) -> None:
        """Tell what the kernel says of an instance: a kill for want of memory, pressure."""
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

    def _report(self, report: commands.Report) -> None:
        name = self._shown.get(str(report.instance), str(report.instance))
        if not self.quiet:
            tell = log.warning if report.state in {State.FAILED, State.BACKOFF} else log.info
            facts = {"health": report.health.value} if report.health != "none" else {}
            tell(report.state.value, container=name, reason=report.reason, **facts)
        self.journal.add(
            "transition",
            container=str(report.instance),
            before=report.before.value,
            state=report.state.value,
            health=report.health.value,
            reason=report.reason,
            exit=str(report.exit) if report.exit else None,
        )
        self.notifier.send(f"STATUS={name} {report.state.value}: {report.reason}")
        self.reporter.tell(
            event="state",
            name=name,
            state=report.state.value,
            health=report.health.value,
            reason=report.reason,
        )

    def _update_ended(self, ended: commands.UpdateEnded) -> None:
        well = ended.result in {UpdateResult.DONE, UpdateResult.SUPERSEDED}
        tell = log.info if well else log.warning
        tell(f"update {ended.result}", container=ended.container, reason=ended.reason)
        self.journal.add(
            "update", container=ended.container, result=ended.result.value, reason=ended.reason
        )
        self.notifier.send(f"STATUS=update of {ended.container} {ended.result}: {ended.reason}")

    def _refresh(self, refresh: commands.Refresh) -> None:
        name = self._shown.get(str(refresh.instance), str(refresh.instance))
        facts = {"signal": refresh.signal} if refresh.signal else {}
        log.info("refreshed", container=name, **facts)
        self.journal.add("refresh", container=str(refresh.instance), signal=refresh.signal)
