"""Whole commands as a person types them: the interpreter's start and all.

The programs are the installed ones, and compiled: a package that an installer put there is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from fleets import running, stack_file
from measure import Results, say
from options import Default, add_option, count, counts
from programs import command, first_image, timed

PS_EACH_TIME: Final = 5


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what can be chosen."""
    times = count("--times", 1000)
    add_option(parser, "--times", times, Default(30, 8), "how often each command")
    stacks = count("--stacks", 100)
    add_option(parser, "--stacks", stacks, Default(8, 2), "how often each stack comes up")
    sizes = counts("--sizes", 500)
    add_option(parser, "--sizes", sizes, Default((10, 50), (10, 50)), "services of a stack")


def ask(options: argparse.Namespace, results: Results, directory: Path) -> None:
    """Time `run` of one command, and `up`, `ps` and `down` of stacks."""
    image = str(first_image(directory))
    bare = [sys.executable, "-c", "pass"]
    works: dict[str, Callable[[], float]] = {
        "python -c pass": lambda: timed(*bare),
        "anchor run /bin/true": lambda: timed(*command("main", "run", "/bin/true")),
        "anchor run -i IMAGE /first": lambda: timed(*command("main", "run", "-i", image, "/first")),
        "anchor --version": lambda: timed(*command("main", "--version")),
    }
    samples: dict[str, list[float]] = {what: [] for what in works}
    for _ in range(options.times):
        for what, work in works.items():
            samples[what].append(work())
    for what, taken in samples.items():
        results.samples(what, taken, command=what)
    for size in options.sizes:
        _stack(options, results, directory, size)


def _stack(options: argparse.Namespace, results: Results, directory: Path, size: int) -> None:
    say(f"a stack of {size} services, {options.stacks} times")
    file = stack_file(directory, f"stack-{size}", size)
    ups, lists = [], []
    for _ in range(options.stacks):
        with running(file) as up:
            ups.append(up.command)
            ps = command("main", "ps", "-f", str(file))
            lists += [timed(*ps) for _ in range(PS_EACH_TIME)]
    up_words = f"anchor-supervise --detach, {size} services"
    results.samples(up_words, ups, command="detach", size=size)
    results.samples(f"anchor ps, {size} services", lists, command="ps", size=size)
