"""Plans, changes and events over the control socket."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio

from anchor_supervisor.control.client import Client, Overdue
from anchor_supervisor.control.handler import EventQuery, Wanted
from anchor_supervisor.control.protocol import Malformed
from anchor_supervisor.errors import FleetError
from canned import entry, web_plan, web_updated
from fake_fleet import FakeFleet

TIME = "2026-01-02T03:04:05.000000001Z"

in_thread = trio.to_thread.run_sync

WANTED: dict[str, Any] = {
    "files": ["/srv/shop.toml", "/srv/more.toml"],
    "profiles": ["debug"],
    "environment": {"TOKEN": "\udc80 a secret"},
}


async def test_a_plan_is_asked_for_with_files_and_environment(
    client: Client, fleet: FakeFleet
) -> None:
    """What the operator's environment holds arrives as it is, and shows in no repr."""
    assert await in_thread(client.post, "/v1/plan", WANTED) == web_plan()
    [(_, wanted)] = fleet.asked
    assert wanted == Wanted(("/srv/shop.toml", "/srv/more.toml"), ("debug",), WANTED["environment"])
    assert "secret" not in repr(wanted)


async def test_an_apply_tells_how_it_goes(client: Client, fleet: FakeFleet) -> None:
    """The plan, what happens, and the result, a line each; a scale likewise."""
    lines = await in_thread(lambda: list(client.tell("/v1/apply", WANTED)))
    assert lines == web_updated("done", "all replicas are new")
    lines = await in_thread(lambda: list(client.tell("/v1/scale", {"web": 5, "db": 2})))
    assert lines == web_updated("done", "")
    assert fleet.asked[-1] == ("scale", {"web": 5, "db": 2})


async def test_a_wrong_file_arrives_with_all_its_problems(client: Client) -> None:
    """As a FleetError, place and hint and all, before a line is sent: exit code 2."""
    wrong = {**WANTED, "environment": {"PRETEND": "wrong"}}
    for ask in (partial(client.post, "/v1/plan"), lambda *a: list(client.tell("/v1/apply", *a))):
        with pytest.raises(FleetError) as caught:
            await in_thread(ask, wrong)
        [problem] = caught.value.problems
        assert str(problem) == "a.toml:3: containers.web: must be a list"
        assert problem.hint == "brackets"
        assert caught.value.exit_code == 2


async def test_patience_has_an_end(client: Client, fleet: FakeFleet) -> None:
    """An apply that takes longer than its operator waits goes on; the operator is told so."""
    lines = await in_thread(
        lambda: client.tell(
            "/v1/apply", {**WANTED, "environment": {"PRETEND": "slow"}}, patience=0.2
        )
    )
    assert "plan" in await in_thread(partial(next, lines))
    with pytest.raises(Overdue, match="not there yet") as caught:
        await in_thread(partial(next, lines))
    assert "it goes on" in (caught.value.hint or "")
    with trio.fail_after(5):
        await fleet.follower_left.wait()


async def test_an_environment_may_be_large(client: Client, fleet: FakeFleet) -> None:
    """Plan and apply take a megabyte, other pages do not, and no page takes more."""
    large = {**WANTED, "environment": {"LARGE": "x" * 900_000}}
    assert await in_thread(client.post, "/v1/plan", large) == web_plan()
    larger = {**WANTED, "environment": {"LARGE": "x" * 1_100_000}}
    with pytest.raises(Malformed, match="larger than 1048576 bytes"):
        await in_thread(client.post, "/v1/plan", larger)
    with pytest.raises(Malformed, match="larger than 65536 bytes"):
        await in_thread(client.post, "/v1/scale", {"x" * 70_000: 1})


async def test_events_are_lines(client: Client, fleet: FakeFleet) -> None:
    """The entries that are there; a reader that leaves ends the following."""
    page = f"/v1/events?name=web&since={TIME}&tail=5"
    entries = await in_thread(lambda: list(client.stream(page)))
    assert [one["event"] for one in entries] == ["transition", "update"]
    assert fleet.asked == [("events", EventQuery(("web",), 5, TIME, follow=False))]
    lines = await in_thread(client.stream, "/v1/events?follow=1")
    first = await in_thread(partial(next, lines))
    assert first == entry(
        "transition", container="web.1", state="running", health="none", reason=""
    )
    lines.close()
    fleet.follower_left = trio.Event()
    with trio.fail_after(5):
        await fleet.follower_left.wait()
