"""What operators ask: answered from the core's facts; orders become events like any other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
import trio
from attrs import define, evolve, field, frozen
from trio.testing import MockClock

import changing_shop
from anchor_supervisor.control.handler import ActOptions, EventQuery, LogQuery, Wanted
from anchor_supervisor.control.protocol import NotFound, Refused
from anchor_supervisor.control.shapes import ExecContext, JournalEntry, RootContext
from anchor_supervisor.fleet.model import (
    Condition,
    Container,
    Fleet,
    Image,
    ImageKind,
    InstanceId,
    Kind,
    RestartPolicy,
    RestartWhen,
)
from anchor_supervisor.observability.journal import Journal
from anchor_supervisor.observability.places import DATA_DIR_VARIABLE, fleet_log_dir
from anchor_supervisor.runtime import hold
from anchor_supervisor.runtime.clock import Clock
from anchor_supervisor.runtime.event_log import EventLog
from anchor_supervisor.runtime.handler import FleetHandler
from anchor_supervisor.runtime.machine import HostMachine
from anchor_supervisor.runtime.supervisor import Supervisor
from anchor_supervisor.runtime.views import Views
from anchor_supervisor.supervision import events
from anchor_supervisor.supervision.core import Core
from anchor_supervisor.supervision.states import ExitStatus, State
from fake_machine import FakeMachine, Script

NOWHERE = Path("/nowhere")
HOST = Image(ImageKind.HOST, "host")
WEB = InstanceId("web")
WAIT, AT_ONCE = ActOptions(wait=True), ActOptions()


@frozen
class Site:
    """As much of a site as a handler asks for."""

    fleet: Fleet


@define
class Facts:
    """As much of a machine as a handler asks for."""

    site: Site
    still: set[str] = field(factory=set)

    @asynccontextmanager
    async def held(self, instance: InstanceId) -> AsyncIterator[None]:
        """Note who is held, and for how long."""
        self.still.add(str(instance))
        try:
            yield
        finally:
            self.still.discard(str(instance))

    def facts(self, instance: InstanceId) -> dict[str, object]:
        """Nothing but its name."""
        return {"of": str(instance)}

    def exec_context(self, instance: InstanceId) -> ExecContext:
        """Nothing but its name."""
        return cast("ExecContext", {"name": str(instance)})

    def root_context(self, instance: InstanceId, state: State) -> RootContext:
        """Nothing but its name and state."""
        return cast("RootContext", {"name": str(instance), "state": state.value})

    async def more_output(self) -> None:
        """Nobody says anything."""
        await trio.sleep_forever()


class Shop:
    """A fleet, its loop over a fake machine, and the handler under test."""

    def __init__(self, script: Callable[[InstanceId, int], Script], *containers: Container) -> None:
        self.fleet = Fleet("shop", {one.name: one for one in containers}, {}, file="shop.toml")
        self.machine = FakeMachine(script)
        self.supervisor = Supervisor(Core(self.fleet), self.machine, lambda _: None)
        self.facts = Facts(Site(self.fleet))
        machine = cast("HostMachine", self.facts)
        self.handler = FleetHandler(
            self.supervisor, machine, self._views, 0.0, EventLog(Journal(NOWHERE))
        )

    def _views(self) -> Views:
        clock = Clock(trio.current_time(), 1_767_323_045.0)
        return Views(self.fleet, self.supervisor.core, clock, lambda _: None, frozenset())

    def state(self, instance: InstanceId = WEB) -> State:
        """Where an instance is."""
        return self.supervisor.core.snapshot(instance).state

    async def play(self, operator: Callable[[], Awaitable[None]]) -> None:
        """Let an operator do his things once `web` runs; then the fleet is killed."""

        async def then_end() -> None:
            while self.state() is not State.RUNNING:
                await self.supervisor.changed()
            await operator()
            self.supervisor.post(events.FleetKillRequested())

        async def background(nursery: trio.Nursery) -> None:
            nursery.start_soon(then_end)

        await self.supervisor.run(background)


def shop(script: Script = Script(), **facts: object) -> Shop:  # noqa: B008 - frozen
    """A fleet of one service, `web`."""
    return Shop(lambda _instance, _number: script, Container("web", HOST, **facts))  # type: ignore[arg-type]


async def test_the_fleet_says_what_it_is(autojump_clock: MockClock) -> None:
    """Name, file, since when, how many, and whether it was ever ready."""
    made = shop(replicas=3)

    async def operator() -> None:
        info = await made.handler.fleet()
        assert (info["name"], info["file"], info["containers"]) == ("shop", "shop.toml", 3)
        assert not info["ready"]
        assert info["since"].endswith("Z")
        made.handler.ready = True
        assert (await made.handler.fleet())["ready"]
        rows = await made.handler.containers()
        assert [row["name"] for row in rows] == ["web.1", "web.2", "web.3"]

    await made.play(operator)


async def test_an_unknown_name_is_told_with_the_known_ones(autojump_clock: MockClock) -> None:
    """Whatever is asked of it."""
    made = shop()

    async def operator() -> None:
        handler = made.handler
        for ask in (
            handler.inspect("wbe"),
            handler.why("wbe"),
            handler.act("web.2", "stop", WAIT),
            handler.exec_context("wbe"),
        ):
            with pytest.raises(NotFound, match=r"there is no container") as caught:
                await ask
            assert caught.value.hint == "there are `web`"
        with pytest.raises(NotFound):
            handler.follow_logs(LogQuery(names=("wbe",)))

    await made.play(operator)


async def test_a_stop_is_answered_once_it_is_down(autojump_clock: MockClock) -> None:
    """With `wait`; without, as soon as it was ordered."""
    made = shop(Script(deaf=True))

    async def operator() -> None:
        [row] = await made.handler.act("web", "stop", AT_ONCE)
        assert row["state"] == "stopping"
        [row] = await made.handler.act("web", "stop", WAIT)
        assert row["state"] == "stopped"
        assert trio.current_time() >= 10.0
        [row] = await made.handler.act("web", "start", WAIT)
        assert row["state"] == "running"
        [row] = await made.handler.act("web.1", "restart", WAIT)
        assert row["state"] == "running"
        assert made.machine.starts[WEB] == 3

    await made.play(operator)


async def test_a_start_that_cannot_come_to_anything_is_answered(autojump_clock: MockClock) -> None:
    """Nobody waits for ever: a backoff, a failure or a dead dependency is an answer too."""
    db = Container("db", HOST, kind=Kind.JOB, restart=RestartPolicy(RestartWhen.NO))
    api = Container("api", HOST, depends_on={"db": Condition.COMPLETED})
    crash = Script(lasts=1.0, ends=ExitStatus(code=1))
    made = Shop(
        lambda one, _: crash if one.container == "db" else Script(), Container("web", HOST), db, api
    )

    async def operator() -> None:
        [row] = await made.handler.act("api", "start", WAIT)
        assert row["state"] == "waiting"
        assert "`db`" in row["reason"]

    await made.play(operator)


async def test_a_kill_sends_its_signal(autojump_clock: MockClock) -> None:
    """KILL by default, any other by name, and only to what runs."""
    made = shop(Script(deaf=True))

    async def operator() -> None:
        await made.handler.act("web", "kill", ActOptions(signal="USR1"))
        assert made.machine.log[-1] == "signal web.1 USR1"
        await made.handler.act("web", "stop", WAIT)
        with pytest.raises(Refused, match=r"`web.1` is not running"):
            await made.handler.act("web", "kill", AT_ONCE)

    await made.play(operator)


async def test_while_the_fleet_stops_nothing_is_ordered(autojump_clock: MockClock) -> None:
    """An order would be dropped in silence: it is refused in words."""
    made = shop(Script(deaf=True))

    async def operator() -> None:
        await made.supervisor.order(events.FleetStopRequested())
        with pytest.raises(Refused, match=r"cannot start `web`: the fleet is stopping"):
            await made.handler.act("web", "start", AT_ONCE)

    await made.play(operator)


async def test_down_is_answered_once_nothing_runs(autojump_clock: MockClock) -> None:
    """The names of what was stopped; and whether the volumes go is remembered."""
    made = shop(Script(deaf=True), replicas=2)
    answers = []

    async def operator() -> None:
        answers.append(await made.handler.down(volumes=True))
        assert not made.machine.alive

    await made.play(operator)
    assert answers == [{"removed": ["container web.1", "container web.2"]}] or answers == []
    assert made.handler.remove_volumes


async def test_an_exec_needs_something_that_runs(autojump_clock: MockClock) -> None:
    """The context of a running instance; a stopped one is refused with a hint."""
    made = shop()

    async def operator() -> None:
        assert (await made.handler.exec_context("web"))["name"] == "web.1"
        assert (await made.handler.inspect("web"))["host"] == {"of": "web.1"}
        await made.handler.act("web", "stop", WAIT)
        with pytest.raises(Refused) as caught:
            await made.handler.exec_context("web")
        assert caught.value.hint == "`anchor why web` says why"
        root = await made.handler.root_context("web")
        assert (root["name"], root["state"]) == ("web.1", "stopped")
        with pytest.raises(Refused):
            await anext(made.handler.hold("web"))

    await made.play(operator)


async def test_nobody_is_held_for_ever(autojump_clock: MockClock) -> None:
    """One who asked and was stopped himself is connected still; the container goes on."""
    made = shop()

    async def operator() -> None:
        lines = made.handler.hold("web")
        assert (await anext(lines))["held"]
        assert "web.1" in made.facts.still
        before = trio.current_time()
        assert [line async for line in lines] == []
        assert trio.current_time() - before == hold.MOST
        assert "web.1" not in made.facts.still

    await made.play(operator)


async def test_a_fleet_without_a_file_cannot_be_changed(autojump_clock: MockClock) -> None:
    """`anchor run` makes such ones: it is refused in words."""
    made = shop()

    async def operator() -> None:
        wanted = Wanted(("/shop.toml",))
        with pytest.raises(Refused, match="has no file that could change"):
            made.handler.apply(wanted)
        with pytest.raises(Refused):
            made.handler.scale({"web": 2})
        with pytest.raises(Refused):
            await made.handler.plan(wanted)

    await made.play(operator)


async def test_an_unknown_container_is_not_scaled(
    autojump_clock: MockClock, data_dir: Path
) -> None:
    """The known ones are named, and nothing is begun."""
    made = changing_shop.Shop(data_dir, changing_shop.fleet(changing_shop.service("web")))
    facts = cast("HostMachine", Facts(Site(made.present)))
    views = cast("Callable[[], Views]", None)
    handler = FleetHandler(made.supervisor, facts, views, 0.0, made.log, made.changes)

    async def operator() -> None:
        with pytest.raises(NotFound, match="no container `wbe`") as caught:
            handler.scale({"web": 2, "wbe": 3})
        assert caught.value.hint == "there are `web`"
        made.next = changing_shop.fleet(changing_shop.service("web", "2"))
        plan = await handler.plan(changing_shop.NEWS)
        assert [one["container"] for one in plan["containers"]] == ["web"]
        assert made.begun == 0
        lines = [line async for line in handler.apply(changing_shop.NEWS)]
        assert lines[0]["plan"] == plan
        lines = [line async for line in handler.scale({"web": 2})]
        assert lines[-1]["result"]["ok"]
        assert len(made.pids()) == 2

    await made.play(operator)


async def test_events_of_a_fleet_that_runs(
    autojump_clock: MockClock, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its journal; an unknown name is told with the known ones."""
    monkeypatch.setenv(DATA_DIR_VARIABLE, str(data_dir))
    made = shop()
    made.handler.journal = EventLog(Journal(fleet_log_dir("shop")))

    async def operator() -> None:
        with pytest.raises(NotFound):
            made.handler.follow_events(EventQuery(names=("wbe",)))
        seen: list[JournalEntry] = []

        async def follow() -> None:
            async for entry in made.handler.follow_events(EventQuery(("web",), follow=True)):
                seen.append(entry)  # noqa: PERF401 - it never ends

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            await trio.testing.wait_all_tasks_blocked()
            made.handler.journal.add("oom", container="web.1", limit=1)
            made.handler.journal.add("oom", container="db.1", limit=1)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert [entry["event"] for entry in seen] == ["oom"]
        [why] = await made.handler.why("web")
        assert why["incidents"] == seen

    await made.play(operator)


@pytest.mark.parametrize("verb", ["start", "stop", "restart"])
async def test_who_is_taken_away_meanwhile_is_not_waited_for(
    autojump_clock: MockClock, verb: str
) -> None:
    """An order for both replicas, of which a change removes one."""
    made = shop(Script(deaf=True), replicas=2)
    answers: list[list[str]] = []

    async def operator() -> None:
        async def order() -> None:
            rows = await made.handler.act("web", verb, WAIT)
            answers.append([row["name"] for row in rows])

        web = evolve(made.fleet.containers["web"], replicas=1)
        smaller = evolve(made.fleet, containers={"web": web})
        async with trio.open_nursery() as nursery:
            made.supervisor.post(events.FleetChanged(smaller))
            nursery.start_soon(order)
        while len(made.supervisor.core.statuses()) > 1:
            await made.supervisor.changed()

    await made.play(operator)
    assert answers in ([["web.1"]], [["web.1", "web.2"]])
    if verb != "start":  # which is answered at once: both run
        assert answers == [["web.1"]]
