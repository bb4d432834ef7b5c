"""`anchor import`: an image from a file, a directory or standard input."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from anchor_supervisor.cli.options import add_json_option, print_json
from anchor_supervisor.errors import ImageError

if TYPE_CHECKING:
    from anchor_supervisor.images.load import Configure, Loaded

EXAMPLES = """\
SRC is a root file system (a tar, plain or compressed, or a directory), what `docker save` or
`podman save` wrote, or an OCI layout; `-` is standard input. Without NAME, images keep the names
they have in an archive, or get the file's.

examples:
  anchor import debian.tar.gz              the image debian:latest
  anchor import ./rootfs tools:1.2         a directory, from debootstrap say
  anchor import -c 'CMD ["sh"]' root.tar   a root that knows its command
  docker save nginx | anchor import -      every image in it, under its name
  anchor import layout --platform linux/arm64
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    # Else argparse takes no NAME where an option stands between it and SRC.
    parser.parse_args = parser.parse_intermixed_args  # type: ignore[method-assign]
    parser.add_argument("source", metavar="SRC", help="a file or a directory; `-`: standard input")
    parser.add_argument("name", metavar="NAME", nargs="?", help="what to call the image")
    parser.add_argument("--platform", metavar="OS/ARCH", help="of several, or what a root is for")
    parser.add_argument(
        "-c", "--change", action="append", default=[], help="an instruction of a Dockerfile"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print digests only")
    add_json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Import, and say what has come in."""
    from anchor_supervisor.cli.image_words import image_facts, require_root, store
    from anchor_supervisor.cli.progress import bars
    from anchor_supervisor.images import reference
    from anchor_supervisor.images.indexes import parse_platform
    from anchor_supervisor.images.load import load_named

    require_root("import images")
    if options.source == "-" and sys.stdin.isatty():
        raise ImageError("there is no archive on the terminal", hint="name a file, or use a pipe")
    name = None if options.name is None else reference.parse(options.name)
    platform = None if options.platform is None else parse_platform(options.platform)
    with bars(quiet=options.quiet) as progress:
        loaded = load_named(
            Path(options.source),
            store(),
            name,
            platform=platform,
            configure=_configure(options.change),
            progress=progress,
        )
    if options.json:
        print_json([image_facts(one.image, one.names) for one in loaded])
    else:
        _print(loaded, quiet=options.quiet)
    return 0


def _configure(changes: list[str]) -> Configure | None:
    if not changes:
        return None
    from anchor_supervisor.build import committed

    return lambda configuration: committed.changed(configuration, changes)


def _print(loaded: tuple[Loaded, ...], *, quiet: bool) -> None:
    from anchor_supervisor.cli import render
    from anchor_supervisor.cli.image_words import NONE
    from anchor_supervisor.images.lookup import short_id

    for one in loaded:
        if quiet:
            print(one.image.digest)
            continue
        names = ", ".join(name.familiar for name in one.names) or NONE
        print(f"{names}  {short_id(one.image)}  {render.size(one.image.size)}")
