"""`anchor push IMAGE [REF]`: an image of the store to a registry, with the same digest."""

from __future__ import annotations

import argparse
from typing import Final

from anchor_supervisor.cli.options import print_json
from anchor_supervisor.cli.progress import bars
from anchor_supervisor.cli.pull import add_transfer_options
from anchor_supervisor.errors import ImageError
from anchor_supervisor.observability import places

EXAMPLES: Final = """\
Without REF the image goes where its name says. Credentials are those that `docker login` and
`podman login` have stored. What the registry has already is not sent again. Standard output is
the whole name with the image's digest, which is the same there as here.

examples:
  anchor push registry.example.org/team/shop:1.0
  anchor push shop localhost:5000/shop:test
  anchor push --insecure shop registry.lan/shop
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("image", metavar="IMAGE", help="a name, a digest, or its first digits")
    parser.add_argument("reference", metavar="REF", nargs="?", help="where to; default: its name")
    add_transfer_options(parser)


def run(options: argparse.Namespace) -> int:
    """Push; print the name and the digest."""
    from anchor_supervisor.images.push import push
    from anchor_supervisor.images.reference import parse
    from anchor_supervisor.images.store import Store

    store = Store(places.data_dir())
    image = store.find(options.image)
    if image is None:
        message = f"there is no image `{options.image}`"
        raise ImageError(message, hint="`anchor images` lists what is here")
    reference = parse(options.reference or options.image)
    with bars(quiet=options.quiet) as progress:
        digest = push(image, reference, store, insecure=options.insecure, progress=progress)
    if options.json:
        print_json({"name": str(reference), "digest": digest})
    else:
        tag = f":{reference.tag}" if reference.tag else ""
        print(f"{reference.registry}/{reference.repository}{tag}@{digest}")
    return 0
