"""`anchor up` and `anchor-supervise --detach`: come back once the fleet is up, and say how."""

from __future__ import annotations

import argparse
import os
import select
import sys
import time
from pathlib import Path
from typing import Any, Final, final

from anchor_supervisor.cli.options import add_file_option, add_profile_option, load_fleet
from anchor_supervisor.cli.problems import show, warn
from anchor_supervisor.cli.program import collect_garbage_from_now
from anchor_supervisor.cli.provide import provided
from anchor_supervisor.cli.render import Paint
from anchor_supervisor.errors import AnchorError, ControlError, FleetError, HostError, Problem
from anchor_supervisor.fleet.model import Fleet, LimitsMode
from anchor_supervisor.fleet.units import format_duration, parse_duration
from anchor_supervisor.observability import places
from anchor_supervisor.observability.terminal import wants_color
from anchor_supervisor.runtime.detach import Background, Reporter, fork_supervisor
from anchor_supervisor.values import define, evolve, field

EXAMPLES: Final = """\
The supervisor goes on in the background; `anchor down` ends it.

examples:
  anchor up                        the fleet of ./fleet.toml
  anchor up -f shop.toml
  anchor up -f shop.toml --wait-timeout 2m
  anchor up -f shop.toml -f production.toml --profile metrics
"""

PATIENCE: Final = 60.0
LOG: Final = "supervisor.log"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_file_option(parser)
    add_profile_option(parser)
    parser.add_argument(
        "--wait-timeout", metavar="DURATION", default="60s", help="how long to wait (default 60s)"
    )
    parser.add_argument(
        "--limits",
        choices=[mode.value for mode in LimitsMode],
        help="what to do with a limit this kernel cannot enforce; overrides the file",
    )
    parser.add_argument(
        "--build", action="store_true", help="build every image that has a `build` anew"
    )


def run(options: argparse.Namespace) -> int:
    """Bring the fleet up in the background."""
    try:
        timeout = parse_duration(options.wait_timeout)
    except ValueError as error:
        raise FleetError([Problem(str(error), key="--wait-timeout")]) from None
    fleet = load_fleet(options)
    limits = None if options.limits is None else LimitsMode(options.limits)
    if limits is not None:
        fleet = evolve(fleet, limits=limits)
    return up(fleet, timeout=timeout, build=options.build, limits=limits)


def up(
    fleet: Fleet,
    *,
    timeout: float = PATIENCE,
    log_format: str | None = None,
    build: bool = False,
    limits: LimitsMode | None = None,
) -> int:
    """Split off a supervisor for the fleet, and wait until it is ready; return the exit code.

    Images are pulled and built before that. `timeout` in seconds. `limits` wins over the file
    whenever that is read again. A fleet that is not ready in
    time, or cannot become so, keeps running: `anchor why` can be asked, and `anchor down` ends it.
    """
    log = places.fleet_log_dir(fleet.name) / LOG
    with provided(fleet, build=build):
        split = fork_supervisor(log)
        if isinstance(split, Reporter):
            os._exit(_supervise(fleet, split, log_format, limits))
        return _Watcher(fleet, split, timeout, log).watch()


def _supervise(
    fleet: Fleet, reporter: Reporter, log_format: str | None, limits: LimitsMode | None
) -> int:
    """The child: its errors travel to whoever waits, and into its log."""
    from anchor_supervisor.cli.problems import guarded
    from anchor_supervisor.observability.log import LogFormat
    from anchor_supervisor.runtime.service import supervise
    from anchor_supervisor.runtime.terms import Options

    def live() -> int:
        try:
            form = LogFormat(log_format) if log_format else None
            collect_garbage_from_now()
            options = Options(output=False, color=False, log_format=form, limits=limits)
            return supervise(fleet, options, reporter).outcome.exit_code
        except AnchorError as error:
            reporter.tell(event="error", **_as_news(error))
            raise

    return guarded(live, color=False)


def _as_news(error: AnchorError) -> dict[str, Any]:
    problems = getattr(error, "problems", ())
    return {
        "message": error.message,
        "hint": error.hint,
        "exit_code": error.exit_code,
        "problems": [[str(problem), problem.hint] for problem in problems],
    }


@final
@define
class _Watcher:
    """Follows the news of a fleet that comes up, and draws the verdict."""

    fleet: Fleet
    background: Background
    timeout: float
    log: Path
    _paint: Paint = field(factory=lambda: Paint(color=wants_color(sys.stderr)), init=False)
    _started: float = field(factory=time.monotonic, init=False)

    def watch(self) -> int:
        try:
            return self._follow()
        except KeyboardInterrupt:
            print("stopping the fleet", file=sys.stderr)
            self.background.cancel()
            raise

    def _follow(self) -> int:
        deadline = self._started + self.timeout
        while True:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self.background.descriptor], [], [], left)[0]:
                message = (
                    f"fleet `{self.fleet.name}` is not ready after {format_duration(self.timeout)}"
                )
                raise ControlError(
                    message, hint="it goes on; ask `anchor ps` and `anchor why NAME`"
                )
            news = self.background.read()
            if news is None:
                return self._ended()
            for item in news:
                verdict = self._take(item)
                if verdict is not None:
                    return verdict

    def _take(self, item: dict[str, Any]) -> int | None:
        match item["event"]:
            case "state":
                word = (
                    item["health"] if item["health"] in {"healthy", "unhealthy"} else item["state"]
                )
                print(
                    f"{item['name']}: {self._paint.state(word)} ({item['reason']})", file=sys.stderr
                )
            case "warning":
                warn(item["message"])
            case "ready":
                took = format_duration(round(time.monotonic() - self._started, 3))
                print(f"fleet `{self.fleet.name}` is up ({took})", file=sys.stderr)
                return 0
            case "unready":
                message = f"fleet `{self.fleet.name}` cannot become ready: {item['reason']}"
                raise ControlError(
                    message, hint="`anchor why NAME` tells more, `anchor down` ends it"
                )
            case "done":
                print(f"fleet `{self.fleet.name}` is done: {item['reason']}", file=sys.stderr)
                return self.background.exit_code()
            case "error":
                return self._show(item)
            case _:
                pass  # news of a later version
        return None

    def _show(self, item: dict[str, Any]) -> int:
        """Print the supervisor's error as if it were ours."""
        for message, hint in item["problems"] or [[item["message"], item["hint"]]]:
            show(HostError(message, hint=hint))
        self.background.exit_code()
        return int(item["exit_code"])

    def _ended(self) -> int:
        code = self.background.exit_code()
        message = f"the supervisor of `{self.fleet.name}` ended with exit code {code}"
        raise ControlError(message, hint=f"its own words are in `{self.log}`")
