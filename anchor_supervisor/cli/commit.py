"""`anchor commit`: an image made of a container as it is now.

The supervisor keeps a running container still for as long as this process is connected and no
longer, so that nothing can leave it frozen.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from anchor_supervisor.build import committed
from anchor_supervisor.cli.image_words import require_root, store
from anchor_supervisor.cli.options import add_fleet_options, fleet_client
from anchor_supervisor.cli.problems import warn
from anchor_supervisor.cli.progress import bars
from anchor_supervisor.control.client import Client
from anchor_supervisor.control.protocol import container_page
from anchor_supervisor.control.shapes import RootContext
from anchor_supervisor.errors import ControlError
from anchor_supervisor.images import reference
from anchor_supervisor.images.model import machine_platform
from anchor_supervisor.runtime.committing import committed_layers

EXAMPLES: Final = """\
The new image is the container's image, one more layer with what it has changed, and what it was
told: command, variables, user. Volumes are not part of it. A running container is paused meanwhile.

examples:
  anchor commit web shop:tried
  anchor commit -m "with a compiler" -c 'CMD ["make"]' -c 'ENV CC=gcc' builder.2 builder:gcc
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("-m", "--message", help="a comment for the image's history")
    parser.add_argument("-a", "--author", help='such as "Ann Ott <ann@example.org>"')
    parser.add_argument(
        "-c", "--change", action="append", default=[], help="an instruction of a Dockerfile"
    )
    parser.add_argument(
        "--no-pause", action="store_true", help="let the container run while it is read"
    )
    add_fleet_options(parser)
    parser.add_argument("name", metavar="NAME", help="`web`, or `web.2` for the second replica")
    parser.add_argument("image", metavar="IMAGE", help="what to call the image")


def run(options: argparse.Namespace) -> int:
    """Make the image, and print its digest."""
    require_root("make images")
    name = reference.parse(options.image)
    if name.digest is not None:
        message = f"`{options.image}` has a digest, which only the finished image has"
        raise ControlError(message, hint="name a tag")
    configuration = committed.begun(None, machine_platform())
    committed.changed(configuration, options.change)  # a mistake is told before any work
    client = fleet_client(options)
    page = container_page(options.name)

    def ask() -> RootContext:
        found: RootContext = client.get(f"{page}/root")
        return found

    images = store()
    with images.lease(f"commit of {options.name}") as lease, bars() as progress:
        context = ask()
        layers = committed_layers(
            ask, lambda: _held(client, page, pause=not options.no_pause), images, lease, progress
        )
        base = None if layers.image is None else layers.image.config
        configuration = committed.begun(base, machine_platform(), kept=layers.kept)
        added = committed.new_variables(configuration, context["process"])
        configuration = committed.told(configuration, context["process"])
        configuration = committed.changed(configuration, options.change)
        configuration = committed.recorded(
            configuration,
            layers.new,
            created=datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            author=options.author,
            message=options.message,
        )
        image = images.make_image(lease, configuration, layers.layers)
        images.tag(name, image.digest)
    if added:
        words = ", ".join(f"`{one}`" for one in added)
        warn(f"the image holds the values of the fleet's variables {words}")
    print(image.digest)
    return 0


@contextmanager
def _held(client: Client, page: str, *, pause: bool) -> Iterator[None]:
    """Hang up, and the supervisor lets the container go on."""
    if not pause:
        yield
        return
    held = client.stream(f"{page}/hold")
    try:
        next(held)
        yield
    finally:
        held.close()
