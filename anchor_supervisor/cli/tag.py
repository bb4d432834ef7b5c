"""`anchor tag`: a further name for an image."""

from __future__ import annotations

import argparse

from anchor_supervisor.cli.options import add_json_option, print_json

EXAMPLES = """\
examples:
  anchor tag debian tools:1.2                  a name here
  anchor tag 3f5ef9b2a8d1 localhost:5000/x     a name to push to
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("source", metavar="SRC", help="a name, a digest or an id")
    parser.add_argument("name", metavar="NAME", help="the further name")
    add_json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Lead the name to the image, whatever it led to before."""
    from anchor_supervisor.cli.image_words import image_facts, store
    from anchor_supervisor.errors import ImageError
    from anchor_supervisor.images import reference
    from anchor_supervisor.images.lookup import find, names_of

    name = reference.parse(options.name)
    if name.digest is not None:
        message = f"`{options.name}` cannot be given to an image: a digest is nobody's to choose"
        raise ImageError(message, hint=f"`{name.name}:TAG`")
    place = store()
    with place.lease("tag") as lease:
        found = find(place, options.source)
        lease.hold(found.image.digest)
        place.tag(name, found.image.digest)
    if options.json:
        print_json(image_facts(found.image, names_of(place, found.image.digest)))
    return 0
