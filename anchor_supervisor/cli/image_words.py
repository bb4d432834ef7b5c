"""How images look to a person and to a script, for every verb that shows them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from anchor_supervisor.cli import render
from anchor_supervisor.errors import HostError
from anchor_supervisor.images.lookup import short_id
from anchor_supervisor.images.model import Image
from anchor_supervisor.images.reference import Reference
from anchor_supervisor.images.store import Removal, Store
from anchor_supervisor.observability import places

NONE: Final = "<none>"
_EARLIEST: Final = 1970  # docker writes the year 1 where it knows no time


def store() -> Store:
    """Give the store of this machine. Raises HostError where it is not ours to look into."""
    found = Store(places.data_dir())
    for place in (found.data, found.layout.top):
        if os.path.exists(place) and not os.access(place, os.X_OK):  # noqa: PTH110 - never raises
            message = f"the images in `{found.data}` are another user's"
            raise HostError(message, hint="run it again with sudo")
    return found


def require_root(what: str) -> None:
    """Refuse an ordinary user before anything is tried: layers keep the owners of their files."""
    if os.geteuid() != 0:
        message = f"only root can {what}"
        raise HostError(message, hint="run it again with sudo")


def created(image: Image) -> str | None:
    """Give the time in an image's configuration, RFC 3339; None where there is none."""
    return time_of(image.config.get("created"))


def time_of(value: object) -> str | None:
    """Read a time that an image claims; None for nonsense."""
    if not isinstance(value, str):
        return None
    try:
        when = datetime.fromisoformat(value)
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    if when.year < _EARLIEST:
        return None
    return when.isoformat().replace("+00:00", "Z")


def ago(time: str | None, present: datetime) -> str:
    """Say how long ago that was, as `docker images` does in its own words."""
    return "-" if time is None else f"{render.ago(time, present)} ago"


def platform(config: Mapping[str, Any]) -> str:
    """Give what an image says it runs on: `linux/amd64`."""
    words = (config.get(key) for key in ("os", "architecture", "variant"))
    return "/".join(str(word) for word in words if word)


def image_facts(image: Image, names: Sequence[Reference]) -> dict[str, Any]:
    """Give what scripts need of an image in a listing."""
    return {
        "id": short_id(image),
        "digest": image.digest,
        "names": [name.familiar for name in names],
        "created": created(image),
        "platform": platform(image.config),
        "size": image.size,
    }


def removal_facts(removal: Removal) -> dict[str, Any]:
    """Give what goes, or went."""
    return {"kind": removal.kind, "name": removal.name, "size": removal.size}


def freed(removals: Sequence[Removal]) -> int:
    """Give the bytes that the removals free."""
    return sum(removal.size for removal in removals)
