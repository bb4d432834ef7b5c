"""The same work through whatever else is installed, beside ours and beside what the kernel needs.

`single` is one container of one program: the whole command, and until its first instruction, back
to back and with gaps. `many` are several that wait, started one after the other and four at a time,
and ended, with the memory of what stays beside them. `stack` is a stack of services up and down,
`restart` from a crash to the next first instruction. Everybody runs the same static program over
the same root; isolation differs, and is said beside each figure. Who is not installed, or cannot
run here, is named with the reason.

A report shows the last answer, so what is to be in one has to be asked for at once. All of it
happens in a network namespace of its own, and nothing stays behind. The machine's docker
daemon is asked where it answers; --with-dockerd starts another one for the while instead.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Final

from measure import Results
from options import Default, add_option, count, counts, words
from peers import crowds, restarts, singles, stacks
from peers.corner import corner
from peers.party import NAMES, Party
from programs import first_image

WORK: Final[dict[str, Callable[[Party], None]]] = {
    "single": singles.tell,
    "many": crowds.tell,
    "stack": stacks.tell,
    "restart": restarts.tell,
}
MOST: Final = 1000
"""Containers behind one bridge."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what can be chosen."""
    work = tuple(WORK)
    add_option(parser, "--count", count("--count", MOST), Default(50, 5), "containers of each kind")
    add_option(parser, "--times", count("--times"), Default(3, 1), "how often each stack")
    sizes = counts("--stacks", MOST)
    add_option(parser, "--stacks", sizes, Default((10, 50), (10,)), "services of a stack")
    add_option(parser, "--work", words("--work", work), Default(work, work), "kinds of work")
    add_option(parser, "--only", words("--only", NAMES), Default(NAMES, NAMES), "who is asked")
    parser.add_argument(
        "--with-dockerd", action="store_true", help="ask a docker daemon started for the while"
    )


def ask(options: argparse.Namespace, results: Results, directory: Path) -> None:
    """Find out who is here, and ask everybody."""
    image = first_image(directory)
    (image / "usr").mkdir(exist_ok=True)  # without it some take a root for no root
    with corner(directory) as place:
        party = Party(options, results, place, image)
        party.gather()
        for name in options.work:
            WORK[name](party)
