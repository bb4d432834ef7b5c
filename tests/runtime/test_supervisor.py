"""The loop: events in order, whatever goes wrong in a task stays there, and it always ends."""

from __future__ import annotations

import random

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from anchor_supervisor.errors import HostError, KernelError, NetworkError
from anchor_supervisor.fleet.model import (
    Condition,
    Container,
    Fleet,
    Health,
    Image,
    ImageKind,
    InstanceId,
    Kind,
    RestartPolicy,
    RestartWhen,
    TcpProbe,
)
from anchor_supervisor.runtime.supervisor import ProbeAnswer, Supervisor
from anchor_supervisor.runtime.terms import Outcome
from anchor_supervisor.supervision import commands, events
from anchor_supervisor.supervision.core import Core
from anchor_supervisor.supervision.states import ExitStatus, HealthState, Phase, State
from fake_machine import FakeMachine, Script
from story import Story, always
from strategies import exit_statuses, fleets

HOST = Image(ImageKind.HOST, "host")
WEB, DB = InstanceId("web"), InstanceId("db")
NEVER = RestartPolicy(when=RestartWhen.ALWAYS, max=0)
PROBED = Health(TcpProbe(80), interval=10.0, timeout=3.0, retries=2)


def a_fleet(*containers: Container) -> Fleet:
    """A fleet of these."""
    return Fleet("shop", {one.name: one for one in containers}, {})


async def test_dependents_come_after_and_go_before(autojump_clock: MockClock) -> None:
    """What is commanded is done in that order, and a stop goes the other way round."""
    fleet = a_fleet(
        Container("web", HOST, depends_on={"db": Condition.STARTED}), Container("db", HOST)
    )
    story = Story(fleet, always(Script(starting=0.5)))

    async def stop() -> None:
        await story.until(lambda: story.state(WEB) is State.RUNNING)
        story.supervisor.post(events.FleetStopRequested())

    assert await story.play(stop) == Outcome(0, "stopped on request")
    assert story.machine.log == [
        *("start db.1", "start web.1"),
        *("signal web.1 TERM", "ended web.1", "signal db.1 TERM", "ended db.1"),
    ]


async def test_events_are_handled_in_the_order_they_were_posted(autojump_clock: MockClock) -> None:
    """Posting never blocks and never reorders: the last word is the last one posted."""
    story = Story(a_fleet(Container("web", HOST)), always(Script()))

    async def operator() -> None:
        await story.until(lambda: story.state(WEB) is State.RUNNING)
        for _ in range(50):
            story.supervisor.post(events.StopRequested(WEB))
            story.supervisor.post(events.StartRequested(WEB))
        await story.supervisor.order(events.StopRequested(WEB))
        await story.until(lambda: story.state(WEB) is State.STOPPED)
        story.supervisor.post(events.FleetStopRequested())

    await story.play(operator)
    state, reason = story.told(WEB)[-1]
    assert state is State.STOPPED
    assert reason.startswith("stop requested")


async def test_an_order_returns_once_it_was_handled(autojump_clock: MockClock) -> None:
    """Not before, and also where other events are in front of it and several orders wait."""
    story = Story(a_fleet(Container("web", HOST), Container("db", HOST)), always(Script(deaf=True)))
    handled: list[str] = []

    async def order(instance: InstanceId) -> None:
        await story.supervisor.order(events.StopRequested(instance))
        assert story.state(instance) is State.STOPPING
        handled.append(str(instance))

    async def operator() -> None:
        await story.until(lambda: {story.state(WEB), story.state(DB)} == {State.RUNNING})
        async with trio.open_nursery() as nursery:
            for instance in (WEB, DB):
                nursery.start_soon(order, instance)
        story.supervisor.post(events.FleetKillRequested())

    await story.play(operator)
    assert sorted(handled) == ["db.1", "web.1"]


