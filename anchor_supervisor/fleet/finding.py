"""What a check says: where in the fleet, what is wrong, what would mend it."""

from __future__ import annotations

from typing import final

from anchor_supervisor.fleet.places import join
from anchor_supervisor.values import frozen


@final
@frozen
class Finding:
    """One thing wrong with a fleet. `because` are other keys it follows from.

    A finding is not told where one of those keys could not be read: it may follow from that alone.
    """

    key: str
    message: str
    hint: str | None = None
    because: tuple[str, ...] = ()


def path_of(*keys: str) -> str:
    """Return the dotted path of these keys, quoted where TOML would quote them."""
    path = ""
    for key in keys:
        path = join(path, key)
    return path
