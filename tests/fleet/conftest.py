"""Short ways to a fleet and to what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from anchor_supervisor.errors import FleetError, Problem
from anchor_supervisor.fleet.model import Container, Fleet
from anchor_supervisor.fleet.parse import loads

ReadFleet = Callable[..., Fleet]
ReadContainer = Callable[..., Container]
FindProblems = Callable[..., list[Problem]]

HEAD = '[containers.web]\nimage = "host"\ncommand = ["true"]\n'


def _read(text: str, environment: Mapping[str, str] | None = None) -> Fleet:
    return loads(text, file="shop.toml", directory="/etc/fleet", environment=environment or {})


@pytest.fixture
def read_fleet() -> ReadFleet:
    """Read a whole file's text, as if it were /etc/fleet/shop.toml."""
    return _read


@pytest.fixture
def read_container() -> ReadContainer:
    """Read the container `web`, of which some lines are given; `after` is other tables."""

    def read(
        lines: str, after: str = "", environment: Mapping[str, str] | None = None
    ) -> Container:
        return _read(f"{HEAD}{lines}\n{after}", environment).containers["web"]

    return read


@pytest.fixture
def problems_of() -> FindProblems:
    """Read lines of the container `web` that are wrong; return what is said about them."""

    def read(
        lines: str, after: str = "", environment: Mapping[str, str] | None = None
    ) -> list[Problem]:
        with pytest.raises(FleetError) as caught:
            _read(f"{HEAD}{lines}\n{after}", environment)
        return list(caught.value.problems)

    return read
