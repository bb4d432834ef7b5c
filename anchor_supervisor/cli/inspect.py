"""`anchor inspect`: everything known about a container, or about an image."""

from __future__ import annotations

import argparse

from anchor_supervisor.cli.options import (
    add_fleet_options,
    add_json_option,
    fleet_client,
    print_json,
)
from anchor_supervisor.control.fleets import NoFleet
from anchor_supervisor.control.protocol import container_page
from anchor_supervisor.errors import AnchorError, ControlError, FleetError, HostError
from anchor_supervisor.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

EXAMPLES = """\
A name that no container of the fleet has may be an image's.

examples:
  anchor inspect web.1
  anchor inspect db | jq .limits
  anchor inspect debian:12 | jq .config.Env
  anchor inspect --image web
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", metavar="NAME", help="a container, one replica of it, or an image")
    parser.add_argument("--image", action="store_true", help="the image, not a container, so named")
    add_fleet_options(parser)
    add_json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Print everything known; JSON, with or without `--json`."""
    if options.image:
        print_json(_image(options.name, None))
        return 0
    try:
        facts = fleet_client(options).get(container_page(options.name))
    except (ControlError, FleetError) as error:
        facts = _image(options.name, error)
    print_json(facts)
    return 0


def _image(name: str, why: AnchorError | None) -> dict[str, Any]:
    """Give an image's facts; where there is none either, say `why` there is no container."""
    from anchor_supervisor.cli.image_words import image_facts, store
    from anchor_supervisor.images.lookup import find

    try:
        found = find(store(), name)
    except HostError:
        if why is None or isinstance(why, NoFleet):
            raise
        raise why from None
    image, config = found.image, found.image.config
    return {
        **image_facts(image, found.names),
        "manifest": {"media_type": image.manifest.media_type, "size": image.manifest.size},
        "config_digest": image.config_blob.digest,
        "config": config.get("config") or {},
        "author": config.get("author"),
        "layers": [
            {
                "diff_id": layer.diff_id,
                "size": layer.size,
                "blob": layer.blob.digest,
                "media_type": layer.blob.media_type,
                "blob_size": layer.blob.size,
            }
            for layer in image.layers
        ],
        "history": config.get("history") or [],
    }
