"""`anchor history`: how an image came to be, as it says itself."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from anchor_supervisor.cli.options import add_json_option, paint_for_output, print_json

if TYPE_CHECKING:
    from anchor_supervisor.images.model import Image

EXAMPLES = """\
The newest first. What an image says of itself is its author's word; the sizes are ours.

examples:
  anchor history debian
  anchor history --no-trunc shop:1.2
  anchor history debian --json | jq -r '.[].created_by'
"""

_HEADERS = ("IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT")
_WIDEST = 45  # characters of CREATED BY, as docker's users know it


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("image", metavar="IMAGE", help="a name, a digest or an id")
    parser.add_argument("--no-trunc", action="store_true", help="whole commands")
    add_json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Show the steps."""
    from anchor_supervisor.cli.image_words import store
    from anchor_supervisor.images.lookup import find

    image = find(store(), options.image).image
    rows = steps(image)
    if options.json:
        print_json(rows)
    else:
        _print_table(rows, whole=options.no_trunc)
    return 0


def steps(image: Image) -> list[dict[str, Any]]:
    """Give the steps, the newest first; each layer is that of the next step that made one."""
    from anchor_supervisor.cli.image_words import time_of
    from anchor_supervisor.images.lookup import short_id

    told = image.config.get("history")
    entries = [entry for entry in told if isinstance(entry, dict)] if isinstance(told, list) else []
    layers = list(image.layers)
    rows = []
    for entry in entries:
        layer = layers.pop(0) if layers and entry.get("empty_layer") is not True else None
        rows.append(
            {
                "id": None,
                "created": time_of(entry.get("created")),
                "created_by": str(entry.get("created_by") or ""),
                "size": layer.size if layer else 0,
                "diff_id": layer.diff_id if layer else None,
                "comment": str(entry.get("comment") or ""),
            }
        )
    unsaid = {"id": None, "created": None, "created_by": "", "comment": ""}
    rows += [{**unsaid, "size": layer.size, "diff_id": layer.diff_id} for layer in layers]
    if rows:
        rows[-1]["id"] = short_id(image)
    return rows[::-1]


def _print_table(rows: list[dict[str, Any]], *, whole: bool) -> None:
    from anchor_supervisor.cli import render
    from anchor_supervisor.cli.image_words import ago

    present = render.now()
    cells = [
        [
            row["id"] or "<missing>",
            ago(row["created"], present),
            _cut(render.one_line(row["created_by"]), whole=whole),
            render.size(row["size"]),
            render.one_line(row["comment"]),
        ]
        for row in rows
    ]
    print(render.table(_HEADERS, cells, paint_for_output(), 0))


def _cut(text: str, *, whole: bool) -> str:
    return text if whole or len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"
