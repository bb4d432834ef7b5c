"""Changes of a fleet that runs: begun as a whole, watched to their end, and never undone."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path

import pytest
import trio
from attrs import evolve
from trio.testing import MockClock

from anchor_supervisor.control.protocol import Refused
from anchor_supervisor.control.shapes import ApplyResult
from anchor_supervisor.errors import FleetError, HostError, Problem
from anchor_supervisor.fleet.model import (
    Condition,
    Health,
    InstanceId,
    Kind,
    Limits,
    OnUnhealthy,
    OnUpdateFailure,
    RestartPolicy,
    TcpProbe,
    UpdatePolicy,
)
from anchor_supervisor.fleet.schedule_model import Schedule
from anchor_supervisor.runtime.supervisor import ProbeAnswer
from anchor_supervisor.supervision import events
from anchor_supervisor.supervision.states import State
from changing_shop import FALLS, NEVER, NEWS, Shop, fleet, service, told
from fake_machine import Script


async def test_a_change_is_told_from_the_plan_to_the_result(
    autojump_clock: MockClock, data_dir: Path
) -> None:
    """What is concerned alone is told; what is not keeps its process."""
    db, web = service("db"), service("web", replicas=2)
    shop = Shop(data_dir, fleet(db, web))

    async def operator() -> None:
        before = shop.pids()
        plan, words, result = await shop.apply(fleet(db, service("web", "2", replicas=2)))
        assert [(one["container"], one["effect"]) for one in plan["containers"]] == [
            ("web", "restart")
        ]
        assert result == {
            "plan": plan,
            "updates": [
                {
                    "container": "web",
                    "active": False,
                    "result": "done",
                    "reason": result["updates"][0]["reason"],
                    "replaced": 2,
                    "total": 2,
                }
            ],
            "failed": [],
            "ok": True,
        }
        assert [word for word in words if "stopping" in word or "done" in word] == [
            "web.1 stopping",
            "web.2 stopping",
            "web done",
        ]
        after = shop.pids()
        assert after["db.1"] == before["db.1"]
        assert after["web.1"] != before["web.1"]
        assert shop.machine.made_of[InstanceId("web", 2)].command == ("serve", "2")

    await shop.play(operator)


async def test_what_is_planned_is_what_is_applied(
    autojump_clock: MockClock, data_dir: Path
) -> None:
    """And afterwards nothing would change any more."""
    shop = Shop(data_dir, fleet(service("web"), service("old")))
    wanted = fleet(service("web", "2"), service("new"), parallel=4)

    async def operator() -> None:
        shop.next = wanted
        plan = await shop.changes.plan(NEWS)
        assert shop.begun == 0
        applied, _, result = await shop.apply(wanted)
        assert applied == plan
        assert result["ok"]
        assert [one["action"] for one in plan["containers"]] == ["change", "start", "stop"]
        again = await shop.changes.plan(NEWS)
        assert (again["keys"], again["containers"]) == ([], [])
        assert (await shop.apply(wanted))[1:] == (
            [],
            {"plan": again, "updates": [], "failed": [], "ok": True},
        )

    await shop.play(operator)


async def test_an_update_that_fails_is_paused(autojump_clock: MockClock, data_dir: Path) -> None:
    """The result says so and why; a plan then tells what is still to be done."""
    web = service("web", replicas=3, restart=NEVER, update=UpdatePolicy(monitor=1.0))
    shop = Shop(data_dir, fleet(web), {"web 2": FALLS})

    async def operator() -> None:
        wanted = fleet(evolve(web, command=("serve", "2")))
        _, _, result = await shop.apply(wanted)
        [update] = result["updates"]
        assert (update["result"], update["total"]) == ("paused", 3)
        [failed] = result["failed"]
        assert failed.startswith("the update of `web` is paused: `web.1` ")
        assert not result["ok"]
        [rest] = (await shop.changes.plan(NEWS))["containers"]
        assert [key["key"] for key in rest["keys"]] == ["command"]
        _, _, result = await shop.apply(fleet(evolve(web, command=("serve", "3"))))
        assert result["ok"]
        assert result["updates"][0]["result"] == "done"

    await shop.play(operator)


async def test_an_update_that_is_rolled_back(autojump_clock: MockClock, data_dir: Path) -> None:
    """Everything is as it was, and that is a failure."""
    update = UpdatePolicy(monitor=1.0, on_failure=OnUpdateFailure.ROLLBACK)
    web = service("web", replicas=2, restart=NEVER, update=update)
    shop = Shop(data_dir, fleet(web), {"web 2": FALLS})

    async def operator() -> None:
        _, _, result = await shop.apply(fleet(evolve(web, command=("serve", "2"))))
        [failed] = result["failed"]
        assert failed.startswith("the update of `web` was rolled back: ")
        assert shop.present.containers["web"] == web
        assert all(shop.pids().values())

    await shop.play(operator)


async def test_what_is_new_and_does_not_come_up(autojump_clock: MockClock, data_dir: Path) -> None:
    """Each instance is named with what is the matter; those that wait for it are not waited for."""
    new = service("new", restart=RestartPolicy(delay=60.0))
    last = service("last", depends_on={"new": Condition.STARTED})
    sick = service("sick", health=Health(TcpProbe(80), interval=1.0, on_failure=OnUnhealthy.NONE))
    shop = Shop(
        data_dir,
        fleet(service("web")),
        {
            "new 1": Script(fails=HostError("no space")),
            "sick 1": Script(probe=ProbeAnswer(ok=False, output="refused")),
        },
    )

    async def operator() -> None:
        _, _, result = await shop.apply(fleet(service("web"), new, last, sick))
        assert [line.partition(":")[0] for line in result["failed"]] == [
            "`new.1` is backoff",
            "`last.1` is waiting",
            "`sick.1` is unhealthy",
        ]
        assert "no space" in result["failed"][0]
        assert result["failed"][2] == "`sick.1` is unhealthy: 3 probes failed in a row"

    await shop.play(operator)


async def test_a_job_that_is_new_is_waited_for(autojump_clock: MockClock, data_dir: Path) -> None:
    """Until it is done; one that has a schedule is not."""
    job = service("job", kind=Kind.JOB)
    hourly = service("hourly", kind=Kind.JOB, schedule=Schedule(every=3600.0))
    shop = Shop(data_dir, fleet(service("web")), {"job 1": Script(lasts=100.0)})

    async def operator() -> None:
        before = trio.current_time()
        _, _, result = await shop.apply(fleet(service("web"), job, hourly))
        assert result["ok"], result
        assert trio.current_time() - before >= 100.0

    await shop.play(operator)


async def test_what_goes_is_waited_for(autojump_clock: MockClock, data_dir: Path) -> None:
    """A container that is not in the file any more, and replicas beyond those that are wanted."""
    shop = Shop(data_dir, fleet(service("web", replicas=3), service("old")))

    async def operator() -> None:
        before = shop.pids()
        plan, words, result = await shop.apply(fleet(service("web", replicas=1)))
        assert result["ok"]
        assert shop.pids() == {"web.1": before["web.1"]}
        [web, old] = plan["containers"]
        assert (web["replicas_before"], web["replicas"], old["action"]) == (3, 1, "stop")
        assert "old.1 stopped" in words

    await shop.play(operator)


async def test_a_scale_keeps_those_that_stay(autojump_clock: MockClock, data_dir: Path) -> None:
    """More replicas are started beside the others."""
    shop = Shop(data_dir, fleet(service("web", replicas=2)))

    async def operator() -> None:
        before = shop.pids()
        lines = [one async for one in shop.changes.apply(lambda: shop.scaled({"web": 4}))]
        plan, _, result = told(lines)
        assert result["ok"]
        assert [key["key"] for key in plan["containers"][0]["keys"]] == ["replicas"]
        after = shop.pids()
        assert len(after) == 4
        assert before.items() <= after.items()

    await shop.play(operator)


async def test_what_an_operator_has_stopped_is_no_failure(
    autojump_clock: MockClock, data_dir: Path
) -> None:
    """It stays down, and begins as the new file says when it is started."""
    shop = Shop(data_dir, fleet(service("web"), service("db")))
    web = InstanceId("web")

    async def operator() -> None:
        await shop.supervisor.order(events.StopRequested(web))
        while shop.supervisor.core.snapshot(web).state is not State.STOPPED:
            await shop.supervisor.changed()
        _, _, result = await shop.apply(fleet(service("web", "2"), service("db")))
        assert result["ok"], result
        assert shop.supervisor.core.snapshot(web).state is State.STOPPED
        assert shop.machine.made_of[web].command == ("serve", "2")

    await shop.play(operator)


async def test_what_is_taken_over_live_is_not_waited_for(
    autojump_clock: MockClock, data_dir: Path
) -> None:
    """However unwell it is."""
    sick = service("web", health=Health(TcpProbe(80), interval=1.0, on_failure=OnUnhealthy.NONE))
    shop = Shop(
        data_dir, fleet(sick), {"web 1": Script(probe=ProbeAnswer(ok=False, output="refused"))}
    )

    async def operator() -> None:
        before = shop.pids()
        _, _, result = await shop.apply(fleet(evolve(sick, limits=Limits(pids=10))))
        assert result["ok"]
        assert shop.pids() == before
        assert shop.machine.made_of[InstanceId("web")].limits.pids == 10

    await shop.play(operator)


async def test_a_wrong_file_changes_nothing(autojump_clock: MockClock, data_dir: Path) -> None:
    """It is raised before the first line."""
    shop = Shop(data_dir, fleet(service("web")))
    shop.next = FleetError([Problem("must be a list", "shop.toml", 3)])

    async def operator() -> None:
        before = shop.pids()
        with pytest.raises(FleetError):
            await anext(shop.changes.apply(lambda: shop.prepare(NEWS)))
        with pytest.raises(FleetError):
            await shop.changes.plan(NEWS)
        assert (shop.begun, shop.pids()) == (0, before)

    await shop.play(operator)


async def test_while_the_fleet_stops_nothing_is_changed(
    autojump_clock: MockClock, data_dir: Path
) -> None:
    """It would be dropped in silence: it is refused in words. One under way says how far it got."""
    shop = Shop(data_dir, fleet(service("web")), {"web 1": Script(deaf=True)})

    async def operator() -> None:
        shop.next = fleet(service("web", "2"))
        async with aclosing(shop.changes.apply(lambda: shop.prepare(NEWS))) as lines:
            assert "plan" in await anext(lines)
            await shop.supervisor.order(events.FleetStopRequested())
            last = [line async for line in lines][-1]
            assert last["result"]["failed"] == ["the fleet is stopping"]
        with pytest.raises(Refused, match="the fleet is stopping"):
            await anext(shop.changes.apply(lambda: shop.prepare(NEWS)))
        assert shop.begun == 1

    await shop.play(operator)


@pytest.mark.parametrize("patience", [0.25, 0.6, 1.0])
async def test_a_change_goes_on_whoever_leaves(
    autojump_clock: MockClock, data_dir: Path, patience: float
) -> None:
    """Whoever asked hangs up while it is begun, or watched: it is done whole all the same."""
    web = service("web", replicas=3, update=UpdatePolicy(monitor=1.0))
    shop = Shop(data_dir, fleet(web))

    async def operator() -> None:
        with trio.move_on_after(patience) as scope:
            await shop.apply(fleet(evolve(web, command=("serve", "2"))))
        assert scope.cancelled_caught
        while not (updates := shop.supervisor.core.updates) or updates["web"].active:
            await shop.supervisor.changed()
        made = [shop.supervisor.core.made_of(InstanceId("web", number)) for number in (1, 2, 3)]
        assert {one.command for one in made} == {("serve", "2")}

    await shop.play(operator)


async def test_one_who_leaves_before_it_has_begun_changes_nothing(
    autojump_clock: MockClock, data_dir: Path
) -> None:
    """Whoever watches the earlier change sees it through, and is told that it is done."""
    web = service("web", replicas=3, update=UpdatePolicy(monitor=1.0))
    newer = fleet(evolve(web, command=("serve", "2")))
    shop = Shop(data_dir, fleet(web))

    async def operator() -> None:
        results: list[ApplyResult] = []

        async def watch() -> None:
            results.append((await shop.apply(newer))[2])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await trio.sleep(1.0)
            shop.busy = 5.0
            with trio.move_on_after(0.5) as scope:
                await shop.apply(fleet(evolve(web, command=("serve", "3"))))
            assert scope.cancelled_caught
        assert shop.begun == 1
        [result] = results
        assert (result["ok"], result["failed"]) == (True, [])

    await shop.play(operator)


async def test_a_later_change_takes_the_place_of_an_earlier(
    autojump_clock: MockClock, data_dir: Path
) -> None:
    """Who watches the earlier one is told so; the later one goes to its end."""
    web = service("web", replicas=3, update=UpdatePolicy(monitor=10.0))
    shop = Shop(data_dir, fleet(web))
    results: list[ApplyResult] = []

    async def operator() -> None:
        async def first() -> None:
            results.append((await shop.apply(fleet(evolve(web, command=("serve", "2")))))[2])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(first)
            await trio.sleep(5)
            _, _, result = await shop.apply(fleet(evolve(web, command=("serve", "3"))))
            assert result["ok"]
            assert {one.command for one in shop.machine.made_of.values()} == {("serve", "3")}

    await shop.play(operator)
    assert results[0]["failed"] == ["a later change has taken its place"]


async def test_what_could_not_be_done_live_is_a_failure(
    autojump_clock: MockClock, data_dir: Path
) -> None:
    """A limit that the kernel refuses, say: it is told, and a later change begins afresh."""
    web = service("web")
    shop = Shop(data_dir, fleet(web))
    shop.machine.refuses = HostError("write `memory.max`: Device or resource busy")

    async def operator() -> None:
        _, _, result = await shop.apply(fleet(evolve(web, limits=Limits(memory=1 << 20))))
        assert result["failed"] == ["`web.1`: write `memory.max`: Device or resource busy"]
        shop.machine.refuses = None
        _, _, result = await shop.apply(fleet(evolve(web, limits=Limits(memory=2 << 20))))
        assert result["ok"]

    await shop.play(operator)
