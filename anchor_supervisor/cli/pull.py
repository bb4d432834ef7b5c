"""`anchor pull REF`: an image from a registry into the store."""

from __future__ import annotations

import argparse
from typing import Final

from anchor_supervisor.cli.options import add_json_option, print_json
from anchor_supervisor.cli.progress import bars
from anchor_supervisor.observability import places

EXAMPLES: Final = """\
Credentials are those that `docker login` and `podman login` have stored. Standard output is the
image's whole name with its digest, which stays what it is whatever becomes of the tag. What a
broken or interrupted pull has brought is kept, and the next one goes on from there.

examples:
  anchor pull debian
  anchor pull ghcr.io/someone/tool:1.2
  anchor pull debian@sha256:...                 exactly this one
  anchor pull --platform linux/arm64 alpine     for another machine
  anchor pull localhost:5000/shop               plain HTTP is fine on this machine
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("reference", metavar="REF", help="name[:tag][@digest]")
    parser.add_argument(
        "--platform", metavar="P", help="os/architecture[/variant]; default: this machine's"
    )
    add_transfer_options(parser)


def add_transfer_options(parser: argparse.ArgumentParser) -> None:
    """Add what `pull` and `push` share."""
    parser.add_argument(
        "--insecure",
        action="store_true",
        help="take certificates that cannot be verified, and plain HTTP",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="show no progress")
    add_json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Pull; print the name and the digest."""
    from anchor_supervisor.images.indexes import parse_platform
    from anchor_supervisor.images.pull import pull
    from anchor_supervisor.images.reference import parse
    from anchor_supervisor.images.store import Store

    reference = parse(options.reference)
    platform = None if options.platform is None else parse_platform(options.platform)
    with bars(quiet=options.quiet) as progress:
        image = pull(
            reference,
            Store(places.data_dir()),
            platform=platform,
            insecure=options.insecure,
            progress=progress,
        )
    if options.json:
        print_json(
            {
                "name": str(reference),
                "digest": image.digest,
                "config_digest": image.config_blob.digest,
                "os": image.config.get("os"),
                "architecture": image.config.get("architecture"),
                "layers": len(image.layers),
                "size": image.size,
            }
        )
    else:
        tag = f":{reference.tag}" if reference.tag else ""
        print(f"{reference.registry}/{reference.repository}{tag}@{image.digest}")
    return 0