async def test_a_start_that_fails_is_tried_again(autojump_clock: MockClock) -> None:
    """The error's words are the reason, and the restart policy says when the next attempt is."""
    full = KernelError(28, "make the cgroup", "web.1")
    fleet = a_fleet(Container("web", HOST, restart=RestartPolicy(delay=7.0, jitter=0.0)))
    story = Story(fleet, lambda _, number: Script(fails=full if number == 1 else None))

    async def stop() -> None:
        await story.until(lambda: story.state(WEB) is State.RUNNING)
        assert trio.current_time() >= 7.0
        story.supervisor.post(events.FleetStopRequested())

    began = trio.current_time()
    await story.play(stop)
    assert trio.current_time() - began == pytest.approx(7.0)
    reasons = dict(reversed(story.told(WEB)))
    assert "make the cgroup `web.1`: No space left on device" in reasons[State.BACKOFF]


@pytest.mark.parametrize("gives_up", [True, False])
async def test_a_start_is_told_that_nobody_wants_it(
    autojump_clock: MockClock, gives_up: bool
) -> None:
    """Whether it heeds that or has come too far, the end is the same, and nothing runs."""
    story = Story(a_fleet(Container("web", HOST)), always(Script(starting=5.0, gives_up=gives_up)))

    async def stop() -> None:
        await story.until(lambda: story.state(WEB) is State.STARTING)
        story.supervisor.post(events.FleetStopRequested())

    outcome = await story.play(stop)
    assert outcome.exit_code == 0
    assert story.state(WEB) is State.STOPPED
    assert story.machine.alive == {}
    assert (State.RUNNING in dict(story.told(WEB))) is False


async def test_a_start_that_cannot_succeed_is_not_tried_again(autojump_clock: MockClock) -> None:
    """What the machine calls permanent ends in `failed`, whatever the policy says."""
    fleet = a_fleet(
        Container("web", HOST, essential=True, restart=RestartPolicy(when=RestartWhen.ALWAYS))
    )
    story = Story(fleet, always(Script(fails=KernelError(2, "execute", "/bin/web"))))
    outcome = await story.play()
    assert outcome.exit_code == 1
    assert "execute `/bin/web`: No such file or directory" in outcome.reason
    assert story.machine.starts == {WEB: 1}


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(Script(fails=ZeroDivisionError("in start")), id="start"),
        pytest.param(Script(breaks=ZeroDivisionError("in wait"), lasts=1.0), id="wait"),
        pytest.param(Script(probe=ZeroDivisionError("in probe")), id="probe"),
    ],
)
async def test_a_bug_in_one_task_ends_nothing_else(
    autojump_clock: MockClock, script: Script
) -> None:
    """The instance it happened in has failed; its neighbour never notices, and the loop goes on."""
    fleet = a_fleet(
        Container("web", HOST, health=PROBED, restart=NEVER), Container("db", HOST, health=PROBED)
    )
    story = Story(fleet, lambda instance, _: script if instance == WEB else Script())

    async def stop() -> None:
        await story.until(lambda: story.state(WEB) is State.FAILED)
        await trio.sleep(1.0)
        db = story.supervisor.core.snapshot(DB)
        assert (db.state, db.health) == (State.RUNNING, HealthState.HEALTHY)
        story.supervisor.post(events.FleetStopRequested())

    assert (await story.play(stop)).exit_code == 0
    assert story.machine.starts[DB] == 1
    assert not story.machine.alive


