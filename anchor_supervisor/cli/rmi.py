"""`anchor rmi`: take a name from an image, and the image away with its last one."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from anchor_supervisor.cli.options import add_json_option, print_json
from anchor_supervisor.cli.problems import show
from anchor_supervisor.errors import AnchorError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anchor_supervisor.images.lookup import Found
    from anchor_supervisor.images.reference import Reference
    from anchor_supervisor.images.store import NamedImage, Removal, Store

EXAMPLES = """\
A name is taken away; with its last name goes the image, and every layer that no other image has.
What a living fleet uses stays where it is until the fleet is down, and a prune after that.

examples:
  anchor rmi shop:1.1
  anchor rmi -f 3f5ef9b2a8d1        all of its names
  anchor rmi $(anchor images -q old)
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="a name, a digest or an id")
    parser.add_argument(
        "-f", "--force", action="store_true", help="all names of an id; names that are in use"
    )
    add_json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Remove each; one that fails does not stop the others."""
    from anchor_supervisor.cli.image_words import store

    place = store()
    code = 0
    results: list[dict[str, Any]] = []
    for text in dict.fromkeys(options.images):
        try:
            results += _remove(place, text, force=options.force)
        except AnchorError as error:
            code = show(error)
    if options.json:
        print_json(results)
    else:
        for result in results:
            _print(result)
    return code


def _remove(place: Store, text: str, *, force: bool) -> list[dict[str, Any]]:
    """Remove what `text` means, or refuse before anything is done."""
    from anchor_supervisor.errors import ImageError
    from anchor_supervisor.images.lookup import find, find_damaged, same_id

    try:
        found = find(place, text)
    except ImageError:
        damaged = find_damaged(place, text)
        if damaged is None:
            raise
        return [_take_damaged(place, damaged)]
    if found.name is not None:
        names: tuple[Reference, ...] = (found.name,)
        meant: tuple[Found, ...] = (found,)
    else:
        meant = same_id(place, found, text)
        names = tuple(name for one in meant for name in one.names)
        if len(names) > 1 and not force:
            raise _several(text, names)
    for one in meant:
        if not force and set(one.names) <= set(names):
            _refuse_held(text, place.holders(one.image.digest))
    return [
        _untagged(place, one.image.digest, [name for name in one.names if name in names])
        for one in meant
    ]


def _several(text: str, names: tuple[Reference, ...]) -> AnchorError:
    from anchor_supervisor.errors import ImageError

    listed = ", ".join(f"`{name.familiar}`" for name in names)
    message = f"image `{text}` has several names: {listed}"
    return ImageError(message, hint="say which, or take all of them away with `-f`")


def _take_damaged(place: Store, damaged: NamedImage) -> dict[str, Any]:
    """Remove what is of no use to anybody, under one of its names or without any."""
    from anchor_supervisor.images import reference

    names = () if damaged.name is None else (reference.parse(damaged.name),)
    return _untagged(place, damaged.digest, names)


def _untagged(place: Store, digest: str, names: Sequence[Reference]) -> dict[str, Any]:
    """Take these names away, and with the last one the image."""
    from anchor_supervisor.cli.image_words import freed, removal_facts
    from anchor_supervisor.images.lookup import names_of

    for name in names:
        place.untag(name)
    left = names_of(place, digest)
    removals: Sequence[Removal] = () if left else place.remove(digest)
    return {
        "untagged": [name.familiar for name in names],
        "names": [name.familiar for name in left],
        "digest": digest,
        "removed": [removal_facts(removal) for removal in removals],
        "freed": freed(removals),
        "holders": list(place.holders(digest)),
    }


def _refuse_held(text: str, holders: tuple[str, ...]) -> None:
    from anchor_supervisor.errors import ImageError

    if holders:
        message = f"image `{text}` is in use: {', '.join(dict.fromkeys(holders))}"
        raise ImageError(message, hint="`anchor down` first, or take the name away with `-f`")


def _print(result: dict[str, Any]) -> None:
    from anchor_supervisor.cli import render

    for name in result["untagged"]:
        print(f"untagged {name}")
    if any(removal["kind"] == "image" for removal in result["removed"]):
        print(f"removed {result['digest']}, freed {render.size(result['freed'])}")
    elif result["holders"] and not result["names"]:
        print(f"{result['digest']} stays while it is in use: {', '.join(result['holders'])}")
