"""Answer one question about speed on this machine: `python bench QUESTION [options]`.

Every answer is a JSON line on standard output, and with `--out DIR` in `DIR/results.jsonl` too,
where `python bench report DIR` makes a table and pictures of them. Run it as root, on a machine
that has nothing else to do.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path
from typing import Any, Final

from anchor_supervisor.kernel.mount import private_mount_namespace
from anchor_supervisor.kernel.process import raise_open_files
from measure import Results, own_directories

QUESTIONS: Final = {
    "startup": "what copy-on-write buys: a start, by root strategy and image size",
    "burst": "many containers at once",
    "restart": "from a crash to the next run's first instruction",
    "ready": "a chain of dependencies, each on the health of the one before",
    "teardown": "many containers brought down",
    "idle": "wake-ups of a fleet that has nothing to do",
    "memory": "what the supervisor needs, and for each container",
    "commands": "whole commands: up, ps, run, down",
    "peers": "the same work through what else is installed",
}


def main() -> int:
    """Parse, run in places of our own, and leave nothing."""
    parser = argparse.ArgumentParser(prog="anchor bench", description="Measure on this machine.")
    verbs = parser.add_subparsers(dest="question", metavar="QUESTION", required=True)
    modules: dict[str, Any] = {}
    for question, words in QUESTIONS.items():
        module: Any = importlib.import_module(question)
        modules[question] = module
        verb = verbs.add_parser(question, help=words, description=module.__doc__)
        module.add_options(verb)
        verb.add_argument("--out", type=Path, help="a directory to add the results to")
    reporter: Any = importlib.import_module("report")
    reporter.add_options(verbs.add_parser("report", help="a table and pictures of results"))
    options = parser.parse_args()
    if options.question == "report":
        reporter.ask(options)
        return 0
    if os.geteuid() != 0:
        parser.error("containers need root")
    raise_open_files()
    private_mount_namespace()
    with own_directories() as directory:
        results = Results(options.question, options.out)
        modules[options.question].ask(options, results, directory)
        results.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
