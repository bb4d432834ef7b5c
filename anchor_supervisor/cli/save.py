"""`anchor save`: images as a file for other machines and other tools."""

from __future__ import annotations

import argparse
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

from anchor_supervisor.cli.descriptors import blame_output
from anchor_supervisor.cli.options import add_json_option, print_json
from anchor_supervisor.errors import ImageError

if TYPE_CHECKING:
    from typing import BinaryIO

    from _typeshed import ReadableBuffer as Buffer

    from anchor_supervisor.images.save import Saved
    from anchor_supervisor.images.store import Store

EXAMPLES = """\
An OCI archive, which anchor, skopeo, podman and docker load. The same images make the same bytes.

examples:
  anchor save debian -o debian.tar
  anchor save shop:1 shop:2 | ssh elsewhere anchor import -
  anchor save debian | zstd > debian.tar.zst
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="a name, a digest or an id")
    parser.add_argument(
        "-o", "--output", metavar="FILE", default="-", help="where to; `-`: standard output"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="show no progress")
    add_json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Save; a file is there as a whole or as it was."""
    from anchor_supervisor.cli.image_words import image_facts, store
    from anchor_supervisor.cli.progress import bars
    from anchor_supervisor.images.save import save, save_file

    to_output = options.output == "-"
    if to_output and sys.stdout.isatty():
        raise ImageError("an archive is not for a terminal", hint="-o FILE, or a pipe")
    place = store()
    wanted = _wanted(place, options.images)
    with bars(quiet=options.quiet) as progress:
        if to_output:
            with _Output(os.dup(sys.stdout.fileno()), "wb") as output:
                save(wanted, place, cast("BinaryIO", output), progress=progress)
        else:
            save_file(wanted, place, Path(options.output), progress=progress)
    if options.json and not to_output:
        print_json([image_facts(one.image, one.names) for one in wanted])
    return 0


class _Output(io.FileIO):
    """Standard output as bytes, whose faults are its own and not the archive's."""

    def write(self, data: Buffer) -> int | None:  # type: ignore[override] # None: would block
        return blame_output(lambda: io.FileIO.write(self, data))


def _wanted(place: Store, texts: list[str]) -> list[Saved]:
    """Give each image once, under every name it was asked for by."""
    from anchor_supervisor.images.lookup import find
    from anchor_supervisor.images.save import Saved

    found: dict[str, Saved] = {}
    for text in texts:
        one = find(place, text)
        digest = one.image.digest
        names = found[digest].names if digest in found else ()
        if one.name is not None and one.name not in names:
            names = (*names, one.name)
        found[digest] = Saved(one.image, names)
    return list(found.values())
