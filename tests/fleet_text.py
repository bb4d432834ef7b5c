"""Short ways from lines of a fleet file to the fleet, or to what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import pytest

from anchor_supervisor.errors import FleetError, Problem
from anchor_supervisor.fleet.model import Container, Fleet
from anchor_supervisor.fleet.parse import loads

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
HEAD: Final = '[containers.web]\nimage = "host"\ncommand = ["true"]\n'
"""The lines that `container` and `problems` put in front: what they are given starts at line 4."""


def read(text: str, environment: Mapping[str, str] = NOTHING) -> Fleet:
    """Read a whole file's text, as if it were /etc/fleet/shop.toml."""
    return loads(text, file="shop.toml", directory="/etc/fleet", environment=environment)


def container(lines: str, after: str = "", environment: Mapping[str, str] = NOTHING) -> Container:
    """Read the container `web`, of which some lines are given; `after` is other tables."""
    return read(f"{HEAD}{lines}\n{after}", environment).containers["web"]


def problems_in(text: str, environment: Mapping[str, str] = NOTHING) -> list[Problem]:
    """Read a whole file that is wrong; return what is said about it."""
    with pytest.raises(FleetError) as caught:
        read(text, environment)
    return list(caught.value.problems)


def problems(
    lines: str, after: str = "", environment: Mapping[str, str] = NOTHING
) -> list[Problem]:
    """Read lines of the container `web` that are wrong; return what is said about them."""
    return problems_in(f"{HEAD}{lines}\n{after}", environment)


def messages(lines: str, after: str = "") -> list[str]:
    """Only what is said, without where."""
    return [problem.message for problem in problems(lines, after)]
