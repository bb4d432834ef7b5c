"""A served fake fleet, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from anchor_supervisor.control.client import Client
from anchor_supervisor.control.server import Bounds, serve
from fake_fleet import FakeFleet

BOUNDS = Bounds(connections=8, request_time=1.0, idle_time=1.5, send_time=1.0)


@pytest.fixture
def fleet() -> FakeFleet:
    """A fleet that only pretends."""
    return FakeFleet()


@pytest.fixture
async def socket_path(run_dir: Path, fleet: FakeFleet) -> AsyncIterator[Path]:
    """The path of a socket where the fake fleet is served, with short bounds."""
    path = run_dir / "shop" / "control.sock"
    async with trio.open_nursery() as nursery:

        async def task(task_status: trio.TaskStatus[None]) -> None:
            await serve(path, fleet, bounds=BOUNDS, task_status=task_status)

        await nursery.start(task)
        yield path
        nursery.cancel_scope.cancel()


@pytest.fixture
def client(socket_path: Path) -> Client:
    """A client of the served fleet; it blocks, so use it in a thread."""
    return Client("shop", socket_path)
