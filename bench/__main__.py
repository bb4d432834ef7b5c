"""Answer one question about speed on this machine: `anchor bench QUESTION [options]`.

Every figure is a line on standard output, and with `--out DIR` a JSON line in `DIR/results.jsonl`,
of which `anchor bench report DIR` makes a table and pictures. Run it as root, on a machine that has
nothing else to do.
"""

from __future__ import annotations

import argparse
import compileall
import difflib
import importlib
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from anchor_supervisor.cli.main import WrongUse
from anchor_supervisor.cli.options import help_formatter
from anchor_supervisor.cli.problems import guarded
from anchor_supervisor.errors import AnchorError, HostError
from anchor_supervisor.kernel.mount import private_mount_namespace
from anchor_supervisor.kernel.process import raise_open_files
from anchor_supervisor.runtime.preflight import require_root
from measure import Results, own_directories
from options import settled, writable_directory
from programs import require_programs

HERE: Final = Path(__file__).resolve().parent

QUESTIONS: Final = {
    "startup": "what copy-on-write buys: a start, by root strategy and image size",
    "burst": "many containers at once",
    "restart": "from a crash to the next run's first instruction",
    "ready": "a chain of dependencies, each on the health of the one before",
    "teardown": "many containers brought down",
    "idle": "wake-ups of a fleet that has nothing to do",
    "memory": "what the supervisor needs, and each container",
    "commands": "whole commands: up, ps, run",
    "unpack": "how long an image takes to get in",
    "peers": "the same work through what else is installed",
}
OTHERS: Final = {
    "all": "every question, one after the other, and the report",
    "report": "a table and pictures of results",
}


def main() -> int:
    """Run; return the exit code, as all our programs do."""
    return guarded(lambda: _main(sys.argv[1:]))


def _main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="anchor bench",
        usage="anchor bench QUESTION ...",
        description="Measure on this machine.",
        epilog=_overview(),
        formatter_class=help_formatter,
    )
    parser.add_argument("question", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    common = parser.parse_args(argv)
    if common.question is None:
        parser.print_help()
        return 0
    return _asked(common.question, common.arguments)


def _asked(question: str, arguments: Sequence[str]) -> int:
    if question not in {*QUESTIONS, *OTHERS}:
        near = difflib.get_close_matches(question, [*QUESTIONS, *OTHERS])
        hint = f"did you mean `{near[0]}`?" if near else "`anchor bench --help` lists them"
        message = f"unknown question `{question}`"
        raise WrongUse(message, hint=hint)
    module: Any = importlib.import_module("everything" if question == "all" else question)
    parser = argparse.ArgumentParser(
        prog=f"anchor bench {question}", description=module.__doc__, formatter_class=help_formatter
    )
    module.add_options(parser)
    if question == "report":
        return int(module.ask(parser.parse_args(arguments)))
    parser.add_argument("--short", action="store_true", help="the short form: fewer of everything")
    parser.add_argument("--json", action="store_true", help="JSON lines on standard output")
    if question == "all":
        return int(module.ask(parser.parse_args(arguments), list(QUESTIONS)))
    parser.add_argument("--out", metavar="DIR", type=Path, help="a directory to add results to")
    return _answer(question, module, settled(parser.parse_args(arguments)))


def _answer(question: str, module: Any, options: argparse.Namespace) -> int:  # noqa: ANN401
    """Measure in places of our own, and leave nothing."""
    require_root()
    require_programs()
    if options.out is not None:
        writable_directory("--out", options.out)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _as_an_interrupt)
    # Where nothing may be written at an import, each command would compile its own source.
    compiled = compileall.compile_dir(HERE.parent / "anchor_supervisor", quiet=2)
    notes = {"bytecode": "compiled beforehand" if compiled else "not all could be compiled"}
    raise_open_files()
    private_mount_namespace()
    form = "short" if options.short else "long"
    with own_directories() as directory:
        results = Results(question, options.out, form, options.json, notes)
        try:
            module.ask(options, results, directory)
        except BaseException as error:  # noqa: ASYNC103 - no loop runs here
            results.end(_words(error))
            if isinstance(error, subprocess.CalledProcessError):
                raise HostError(_words(error)) from error
            raise
        results.end()
    return 0


def _as_an_interrupt(_number: int, _frame: object) -> None:
    """Trio knows what to do with an interrupt, and nothing of the others."""
    signal.raise_signal(signal.SIGINT)


def _words(error: BaseException) -> str:
    """Say why a question has no answer, or not a whole one."""
    match error:
        case KeyboardInterrupt():
            return "interrupted"
        case AnchorError():
            return error.message
        case subprocess.CalledProcessError():
            said = error.stderr.decode(errors="replace") if error.stderr else ""
            why = [line for line in said.splitlines() if line.strip()][-1:]
            what = " ".join(map(str, error.cmd)) if isinstance(error.cmd, list) else error.cmd
            return f"`{what}` ended with {error.returncode}: {''.join(why) or 'it said nothing'}"
        case _:
            return f"{type(error).__name__}: {error}"


def _overview() -> str:
    both = {**QUESTIONS, **OTHERS}
    width = max(map(len, both))
    lines = "\n".join(f"  {name:<{width}}  {words}" for name, words in both.items())
    return f"""\
questions:
{lines}

`anchor bench QUESTION --help` tells more. It wants root, a C compiler, and a machine that has
nothing else to do.
"""


if __name__ == "__main__":
    sys.exit(main())
