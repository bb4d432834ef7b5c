"""`anchor prune`: what nothing leads to any more, away with it."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from anchor_supervisor.cli.options import add_json_option, paint_for_output, print_json
from anchor_supervisor.errors import AnchorError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anchor_supervisor.images.store import Removal, Store

EXAMPLES = """\
Images without a name, layers and blobs of no image, and what killed processes left. Never what a
fleet uses. With --all, the directories of `RUN --mount=type=cache` as well.

examples:
  anchor prune                 shows what would go, and asks
  anchor prune --dry-run       only shows it
  anchor prune --all --force   images with names as well, where no fleet uses them; no question
"""

_HEADERS = ("KIND", "NAME", "SIZE")


class Unanswered(AnchorError):  # noqa: N818 - it is what is the case
    """Nobody is there to be asked."""

    exit_code = 2


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("-a", "--all", action="store_true", help="images that no fleet uses, too")
    parser.add_argument("-f", "--force", action="store_true", help="do not ask")
    parser.add_argument("-n", "--dry-run", action="store_true", help="only show what would go")
    add_json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Show, ask, remove, and say what was freed."""
    from anchor_supervisor.build.sweep import sweep_dead_builds
    from anchor_supervisor.cli.image_words import freed, removal_facts, store

    place = store()
    if not options.dry_run:
        sweep_dead_builds()
    removals = _prune(place, everything=options.all, dry_run=True)
    if not options.json:
        _print_table(removals)
    if not options.dry_run and removals:
        if not options.force and not _agreed(removals):
            return 1
        removals = _prune(place, everything=options.all, dry_run=False)
    if options.json:
        rows = [removal_facts(removal) for removal in removals]
        print_json({"dry_run": options.dry_run, "removed": rows, "freed": freed(removals)})
    else:
        _print_total(removals, dry_run=options.dry_run)
    return 0


def _prune(store: Store, *, everything: bool, dry_run: bool) -> tuple[Removal, ...]:
    """The store's own, then what the build cache has of it for nothing."""
    from anchor_supervisor.build import cache

    removals = store.prune(everything=everything, dry_run=dry_run)
    return (*removals, *cache.prune(store, everything=everything, dry_run=dry_run))


def _agreed(removals: Sequence[Removal]) -> bool:
    """Ask on standard error, so that standard output has nothing but the answer to the verb."""
    from anchor_supervisor.cli import render
    from anchor_supervisor.cli.image_words import freed

    if not sys.stdin.isatty():
        message = "nothing is removed without being asked for"
        raise Unanswered(message, hint="`--force` removes it, `--dry-run` only shows it")
    print(f"Remove it, and free {render.size(freed(removals))}? [y/N] ", end="", file=sys.stderr)
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _print_table(removals: Sequence[Removal]) -> None:
    from anchor_supervisor.cli import render

    cells = [
        [removal.kind, render.one_line(removal.name), render.size(removal.size)]
        for removal in removals
    ]
    print(render.table(_HEADERS, cells, paint_for_output(), 0))


def _print_total(removals: Sequence[Removal], *, dry_run: bool) -> None:
    from anchor_supervisor.cli import render
    from anchor_supervisor.cli.image_words import freed

    verb = "would free" if dry_run else "freed"
    print(f"{verb} {render.size(freed(removals))}")
