"""`anchor images`: what the store holds."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from anchor_supervisor.cli.options import add_json_option, paint_for_output, print_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anchor_supervisor.images.reference import Reference
    from anchor_supervisor.images.store import Store

EXAMPLES = """\
examples:
  anchor images                    every image, and every name
  anchor images debian             every tag of debian
  anchor images 'ghcr.io/*'        what matches
  anchor rmi $(anchor images -q)   all of them away
  anchor images --json | jq -r '.[] | "\\(.size) \\(.name)"' | sort -n
"""

_HEADERS = ("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="a repository, a name or a pattern")
    parser.add_argument("-q", "--quiet", action="store_true", help="ids only, each once")
    parser.add_argument("--digests", action="store_true", help="show digests as well")
    add_json_option(parser)


def run(options: argparse.Namespace) -> int:
    """List images."""
    from anchor_supervisor.cli.image_words import store

    rows = list(_rows(store(), options.name))
    if options.json:
        print_json(rows)
    elif options.quiet:
        for identity in dict.fromkeys(row["id"] for row in rows):
            print(identity)
    else:
        _print_table(rows, digests=options.digests)
    return 0


def _rows(store: Store, wanted: str | None) -> Iterator[dict[str, Any]]:
    """Give a row for each name, and for each image without one; a damaged image is a warning."""
    from anchor_supervisor.cli.image_words import created, platform
    from anchor_supervisor.cli.problems import warn
    from anchor_supervisor.errors import ImageError
    from anchor_supervisor.images import reference
    from anchor_supervisor.images.lookup import short_id

    for line in store.images():
        name = None if line.name is None else reference.parse(line.name)
        if wanted is not None and not _matches(name, wanted):
            continue
        try:
            image = store.image(line.digest)
        except ImageError as error:
            warn(error.message)
            continue
        yield {
            "name": None if name is None else name.familiar,
            "repository": None if name is None else name.name,
            "tag": None if name is None else name.tag,
            "id": short_id(image),
            "digest": line.digest,
            "created": created(image),
            "platform": platform(image.config),
            "size": image.size,
        }


def _matches(name: Reference | None, wanted: str) -> bool:
    """Say whether the name is of the repository, or is the name, or is like the pattern."""
    from fnmatch import fnmatchcase

    from anchor_supervisor.images import reference

    if name is None:
        return False
    if any(sign in wanted for sign in "*?["):
        return fnmatchcase(name.familiar, wanted) or fnmatchcase(name.name, wanted)
    asked = reference.parse(wanted)
    if (asked.registry, asked.repository) != (name.registry, name.repository):
        return False
    has_tag = ":" in wanted.rpartition("/")[2]
    return not has_tag or asked.tag == name.tag


def _print_table(rows: list[dict[str, Any]], *, digests: bool) -> None:
    from anchor_supervisor.cli import render
    from anchor_supervisor.cli.image_words import NONE, ago

    present = render.now()
    cells = [
        [
            row["repository"] or NONE,
            row["tag"] or NONE,
            *([row["digest"]] if digests else []),
            row["id"],
            ago(row["created"], present),
            render.size(row["size"]),
        ]
        for row in rows
    ]
    headers = [*_HEADERS[:2], *(["DIGEST"] if digests else []), *_HEADERS[2:]]
    print(render.table(headers, cells, paint_for_output(), 0))
