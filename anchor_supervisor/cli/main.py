"""`anchor`: finds the verb, and loads that verb alone.

`anchor ps` may take 60 ms as a whole command, so nothing is imported here, in the client verbs or
beneath them but the standard library, and of that only what is quickly loaded; tests watch.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from anchor_supervisor import __version__
from anchor_supervisor.cli.descriptors import open_standard_descriptors, tell_faults_of_output
from anchor_supervisor.cli.options import add_file_option, help_formatter
from anchor_supervisor.cli.problems import guarded
from anchor_supervisor.cli.program import collect_garbage_from_now, leave
from anchor_supervisor.errors import AnchorError
from anchor_supervisor.hints import TYPE_CHECKING, final

if TYPE_CHECKING:
    from typing import Any, Final


@final
class Verb:
    """A verb: the module beneath `cli` with `configure`, `run` and EXAMPLES, and what it does.

    `failure_code` stands for our own failures where all other codes are the command's.
    """

    def __init__(self, module: str, summary: str, failure_code: int | None = None) -> None:
        """Remember."""
        self.module: Final = module
        self.summary: Final = summary
        self.failure_code: Final = failure_code


VERBS: Final = {
    "up": Verb("up", "bring a fleet up and come back once it is"),
    "down": Verb("down", "stop a fleet in order and leave nothing behind"),
    "plan": Verb("plan", "what a changed file would do to a running fleet, key by key"),
    "apply": Verb("apply", "make a running fleet what its file says now"),
    "scale": Verb("scale", "change how many replicas containers have"),
    "ps": Verb("ps", "list containers: state, health, reason, restarts, next attempt"),
    "why": Verb("why", "tell the whole story of one container's state"),
    "logs": Verb("logs", "show what containers have said"),
    "events": Verb("events", "show what has happened to containers, and why"),
    "exec": Verb("exec_", "run a command in a running container", failure_code=125),
    "run": Verb("run", "run one container, without a file", failure_code=125),
    "start": Verb("start", "start containers"),
    "stop": Verb("stop", "stop containers, and keep them stopped"),
    "restart": Verb("restart", "stop containers and start them again"),
    "kill": Verb("kill", "send containers a signal"),
    "pull": Verb("pull", "bring an image from a registry"),
    "push": Verb("push", "bring an image to a registry"),
    "diff": Verb("diff", "what a container has changed of its image"),
    "commit": Verb("commit", "make an image of a container as it is now"),
    "cp": Verb("cp", "copy files out of a container or into it"),
    "inspect": Verb("inspect", "everything known about a container or an image, as JSON"),
    "images": Verb("images", "list images: name, id, age, size"),
    "import": Verb("import_", "make images of a file, a directory or a pipe"),
    "save": Verb("save", "write images into an archive"),
    "tag": Verb("tag", "give an image a further name"),
    "history": Verb("history", "show how an image came to be"),
    "rmi": Verb("rmi", "remove names of images, and images with their last one"),
    "prune": Verb("prune", "remove images and layers that nothing leads to"),
    "build": Verb("build", "make an image from a Dockerfile"),
    "volume": Verb("volume", "list, create, remove, inspect and prune volumes"),
    "doctor": Verb("doctor", "what this machine can and cannot do for us"),
    "bench": Verb("bench", "measure on this machine: starts, bursts, memory, beside others"),
}
UNSAID: Final = {"file": None, "fleet": None, "json": False, "no_color": False}
"""What the options before the verb are where they are not given."""

_PROMISED: Final = "pause unpause wait stats top port"
NOT_YET: Final = frozenset(_PROMISED.split())


class WrongUse(AnchorError):  # noqa: N818 - it is what it is
    """The command line is wrong."""

    exit_code = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run `anchor`; return its exit code."""
    open_standard_descriptors()
    tell_faults_of_output()
    return guarded(lambda: _main(sys.argv[1:] if argv is None else argv))


def _main(argv: Sequence[str]) -> int:
    common = argparse.Namespace(**UNSAID)
    if argv and argv[0] in VERBS:  # as mostly, and then there is no need of a parser for it
        name, *rest = argv
    else:
        parser = _parser()
        parser.parse_args(argv, common)
        name, rest = common.verb, common.arguments
        del common.verb, common.arguments
        if name == "help" and rest:
            name, rest = rest[0], ["--help"]
        if name in {None, "help"}:
            parser.print_help()
            return 0
    verb = VERBS.get(name)
    if verb is None:
        raise _unknown(name)
    if verb.failure_code is None:
        return _run(name, verb, rest, common)
    return guarded(lambda: _run(name, verb, rest, common), failure_code=verb.failure_code)


def _run(name: str, verb: Verb, rest: Sequence[str], common: argparse.Namespace) -> int:
    module: Any = importlib.import_module(f"anchor_supervisor.cli.{verb.module}")
    parser = argparse.ArgumentParser(
        prog=f"anchor {name}",
        description=f"{verb.summary[0].upper()}{verb.summary[1:]}.",
        epilog=module.EXAMPLES,
        formatter_class=help_formatter,
    )
    module.configure(parser)
    _add_color_option(parser)
    options = parser.parse_args(rest, common)
    if options.no_color:
        os.environ["NO_COLOR"] = "1"  # one switch, which every place that colours asks
    collect_garbage_from_now()
    return int(module.run(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="anchor",
        usage="anchor [-f FILE ... | -p NAME] VERB ...",
        description="Look after fleets of Linux containers.",
        epilog=_overview(),
        formatter_class=help_formatter,
    )
    add_file_option(parser)
    parser.add_argument("-p", "--fleet", metavar="NAME", help="the fleet of this name")
    parser.add_argument("--json", action="store_true", help="answer in JSON")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument("verb", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    _add_color_option(parser)
    return parser


def _add_color_option(parser: argparse.ArgumentParser) -> None:
    words = "no colours, also by NO_COLOR"
    parser.add_argument("--no-color", action="store_true", default=argparse.SUPPRESS, help=words)


def _overview() -> str:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:<{width}}  {verb.summary}" for name, verb in VERBS.items())
    return f"""\
verbs:
{verbs}

examples:
  anchor up -f shop.toml        bring a fleet up
  anchor ps                     how it is
  anchor why web                why a container is as it is
  anchor logs -f web            what it says
  anchor down                   end it

`anchor VERB --help` tells more. `anchor-supervise FLEET.toml` runs a fleet in the foreground.
"""


def _unknown(name: str) -> WrongUse:
    if name in NOT_YET:
        return WrongUse(f"`{name}` is not supported yet", hint="`anchor --help` lists what is")
    import difflib

    near = difflib.get_close_matches(name, VERBS) or difflib.get_close_matches(name, NOT_YET)
    hint = f"did you mean `{near[0]}`?" if near else "`anchor --help` lists the verbs"
    return WrongUse(f"unknown verb `{name}`", hint=hint)


if __name__ == "__main__":
    leave(main())
