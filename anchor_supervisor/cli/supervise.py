"""`anchor-supervise FLEET.toml ...`: this process is the fleet's supervisor."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from anchor_supervisor import __version__
from anchor_supervisor.cli.descriptors import open_standard_descriptors, tell_faults_of_output
from anchor_supervisor.cli.options import add_profile_option, chosen_profiles, help_formatter
from anchor_supervisor.cli.problems import guarded
from anchor_supervisor.cli.program import collect_garbage_from_now, leave
from anchor_supervisor.fleet.model import Fleet, LimitsMode
from anchor_supervisor.fleet.parse import load_files
from anchor_supervisor.fleet.units import parse_duration
from anchor_supervisor.values import evolve

EXAMPLES = """\
examples:
  anchor-supervise shop.toml                 run the fleet here; Ctrl-C stops it in order
  anchor-supervise --detach shop.toml        come back once everything is up
  anchor-supervise --check shop.toml         is the file right, and can this machine run it?
  anchor-supervise --plan shop.toml          every step that would be taken
  anchor-supervise shop.toml local.toml      what the second file says overrides the first
  anchor-supervise --profile dev shop.toml   with the containers of a profile too

exit codes:
  0 stopped on request, or all jobs succeeded    1 an essential container gave up, or a job failed
  2 the file is wrong                            3 this machine cannot do it
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="anchor-supervise",
        description="Bring a fleet of containers up and keep it as its file says.",
        epilog=EXAMPLES,
        formatter_class=help_formatter,
    )
    parser.add_argument(
        "files",
        metavar="FLEET.toml",
        type=Path,
        nargs="+",
        help="the fleet; of several files, a later one overrides",
    )
    add_profile_option(parser)
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument(
        "--check", action="store_true", help="validate the file and this machine; start nothing"
    )
    modes.add_argument(
        "--plan", action="store_true", help="print every step that would be taken; start nothing"
    )
    modes.add_argument(
        "--detach", action="store_true", help="return once every container is up (or done)"
    )
    parser.add_argument(
        "--wait-timeout",
        metavar="DURATION",
        type=_duration,
        default=60.0,
        help="how long --detach waits (default 60s)",
    )
    parser.add_argument(
        "--limits",
        choices=[mode.value for mode in LimitsMode],
        help="what to do with a limit this kernel cannot enforce; overrides the file",
    )
    parser.add_argument(
        "--build", action="store_true", help="build every image that has a `build` anew"
    )
    parser.add_argument("--quiet", action="store_true", help="do not show the containers' output")
    parser.add_argument("--log-format", choices=["console", "json"], help="of our own lines")
    parser.add_argument("--json", action="store_true", help="answer --check and --plan in JSON")
    parser.add_argument("--no-color", action="store_true", help="no colours, also by NO_COLOR")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return parser


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _load(arguments: argparse.Namespace) -> Fleet:
    profiles = chosen_profiles(arguments.profile, os.environ)
    fleet = load_files(arguments.files, os.environ, profiles)
    limits = _limits(arguments)
    return fleet if limits is None else evolve(fleet, limits=limits)


def _limits(arguments: argparse.Namespace) -> LimitsMode | None:
    return None if arguments.limits is None else LimitsMode(arguments.limits)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.no_color:
        os.environ["NO_COLOR"] = "1"  # one switch, which every place that colours asks
    fleet = _load(arguments)
    collect_garbage_from_now()
    if arguments.check:
        from anchor_supervisor.cli.check import check

        return check(fleet, as_json=arguments.json)
    if arguments.plan:
        from anchor_supervisor.cli.check import plan

        return plan(fleet, as_json=arguments.json)
    if arguments.detach:
        from anchor_supervisor.cli.up import up

        return up(
            fleet,
            timeout=arguments.wait_timeout,
            log_format=arguments.log_format,
            build=arguments.build,
            limits=_limits(arguments),
        )
    from anchor_supervisor.cli.provide import provided
    from anchor_supervisor.observability.log import LogFormat
    from anchor_supervisor.runtime.service import supervise
    from anchor_supervisor.runtime.terms import Options

    options = Options(
        output=not arguments.quiet,
        log_format=LogFormat(arguments.log_format) if arguments.log_format else None,
        limits=_limits(arguments),
    )
    with provided(fleet, build=arguments.build, quiet=arguments.quiet):
        return supervise(fleet, options).outcome.exit_code


def main(argv: Sequence[str] | None = None) -> int:
    """Run `anchor-supervise`; return its exit code."""
    open_standard_descriptors()
    tell_faults_of_output()
    arguments = _parser().parse_intermixed_args(argv)  # options may stand between the files
    return guarded(lambda: _run(arguments))


if __name__ == "__main__":
    leave(main())
