"""What the meaning of a container's table depends on, beside the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import final

from anchor_supervisor.fleet.model import GrantKind
from anchor_supervisor.values import field, frozen


@final
@frozen
class Source:
    """A declared secret or config. `content` reads it once, and is None where that fails.

    `owner` is USER or USER:GROUP; None: the user of the container that gets it.
    """

    mode: int
    owner: str | None
    content: Callable[[], bytes | None]


Sources = Mapping[tuple[GrantKind, str], Source]


@final
@frozen
class Surroundings:
    """What is declared, and how files are read. What is the file's own, `Table.origin` says.

    `read_text` and `read_bytes` raise Mistake where a file cannot be read. `fleet` is the fleet's
    name, `sources` its secrets and configs.
    """

    read_text: Callable[[str], str]
    read_bytes: Callable[[str], bytes]
    fleet: str = ""
    sources: Sources = field(factory=lambda: MappingProxyType({}))