async def test_a_failed_tidying_up_does_not_hide_how_the_run_ended(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exit code is known before the tidying up, and counts."""

    async def ended(self: FakeMachine, instance: InstanceId) -> None:
        self.alive.pop(instance)
        message = "netlink is out of memory"
        raise NetworkError(message)

    monkeypatch.setattr(FakeMachine, "ended", ended)
    fleet = a_fleet(Container("web", HOST, kind=Kind.JOB, restart=NEVER))
    story = Story(fleet, always(Script(lasts=1.0, ends=ExitStatus(code=3))))
    await story.play()
    assert story.supervisor.core.snapshot(WEB).exit == ExitStatus(code=3)


async def test_a_probe_is_given_up_at_its_time_limit(autojump_clock: MockClock) -> None:
    """A probe that hangs fails at its limit, says so, and the next one comes in its turn."""
    fleet = a_fleet(Container("web", HOST, health=PROBED, restart=NEVER))
    story = Story(fleet, always(Script(probe_takes=1000.0)))
    began = trio.current_time()

    async def stop() -> None:
        await story.until(lambda: bool(story.supervisor.core.snapshot(WEB).probes))
        assert trio.current_time() - began == pytest.approx(3.0)
        await story.until(lambda: story.state(WEB) is State.FAILED)
        story.supervisor.post(events.FleetStopRequested())

    await story.play(stop)
    probes = story.supervisor.core.snapshot(WEB).probes
    assert len(probes) > 1
    assert {one.output for one in probes} == {"no answer within 3s"}


async def test_a_probe_is_cancelled_with_its_run(autojump_clock: MockClock) -> None:
    """The answer of a probe whose run has ended is not waited for, and not believed."""
    fleet = a_fleet(Container("web", HOST, health=PROBED, restart=NEVER))
    story = Story(fleet, always(Script(probe_takes=2.5, lasts=1.0)))

    async def stop() -> None:
        await story.until(lambda: story.state(WEB) is State.FAILED)
        story.supervisor.post(events.FleetStopRequested())

    began = trio.current_time()
    await story.play(stop)
    assert trio.current_time() - began == pytest.approx(1.0)
    assert HealthState.HEALTHY not in {
        one.health for one in story.commands if isinstance(one, commands.Report)
    }


async def test_a_failing_probe_says_why(autojump_clock: MockClock) -> None:
    """An error of the machine is the probe's output; a bug is named as one."""
    fleet = a_fleet(Container("web", HOST, health=PROBED), Container("db", HOST, health=PROBED))
    wrong: dict[InstanceId, Exception] = {WEB: HostError("no descriptor is left"), DB: KeyError(7)}
    story = Story(fleet, lambda instance, _: Script(probe=wrong[instance]))

    async def stop() -> None:
        await trio.sleep(5.0)
        story.supervisor.post(events.FleetKillRequested())

    await story.play(stop)
    outputs = [story.supervisor.core.snapshot(one).probes[0].output for one in (WEB, DB)]
    assert outputs == ["no descriptor is left", "internal error: KeyError(7)"]


async def test_without_a_deadline_the_loop_sleeps(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fleet that runs and is not probed wakes nobody: not one event in a year."""
    ticks = []
    handle = Core.handle

    def counted(core: Core, event: events.Event, now: float) -> list[commands.Command]:
        ticks.append(event)
        return handle(core, event, now)

    monkeypatch.setattr(Core, "handle", counted)
    fleet = a_fleet(Container("web", HOST, restart=RestartPolicy(reset_after=0.0)))
    story = Story(fleet, always(Script()))
    seen: list[int] = []

    async def stop() -> None:
        await story.until(lambda: story.state(WEB) is State.RUNNING)
        await wait_all_tasks_blocked()
        seen.append(len(ticks))
        await trio.sleep(365 * 86400)
        seen.append(len(ticks))
        story.supervisor.post(events.FleetStopRequested())

    await story.play(stop)
    assert seen[0] == seen[1]


async def test_a_signal_reaches_only_what_runs(autojump_clock: MockClock) -> None:
    """An operator's signal says whether there was somebody to hear it."""
    fleet = a_fleet(Container("web", HOST), Container("db", HOST, depends_on={}))
    story = Story(fleet, lambda one, _: Script(deaf=True, starting=0.0 if one == WEB else 9.0))

    async def operator() -> None:
        await story.until(lambda: story.state(WEB) is State.RUNNING)
        assert story.supervisor.signal(WEB, "USR1")
        assert not story.supervisor.signal(DB, "USR1")
        story.supervisor.post(events.FleetKillRequested())

    await story.play(operator)
    assert "signal web.1 USR1" in story.machine.log


async def test_the_observer_sees_a_command_before_it_is_done(autojump_clock: MockClock) -> None:
    """So what is told of a start is never later than what the start itself tells."""
    order: list[str] = []
    machine = FakeMachine(always(Script(lasts=1.0)), log=order)
    fleet = a_fleet(Container("web", HOST, kind=Kind.JOB))
    supervisor = Supervisor(Core(fleet), machine, lambda one: order.append(type(one).__name__))
    assert await supervisor.run() == Outcome(0, "all jobs have finished")
    assert order == [
        *("Report", "Spawn", "start web.1", "Report"),
        *("ended web.1", "Report", "FleetReady", "FleetDone"),
    ]


async def test_what_plays_beside_the_loop_ends_with_it(autojump_clock: MockClock) -> None:
    """Background tasks are cancelled when the fleet is done."""
    fleet = a_fleet(Container("web", HOST, kind=Kind.JOB))
    story = Story(fleet, always(Script(lasts=1.0)))
    cancelled = []

    async def for_ever() -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.append(True)

    await story.play(for_ever)
    assert cancelled == [True]


scripts = st.builds(
    Script,
    starting=st.sampled_from([0.2, 0.5, 20.0]),  # never 0: virtual time must go on
    fails=st.sampled_from(
        [None, None, None, KernelError(28, "mount"), KernelError(2, "execute"), KeyError("bug")]
    ),
    lasts=st.sampled_from([0.0, 0.2, 3.0, 50.0, float("inf")]),
    ends=exit_statuses,
    gives_up=st.booleans(),
    breaks=st.sampled_from([None, None, None, None, ValueError("bug")]),
    deaf=st.booleans(),
    probe_takes=st.sampled_from([0.0, 0.4, 100.0]),
    probe=st.sampled_from(
        [ProbeAnswer(ok=True, output=""), ProbeAnswer(ok=False, output="ill"), HostError("no")]
    ),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(fleet=fleets(most=6), playbook=st.lists(scripts, min_size=1, max_size=8), data=st.data())
def test_any_fleet_on_any_machine_comes_to_its_end(
    fleet: Fleet, playbook: list[Script], data: st.DataObject
) -> None:
    """Random fleets, delays, failures, crashes and operators: after a stop the loop ends.

    Nothing is started once the stop was handled, and nothing runs afterwards.
    """
    chance = random.Random(data.draw(st.integers(0, 2**32)))
    story = Story(fleet, lambda _instance, _number: chance.choice(playbook))
    known = [status.instance for status in story.supervisor.core.statuses()]
    orders = (events.StartRequested, events.StopRequested, events.RestartRequested)
    stopped_at: list[int] = []

    async def operator() -> None:
        for _ in range(chance.randrange(6)):
            await trio.sleep(chance.choice([0.0, 0.1, 5.0, 20.0]))
            await story.supervisor.order(chance.choice(orders)(chance.choice(known)))
        if story.supervisor.core.phase is Phase.UP:
            await story.supervisor.order(events.FleetStopRequested())
            stopped_at.append(len(story.commands))

    async def play() -> Outcome:
        with trio.fail_after(1e6):
            return await story.play(operator)

    outcome = trio.run(play, clock=MockClock(autojump_threshold=0))
    assert outcome.reason
    assert (story.machine.starting, story.machine.alive) == (set(), {})
    assert isinstance(story.commands[-1], commands.FleetDone)
    spawns = [index for index, one in enumerate(story.commands) if isinstance(one, commands.Spawn)]
    assert sum(story.machine.starts.values()) == len(spawns)
    assert all(index < last for index in spawns for last in stopped_at)
